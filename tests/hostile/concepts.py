"""Hostile concept files: header and tensors are changed, and the checksum is computed anew."""

import hashlib
import json
import random
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hostile.values import bytes_changed, value
from insid3.concept import Concept
from insid3.label_map import numbered

KIND = "concepts"
Content = tuple[dict[str, Any], bytes]  # the header of safetensors, and what follows it
_TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL", "F8_E4M3", "C64", "X")


def attempts(folder: Path, seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    rng, sound = random.Random(seed), _sound(folder)
    Concept.load(sound)
    before = sound.read_bytes()
    for number in range(count):
        if rng.random() < 0.15:
            did, content = "bytes", bytes_changed(before, rng)
        else:
            header, data = _taken_apart(before)
            names = []
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                change = rng.choice(_CHANGES)
                names.append(change.__name__.strip("_"))
                header, data = change((header, data), rng)
            did, content = ", ".join(names), _put_together(header, data, right=rng.random() < 0.95)
        file = folder / "concept.insid3"
        file.write_bytes(content)
        yield f"{number}: {did}", partial(_use, file)


def _use(file: Path) -> None:
    """Show, name, draw and save a concept that was loaded."""
    concept = Concept.load(file)
    assert concept.digest
    assert len(numbered([concept])) == 1
    for tokens in concept.tokens:
        assert tokens.dtype == torch.float32
        assert torch.isfinite(tokens).all()
    for text in (concept.name, concept.backbone, concept.weights_hash, concept.fit, *concept.sources):
        text.encode()
        assert text.isprintable()
    for mask, size, picture in zip(concept.masks, concept.image_sizes, concept.thumbnails, strict=True):
        assert mask.shape == size
        assert mask.dtype == bool
        assert picture.dtype == np.uint8


def _sound(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    tokens = [torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(9, 8))).float(), dim=1) for _ in "ab"]
    masks = rng.random((2, 40, 30)) > 0.5
    patches = torch.ones(9, dtype=torch.bool)
    picture = rng.integers(0, 255, (12, 16, 3), np.uint8)
    file = folder / "sound.insid3"
    Concept(
        "cat", "tiny", "0123", 48, "pad", tuple(tokens), (patches, patches), tuple(masks), ((40, 30), (40, 30)),
        ("a.jpg", "b.jpg"), (picture, picture), tokens[0][:3], 7, (255, 0, 10),
    ).save(file)  # fmt: skip
    return file


def _taken_apart(content: bytes) -> Content:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _put_together(header: dict[str, Any], data: bytes, *, right: bool) -> bytes:
    """Return a file with the checksum that `Concept.save` would write, where there is one."""
    if right and isinstance(header.get("__metadata__"), dict):
        told, names = header["__metadata__"], sorted(name for name in header if name != "__metadata__")
        kinds = {"F32": "torch.float32", "F16": "torch.float16", "BF16": "torch.bfloat16", "F64": "torch.float64"}
        kinds |= {"BOOL": "torch.bool", "U8": "torch.uint8", "I64": "torch.int64", "I32": "torch.int32"}
        digest = hashlib.sha256(str(told.get("header")).encode("utf-8", "surrogatepass"))
        for name in names:
            entry = header[name] if isinstance(header[name], dict) else {}
            start, end = (*(entry.get("data_offsets") or ()), 0, 0)[:2]
            digest.update(
                f"{name} {kinds.get(str(entry.get('dtype')))} {entry.get('shape')}".encode("utf-8", "replace")
            )
            digest.update(data[start:end] if isinstance(start, int) and isinstance(end, int) else b"")
        told["sha256"] = digest.hexdigest()
    text = json.dumps(header, default=str).encode()
    return struct.pack("<Q", len(text)) + text + data


def _told(content: Content, change: Callable[[dict[str, Any]], None]) -> Content:
    """Change our header, which is JSON within JSON."""
    header, data = content
    told = header.get("__metadata__")
    try:
        inner = json.loads(told["header"])  # type: ignore[index]
        change(inner)
        told["header"] = json.dumps(inner, default=str)  # type: ignore[index]
    except (TypeError, KeyError, ValueError, RecursionError):
        pass
    return header, data


def _entry(content: Content, rng: random.Random) -> Content:
    """Replace or drop an entry of our header."""

    def change(inner: dict[str, Any]) -> None:
        key = rng.choice([*inner, "given", "tokens", "masks", "colour", "unknown", "id"])
        if rng.random() < 0.2:
            inner.pop(key, None)
        else:
            inner[key] = value(rng)

    return _told(content, change)


