"""The conversion of annotations from one format to another."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from insid3.batch.formats import FORMATS
from insid3.batch.formats.base import LABELS, Format, write_labels
from insid3.batch.formats.coco import Coco
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.reading import Reading, counted
from insid3.batch.lines import SETTINGS
from insid3.errors import ConfigError, DataError, OutputError
from insid3.storage import sweep


def convert(
    source: Path,
    to: str,
    output: Path,
    from_: str | None = None,
    images: Path | None = None,
    into: Format | None = None,
    *,
    boxes_as_masks: bool = False,
    strict: bool = False,
) -> list[str]:
    """Convert annotations to another format; return a line for each thing that was lost, changed or interpreted.

    Args:
        source: annotation file or folder.
        to: name of the output's format.
        from_: name of the source's format; None: detected from the content.
        images: folder of the pictures, if the annotations only name them.
        into: format with options of its own, used instead of the one called `to`.
        boxes_as_masks: turn boxes without an outline into masks.
        strict: raise an error for whatever would be left out, before anything is written.

    Raises:
        ConfigError: a format is unknown or cannot be detected, or there is no folder `images`.
        DataError: the source is missing, damaged or of another layout, or none of its objects can be read; or
            something would be left out, and `strict` is set.
        OutputError: the output is the source, holds other files, or cannot be written to.
        MissingExtraError: a package of the extra "export" is missing.
    """
    for name in (to, from_):
        if name is not None and name not in FORMATS:
            raise ConfigError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    folder = source if source.is_dir() else source.parent
    if output.resolve() == folder.resolve():
        raise OutputError(f"{output} is where the annotations come from: use another output folder")
    if images is not None and not images.is_dir():
        raise ConfigError(f"{images}: no such folder of pictures (--images)")
    if into is None:
        _refuse_others(output)
    format_, reading = FORMATS[from_ or detect(source)], Reading(images, boxes_as_masks, strict)
    if strict:  # a first pass shows that everything can be read
        deque(format_.read(source, Reading(images, boxes_as_masks, strict))[1], maxlen=0)
    labels, pictures = format_.read(source, reading)
    pictures, crowds = _with_first_read(pictures), Counter[str]()
    if not isinstance(into or FORMATS[to], Coco):
        pictures = _without_crowds(pictures, crowds)
    if into is None:
        sweep(output, deep=True)
    write_labels(output, labels)  # identifies the folder as a conversion, even if this is cut short
    notes = (into or FORMATS[to]).write(labels, _unique(pictures), output)
    if crowds:
        notes.append(f"{counted(crowds.total(), 'crowd')} of several objects left out, for which {to} has no place")
    return [*reading.summary(), *notes]


def _with_first_read(pictures: Iterator[Marked]) -> Iterator[Marked]:
    """Read the first picture at once, so that a source without readable objects fails before anything is written."""
    first = list(islice(pictures, 1))
    return chain(first, pictures)


def _without_crowds(pictures: Iterable[Marked], count: Counter[str]) -> Iterator[Marked]:
    for picture in pictures:
        kept = tuple(instance for instance in picture.instances if not instance.crowd)
        if len(kept) < len(picture.instances):
            count["crowds"] += len(picture.instances) - len(kept)
        yield replace(picture, instances=kept)


def _refuse_others(output: Path) -> None:
    """Refuse a folder with any files but those of an earlier conversion."""
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
    """Return the name of the format of a file or folder; ConfigError if the format cannot be detected."""
    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    if source.suffix.lower() in (".zip", ".7z", ".tar", ".gz", ".tgz"):
        raise ConfigError(f"{source} is an archive: unpack it, and give the folder")
    found = [name for name, known in FORMATS.items() if known.is_at(source)]
    if not found:
        raise ConfigError(f"{source} is no annotation format's file or folder: say which (--from {', '.join(FORMATS)})")
    return found[0]
