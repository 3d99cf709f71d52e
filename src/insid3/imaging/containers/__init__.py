"""Readers of picture files that decode no pixels, one module per format.

A decoder gets only the parts that it needs, so nothing else in a file can hinder it.
"""

from insid3.imaging.containers.base import Container, Pieces
from insid3.imaging.containers.find import container_of

__all__ = ["Container", "Pieces", "container_of"]