def _sizes(content: Content, rng: random.Random) -> Content:
    """Change sizes or number of the pictures."""

    def change(inner: dict[str, Any]) -> None:
        sides = [rng.choice((0, 1, 30, 40, 60_000, 2**31, 2**63, -1, 1.5, "40")) for _ in range(2)]
        inner["image_sizes"] = [sides] * rng.choice((1, 2, 2, 3)) if rng.random() < 0.8 else value(rng)

    return _told(content, change)


def _names(content: Content, rng: random.Random) -> Content:
    """Put in texts that control a terminal, or values that are no text."""
    odd = ("\x1b[31mred", "a\nb", "\x00", "\ud800", "\u202eabc", "a" * 100_000, "", " ", "[red]x[/red]", "[/]", 7, None)

    def change(inner: dict[str, Any]) -> None:
        key = rng.choice(("name", "backbone", "weights_hash", "fit", "sources"))
        inner[key] = [rng.choice(odd), "b.jpg"] if key == "sources" else rng.choice(odd)

    return _told(content, change)


def _tensor(content: Content, rng: random.Random) -> Content:
    """Change type, shape or place of a tensor."""
    header, data = content
    names = [name for name in header if name != "__metadata__" and isinstance(header[name], dict)]
    if not names:
        return content
    entry, what = header[rng.choice(names)], rng.random()
    if what < 0.3:
        entry["dtype"] = rng.choice(_TYPES)
    elif what < 0.6:
        shape = list(entry.get("shape") or [])
        entry["shape"] = rng.choice(
            ([2**40], [0], [], [-1], [1, *shape], shape[::-1], shape[:1], [2**62, 4], [0, 2**62], [int(1e9)] * 2, None)
        )
    else:
        start, end = (entry.get("data_offsets") or (0, 0))[:2]
        entry["data_offsets"] = rng.choice(
            ([start, end + 4], [start + 4, end], [0, 2**60], [end, start], [start, start], [-1, 4], None, "x")
        )
    return header, data


def _retyped(content: Content, rng: random.Random) -> Content:
    """Store every tensor of floats as another type, in a file that is otherwise sound."""
    header, data = content
    kind, size = rng.choice((("F16", 2), ("BF16", 2), ("F64", 8), ("I32", 4), ("U8", 1)))
    parts, at = [], 0
    for name, entry in header.items():
        if name == "__metadata__" or not isinstance(entry, dict) or not isinstance(entry.get("data_offsets"), list):
            continue
        start, end = entry["data_offsets"]
        part = data[start:end]
        if entry.get("dtype") == "F32":
            entry["dtype"] = kind
            part = (part * 2)[: len(part) * size // 4]
        entry["data_offsets"] = [at, at + len(part)]
        at += len(part)
        parts.append(part)
    return header, b"".join(parts)


def _numbers(content: Content, rng: random.Random) -> Content:
    """Put in values that are no numbers, are not of unit tokens, or are all the same."""
    header, data = content
    names = [n for n, e in header.items() if n != "__metadata__" and isinstance(e, dict)]
    entry = header[rng.choice(names)] if names else {}
    places = entry.get("data_offsets")
    if not (isinstance(places, list) and all(isinstance(one, int) for one in places)):
        return content
    start, end = places
    odd = rng.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\0\0", b"\xff\xff\x7f\x7f", b"\x02\xff\x02\xff"))
    fill = (odd * (1 + (end - start) // 4))[: end - start] if end > start else b""
    many = rng.choice((4, len(fill)))
    return header, data[:start] + fill[:many] + data[start + len(fill[:many]) :]


def _moved(content: Content, rng: random.Random) -> Content:
    """Drop, rename or repeat a tensor."""
    header, data = content
    names = [name for name in header if name != "__metadata__"]
    if not names:
        return content
    name, what = rng.choice(names), rng.random()
    entry = header[name]
    if what < 0.7:
        del header[name]
    if what > 0.4:
        header[rng.choice(("tokens.7", "tokens.x", "\x1b[1m", "a" * 1000, "mask.0", "negatives", ""))] = entry
    return header, data


def _metadata(content: Content, rng: random.Random) -> Content:
    """Change the metadata of safetensors."""
    header, data = content
    told = header.get("__metadata__")
    if not isinstance(told, dict) or rng.random() < 0.1:
        header["__metadata__"] = rng.choice((None, {}, [], "x", {"format": 7}))
    else:
        told[rng.choice(("format", "version", "header"))] = rng.choice(
            ("", "2", "1e999", "[" * 50_000, "{}", "[]", "null", "\x1b[31m", '{"name": 1e999}', "9" * 5000, 7, None)
        )
    return header, data


_CHANGES = (_entry, _sizes, _names, _tensor, _retyped, _numbers, _moved, _metadata)
