"""Damaged and hostile annotation files of every format: files of the corpus, changed with their structure in mind."""

import contextlib
import copy
import math
import random
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from xml.etree import ElementTree

from annotation_files import ENTRIES, Entry
from hostile.values import bytes_changed, json_changed, value
from insid3.batch.annotations import from_coco, from_labelme
from insid3.batch.formats import FORMATS
from insid3.batch.formats.reading import Reading
from insid3.errors import DataError, ImageError

FORMATS_OF_OTHERS = ("labelme", "coco", "yolo", "voc", "cvat", "label-studio")
_NOT_FOR_USERS = re.compile(r"Traceback|NoneType|\b[A-Z]\w+Error\b|\n")
_LONGEST = 3000  #: characters of one line of a report
_BOMB = "&a [x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
_LAUGHS = "<!DOCTYPE a [<!ENTITY b 'ha'>{}]>".format("".join(f"<!ENTITY c{i} '{'&b;' * 9}'>" for i in range(9)))


def attempts(kind: str, folder: Path, seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    rng = random.Random(f"{kind} {seed}")
    made: list[tuple[Entry, Path, Path]] = []
    for number, entry in enumerate(entry for entry in ENTRIES if entry.format == kind):
        place = folder / f"sound-{number}"
        made.append((entry, place, entry.write(place)))
        with contextlib.suppress(DataError):
            _read(made[-1][2], entry, place)  # loads every decoder
    for _ in range(count):
        entry, place, source = rng.choice(made)
        files = [file for file in sorted(place.rglob("*")) if file.is_file() and "JPEGImages" not in file.parts]
        telling = [file for file in files if file.suffix in CHANGES or "Segmentation" in str(file)]
        file = rng.choice(telling if rng.random() < 0.95 else files)
        before = file.read_bytes()
        file.write_bytes(changed(before, file.suffix, rng))
        yield f"{entry.name}, {file.relative_to(place)}", partial(_watched, file, source, entry, place)
        file.write_bytes(before)


KINDS = {f"annotations-{kind}": partial(attempts, kind) for kind in FORMATS_OF_OTHERS}


def _xml(text: str, rng: random.Random) -> str:
    root = ElementTree.fromstring(text)  # of our own corpus
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        parents = [element for element in root.iter() if len(element)]
        element, what = rng.choice(list(root.iter())), rng.random()
        if what < 0.55 and element.attrib:
            key = rng.choice(list(element.attrib))
            if rng.random() < 0.25:
                del element.attrib[key]
            else:
                element.attrib[key] = _plain(value(rng))
        elif what < 0.7 and parents:
            parent = rng.choice(parents)
            parent.remove(rng.choice(list(parent)))
        elif what < 0.85 and parents:
            parent = rng.choice(parents)
            parent.insert(rng.randrange(len(parent) + 1), copy.deepcopy(element))
        elif what < 0.92:
            element.tag = rng.choice(
                ("box", "mask", "image", "track", "label", "skeleton", "x", "polygon", "task", "size")
            )
        else:
            element.text = _plain(value(rng))
    with contextlib.suppress(RecursionError):
        made = ElementTree.tostring(root, "unicode")
        return made if rng.random() < 0.98 else _LAUGHS + made
    return text


def _plain(found: Any) -> str:
    """Return the text that XML can hold of a value."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\ud800-\udfff]", "?", str(found))


def _words(text: str, rng: random.Random) -> str:
    """Change words, and drop, double and join lines, of label files, lists and YAML."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, what = rng.randrange(len(lines)), rng.random()
        words = lines[at].split(" ")
        if what < 0.5:
            words[rng.randrange(len(words))] = str(value(rng))
            lines[at] = " ".join(words)
        elif what < 0.6:
            lines[at] = " ".join(rng.sample(words, rng.randrange(len(words) + 1)))
        elif what < 0.7:
            lines.insert(at, lines[at])
        elif what < 0.8 and len(lines) > 1:
            del lines[at]
        elif what < 0.9:
            lines[at] += rng.choice((" ", "\t", ":", ",", "#", "\r", "\x0c", " 0.5", ": &a [*a]", ": {", "]"))
        else:
            lines = [
                "names: " + rng.choice((_BOMB, "[" * 3000, "{a: b}", "!!python/none", "2020-01-01", "[1, [2]]")),
                *lines,
            ]
    return "\n".join(lines)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    if data[:4] == b"\x89PNG" and rng.random() < 0.1:
        sides = (rng.choice(some).to_bytes(4, "big") for some in ((2**31 - 1, 60_000, 1, 0), (2**31 - 1, 60_000, 3)))
        return data[:16] + b"".join(sides) + data[24:]
    return bytes_changed(data, rng)


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    ".json": json_changed,
    ".xml": _xml,
    ".txt": _words,
    ".yaml": _words,
}


def changed(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """Return a changed file, mostly with its structure in mind."""
    if suffix in CHANGES and rng.random() < 0.8:
        with contextlib.suppress(ValueError, ElementTree.ParseError):
            return CHANGES[suffix](data.decode("utf-8-sig"), rng).encode("utf-8", "surrogatepass")
    return _bytes(data, rng)


class _Watch:
    """Notice when a lack of memory is taken for a bad entry."""

    def __init__(self) -> None:
        self.lacked: str | None = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if "insid3" not in frame.f_code.co_filename:
            return None
        frame.f_trace_lines = False
        return self._inside

    def _inside(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "exception" and issubclass(argument[0], MemoryError):
            self.lacked = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        return self._inside


def _watched(file: Path, source: Path, entry: Entry, place: Path) -> None:
    """Read a file in both ways that there are; raise the first error."""
    watch = _Watch()
    sys.settrace(None if file.suffix == ".yaml" else watch)  # pure Python, which becomes very slow
    try:
        with contextlib.suppress(DataError, ImageError):
            _as_example(source, entry)
        told = _read(source, entry, place)
    finally:
        sys.settrace(None)
        assert watch.lacked is None, f"needs too much memory at {watch.lacked}"
    for line in told:
        assert not _NOT_FOR_USERS.search(line), f"said: {line!r:.300}"
        assert len(line) <= _LONGEST, f"said {len(line):,} characters: {line!r:.100}"


def _read(source: Path, entry: Entry, folder: Path) -> list[str]:
    """Read all masks, check their shapes, and return what was left out or noted."""
    reading = Reading(images=folder / entry.images if entry.images else None, boxes_as_masks=False)
    _, pictures = FORMATS[entry.format].read(source, reading)
    for picture in pictures:
        for instance in picture.instances:
            x0, y0, x1, y1 = instance.box
            assert 0 <= x0 < x1 <= picture.size[1]
            assert 0 <= y0 < y1 <= picture.size[0]
            assert instance.mask.shape == (y1 - y0, x1 - x0)
            assert instance.mask.any()
            assert math.isfinite(instance.score)
    return [
        f"{kind}: {place}" for kind, places in (*reading.left_out.items(), *reading.notes.items()) for place in places
    ]


def _as_example(source: Path, entry: Entry) -> None:
    if entry.format == "labelme":
        for file in sorted(source.rglob("*.json")) if source.is_dir() else [source]:
            from_labelme(file, "cat")
    elif entry.format == "coco":
        from_coco(source, 1, "cat")
