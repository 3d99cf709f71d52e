"""Annotation formats, by name."""

from insid3.batch.formats.base import Format
from insid3.batch.formats.png import Png

FORMATS: dict[str, Format] = {"png": Png()}
