"""Damaged and hostile annotation files: as a module their maker, as a program the process they are read in.

    python fuzz_annotations.py FORMAT COUNT SEED FOLDER

changes files of the corpus COUNT times and reads what comes out, with two gigabytes to grow by and 20 seconds for each,
and prints what came of them. Anything but masks, a report of what was left out, or one error of this package ends it;
the input that did it is then in FOLDER.
"""

import contextlib
import copy
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from xml.etree import ElementTree

from annotation_files import ENTRIES, Entry
from insid3.annotations import from_coco, from_labelme
from insid3.batch.formats import FORMATS
from insid3.batch.formats.reading import Reading
from insid3.errors import DataError, ImageError

FOREIGN = ("labelme", "coco", "yolo", "voc", "cvat", "label-studio")
WARNINGS = ("-W", "error", "-W", "ignore:__array__ implementation:DeprecationWarning")  # the latter is pycocotools'
GROWTH = 2 * 2**30  #: bytes of address space
_BOMB = "&a [x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


class _Raw(float):
    """A number as JSON or XML has it, however long."""

    def __init__(self, digits: str) -> None:
        self.digits = digits

    def __new__(cls, digits: str) -> "_Raw":
        return super().__new__(cls, 0.0)

    def __repr__(self) -> str:
        return self.digits


def _values(rng: random.Random) -> Any:
    """What stands in the place of a value: of another type, too large, too long, too deep, or nothing."""
    return rng.choice(
        (
            None, True, -1, 0, 1, 2.5, 7, 255, 65536, 2**31, 2**63, -(10**9), 10**30, 1e9, 1e308, -1e308, 1e-320,
            math.nan, math.inf, -math.inf, _Raw("9" * 5000), _Raw("1e999999"), "", "1", "x", " ", "nan", "é\u2028",
            "\x00", "../../x.png", "/dev/zero", "..", "a" * 300, "%s%n", "\ud800", "9" * 5000, [], {}, [[]], [[[]]],
            [None], [1], [1, 2], [0.5] * 4, [[1, 2], [3, 4]], {"": ""}, {"counts": [1], "size": [1, 1]},
            {"counts": [], "size": []}, _nested(60), "data:image/png;base64,AAAA", "http://x/y.png",
            "0,0;1e9,0;1e9,1e9", "0 0 1 1 0 1",
        )
    )  # fmt: skip


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of every value in a JSON document."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _places(child, (*path, key))


def _json(text: str, rng: random.Random) -> str:
    data = json.loads(text)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = [path for path in _places(data) if path]
        if not places:
            break
        *way, last = rng.choice(places)
        holder = data
        for key in way:
            holder = holder[key]
        what = rng.random()
        if what < 0.2:
            del holder[last]
        elif what < 0.35:
            other = copy.deepcopy(holder[last])
            if isinstance(holder, list):
                holder.insert(last, other)
            else:
                holder[rng.choice((str(last) + "2", *holder))] = other
        elif what < 0.45:
            *there, key = rng.choice(places)
            with contextlib.suppress(LookupError, TypeError):
                value = data
                for step in (*there, key):
                    value = value[step]
                holder[last] = copy.deepcopy(value)
        elif what < 0.6 and isinstance(holder[last], int | float):
            holder[last] = holder[last] * rng.choice((-1, 0, 0.5, 2, 1000, 1e9, 1e300))
        elif what < 0.65:
            holder[last] = str(holder[last])
        else:
            holder[last] = _values(rng)
    return json.dumps(data, default=str)


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
                element.attrib[key] = re.sub(r"[\x00-\x08\ud800-\udfff]", "?", str(_values(rng)))
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
            element.text = re.sub(r"[\x00-\x08\ud800-\udfff]", "?", str(_values(rng)))
    with contextlib.suppress(RecursionError):
        return ElementTree.tostring(root, "unicode")
    return text


