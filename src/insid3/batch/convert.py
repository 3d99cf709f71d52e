"""Annotations from one format to another."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from insid3.batch.folder import SETTINGS
from insid3.batch.formats import FORMATS
from insid3.batch.formats.base import LABELS, Format, Marked, below, write_labels
from insid3.errors import ConfigError, DataError, OutputError


def convert(
    source: Path,
    to: str,
    output: Path,
    from_: str | None = None,
    images: Path | None = None,
    into: Format | None = None,
) -> list[str]:
    """Write what a format's file or folder holds in another format; returns what that could not keep.

    Args:
        from_: name of the source's format; None: found out by what lies there.
        into: in the place of the format called `to`, for options of its own.
        images: folder of the pictures, where the annotations only name them.

    Raises:
        ConfigError: no such format, or it cannot be told.
        DataError: the source is missing, damaged or of another layout.
        OutputError: the output is the source, or cannot be written to.
        MissingExtraError: a package is missing.
    """
    for name in (to, from_):
        if name is not None and name not in FORMATS:
            raise ConfigError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    folder = source if source.is_dir() else source.parent
    if output.resolve() == folder.resolve():
        raise OutputError(f"{output} is where the annotations come from: use another output folder")
    if into is None:
        _refuse_others(output)
    labels, pictures = FORMATS[from_ or detect(source)].read(source)
    if images is not None:
        pictures = (replace(picture, path=below(images, picture.file)) for picture in pictures)
    write_labels(output, labels)  # whose the folder is, even if this is cut short
    return (into or FORMATS[to]).write(labels, _unique(pictures), output)


def _refuse_others(output: Path) -> None:
    """Neither somebody's files nor a run's masks are replaced, only an earlier conversion."""
    files = [file for file in output.iterdir() if file.name[0] != "."] if output.is_dir() else []
    settings = output / SETTINGS
    run = settings.exists() and b'"converted"' not in settings.read_bytes()
    if files and (run or not (output / LABELS).exists()):
        raise OutputError(f"{output} holds files that are no conversion of insid3: use another output folder")


def _unique(pictures: Iterable[Marked]) -> Iterator[Marked]:
    seen: set[str] = set()
    for picture in pictures:
        if picture.name in seen:
            raise DataError(f"two pictures would both be written as {picture.name!r}: rename one of them")
        seen.add(picture.name)
        yield picture


def detect(source: Path) -> str:
    """The format of what lies there; ConfigError where that cannot be told."""
    found = [name for name, known in FORMATS.items() if known.is_at(source)]
    if not found:
        raise ConfigError(f"{source} is no annotation format's file or folder: say which (--from {', '.join(FORMATS)})")
    return found[0]