def _words(text: str, rng: random.Random) -> str:
    """Of label files, lists and YAML: words changed, lines dropped, doubled and joined."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, what = rng.randrange(len(lines)), rng.random()
        words = lines[at].split(" ")
        if what < 0.5:
            words[rng.randrange(len(words))] = str(_values(rng))
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
    """Whatever it is."""
    changed, what = bytearray(data), rng.random()
    if what < 0.35:
        for _ in range(rng.choice((1, 3, 20))):
            if changed:
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif what < 0.5:
        del changed[rng.randrange(len(changed) + 1) :]
    elif what < 0.65:
        start = rng.randrange(len(changed) + 1)
        del changed[start : start + rng.choice((1, 2, 8, 100))]
    elif what < 0.75:
        start, end = sorted(rng.randrange(len(changed) + 1) for _ in range(2))
        changed[end:end] = changed[start:end] * rng.choice((1, 2, 10))
    elif what < 0.85:
        at = rng.randrange(len(changed) + 1)
        changed[at:at] = rng.choice(
            (b"\0", b"\xff", b"\xef\xbb\xbf", b"[" * 20_000, b"<a>" * 20_000, b"9" * 5000, b"\r", b"NaN")
        )
    elif what < 0.95 and data[:4] == b"\x89PNG":
        changed[16:24] = rng.choice((2**31 - 1, 60_000, 1, 0)).to_bytes(4, "big") + rng.choice(
            (2**31 - 1, 60_000, 3)
        ).to_bytes(4, "big")
    else:
        changed = bytearray(rng.choice((b"", b"null", b"[]", b"{}", b"\xff\xfe", b"<annotations/>", rng.randbytes(50))))
    return bytes(changed)


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    ".json": _json,
    ".xml": _xml,
    ".txt": _words,
    ".yaml": _words,
}


def changed(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """A file otherwise, mostly with its structure in mind."""
    if suffix in CHANGES and rng.random() < 0.8:
        with contextlib.suppress(ValueError, ElementTree.ParseError):
            return CHANGES[suffix](data.decode("utf-8-sig"), rng).encode("utf-8", "surrogatepass")
    return _bytes(data, rng)


def run(kind: str, count: int, seed: int, folder: Path, seconds: float) -> dict[str, Any]:
    """Start this file as a program, see above; its account of the inputs."""
    command = [sys.executable, *WARNINGS, __file__, kind, str(count), str(seed), str(folder)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert child.returncode == 0, f"ended with {child.returncode}: {child.stdout[-300:]}{child.stderr[-3000:]}"
    assert child.stderr == ""
    account: dict[str, Any] = json.loads(child.stdout)
    assert account["read"] + account["reported"] + account["refused"] == count
    return account


class _Watch:
    """See a lack of memory that somebody swallows as a bad entry."""

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


def _read(source: Path, entry: Entry, folder: Path) -> tuple[str, list[str]]:
    reading = Reading(images=folder / entry.images if entry.images else None, boxes_as_masks=False)
    try:
        _, pictures = FORMATS[entry.format].read(source, reading)
        for picture in pictures:
            for instance in picture.instances:
                x0, y0, x1, y1 = instance.box
                assert 0 <= x0 < x1 <= picture.size[1]
                assert 0 <= y0 < y1 <= picture.size[0]
                assert instance.mask.shape == (y1 - y0, x1 - x0)
                assert instance.mask.any()
                assert math.isfinite(instance.score)
    except DataError as error:
        return "refused", [str(error)]
    told = [f"{kind}: {place}" for kind, places in reading.left_out.items() for place in places]
    return ("reported" if told else "read"), told


def _reference(source: Path, entry: Entry) -> str | None:
    """The same file as an example; the error's text if it is refused."""
    try:
        if entry.format == "labelme":
            for file in sorted(source.rglob("*.json")) if source.is_dir() else [source]:
                from_labelme(file, "cat")
        elif entry.format == "coco":
            from_coco(source, 1, "cat")
    except (DataError, ImageError) as error:
        return str(error)
    return None


def _main(kind: str, count: int, seed: int, folder: Path) -> None:
    rng, account = random.Random(f"{kind} {seed}"), Counter[str]()
    entries = [entry for entry in ENTRIES if entry.format == kind]
    made: list[tuple[Entry, Path, Path]] = []
    for number, entry in enumerate(entries):
        place = folder / f"sound-{number}"
        made.append((entry, place, entry.write(place)))
        with contextlib.suppress(DataError):
            _read(made[-1][2], entry, place)  # loads every decoder
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    allowed = int(status["VmSize"].split()[0]) * 1024 + GROWTH
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    errors, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    sys.stderr = os.fdopen(errors, "w", buffering=1, closefd=False)
    os.dup2(nowhere, 2)  # libtiff and libpng print what they think, and nothing in Python can stop them
    longest, slowest, failures = 0, (0.0, ""), dict[str, str]()
    for index in range(count):
        entry, place, source = rng.choice(made)
        files = [file for file in sorted(place.rglob("*")) if file.is_file() and "JPEGImages" not in file.parts]
        telling = [file for file in files if file.suffix in CHANGES or "Segmentation" in str(file)]
        file = rng.choice(telling if rng.random() < 0.95 else files)
        before = file.read_bytes()
        file.write_bytes(changed(before, file.suffix, rng))
        watch, start = _Watch(), time.perf_counter()
        signal.alarm(20)  # with no handler: an exception of ours would look like one of the reader's
        sys.settrace(None if file.suffix == ".yaml" else watch)  # pure Python, which becomes very slow
        try:
            came, told = _read(source, entry, place)
            refused = _reference(source, entry)
            sys.settrace(None)
            if watch.lacked:
                raise AssertionError(f"needs more than two gigabytes at {watch.lacked}")
            for line in [*told, *([refused] if refused else [])]:
                if "\n" in line or re.search(r"Traceback|NoneType|\b[A-Z]\w+Error\b", line):
                    raise AssertionError(f"said: {line!r:.300}")
                if len(line) > 3000:
                    raise AssertionError(f"said {len(line):,} characters: {line!r:.100} ... {line[-100:]!r}")
                longest = max(longest, len(line))
            account[came] += 1
            account["vague"] += sum("cannot be read" in line for line in told)
            account["reports"] += len(told)
        except Exception as error:
            sys.settrace(None)
            frame = [f for f in traceback.extract_tb(error.__traceback__) if "/insid3/" in f.filename][-1:]
            where = (
                f"{type(error).__name__} at {Path(frame[0].filename).name}:{frame[0].lineno}" if frame else str(error)
            )
            if where not in failures:
                kept = folder / f"failed-{len(failures)}"
                shutil.copytree(place, kept)
                failures[where] = f"input {index}, {entry}, {file.relative_to(place)}, kept in {kept}: {error!s:.200}"
        signal.alarm(0)
        slowest = max(slowest, (time.perf_counter() - start, f"input {index}, {entry}, {file.name}"))
        file.write_bytes(before)
    for where, what in failures.items():
        print(f"{where}: {what}", file=sys.stderr)  # noqa: T201
    nothing = {"read": 0, "reported": 0, "refused": 0, "vague": 0, "reports": 0}
    json.dump(nothing | account | {"longest": longest, "slowest": slowest}, sys.stdout)
    sys.exit(bool(failures))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
