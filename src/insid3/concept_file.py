"""Reader of concept files, which a stranger may have made: types and shapes are checked before tensors are loaded.

A concept file is safetensors with the metadata `format`, `version`, `header` (JSON), `sha256` and `files`. The checksum
finds damage only: whoever changes a file can compute it anew.
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from insid3.checks.parsing import Flaw, as_dict, as_list, as_whole, json_of, parsing, shown
from insid3.errors import ConceptError

FORMAT, VERSION = "insid3-concept", 1
LARGEST_ID = 2**31
KEYS = ("name", "backbone", "weights_hash", "size", "fit", "image_sizes", "sources")  #: entries of the header
OPTIONAL = ("id", "colour")  #: entries of the header that a concept need not have
_FLOATS = ("F32", "F16", "BF16")
# Types and number of dimensions.
_PARTS: dict[str, tuple[tuple[str, ...], int]] = {
    "tokens": (_FLOATS, 2),
    "thumbnail": (("U8",), 3),
    "patch_mask": (("BOOL",), 1),
    "mask": (("U8",), 1),
}
_MOST = {"size": 20_000, "side of a picture": 10**6, "id": LARGEST_ID, "side of a thumbnail": 4096}
_LONG = 4096  # characters of a name or path


def read(path: Path) -> dict[str, Any]:
    """Return the fields of a `Concept` from a concept file.

    Tokens of half precision become float32. Characters of names and sources that cannot be shown become `_`.

    Raises:
        ConceptError: the file is missing, damaged, of another version, or no concept file.
    """
    if not path.is_file():
        raise ConceptError(f"concept {path}: no such file")
    with parsing(path, "concept", ConceptError):
        try:
            file = safe_open(path, "pt")  # checks sizes and places of tensors against the size of the file
        except (SafetensorError, OSError) as error:
            raise ConceptError(f"concept {path} is damaged or not a concept file: save it again") from error
        with file:
            told = file.metadata() or {}
            _check_version(path, told)
            header = _header(told.get("header", ""))
            _check_tensors(file, header)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        if told.get("sha256") != digest_of(tensors, told["header"]):
            raise ConceptError(f"concept {path} is damaged (its checksum differs): save it again")
        return _fields(tensors, header) | _files(told, len(header["sources"]))


def digest_of(tensors: dict[str, Tensor], header: str) -> str:
    """Return the SHA-256 of tensors and header, in hex digits."""
    digest = hashlib.sha256(header.encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_version(path: Path, told: dict[str, str]) -> None:
    if told.get("format") != FORMAT:
        raise ConceptError(f"{path} is a safetensors file but not a concept (.insid3)")
    version = told.get("version", "")
    if version != str(VERSION):
        version = version if re.fullmatch(r"[\w.]{1,20}", version) else shown(version)
        raise ConceptError(
            f"concept {path} has version {version}, this insid3 reads version {VERSION}: "
            "update insid3, or make the concept again"
        )


def _header(text: str) -> dict[str, Any]:
    """Return the entries of the header, checked."""
    told = as_dict(json_of(text), "header")
    for key in KEYS:
        if key not in told:
            _lacks(key)
    if unknown := [key for key in told if key not in (*KEYS, *OPTIONAL)]:
        raise Flaw(f"has an unknown entry {shown(unknown[0])}")
    sizes = as_list(told["image_sizes"], "image_sizes")
    header: dict[str, Any] = {
        **{key: _text(told[key], key) for key in ("name", "backbone", "weights_hash", "fit")},
        "size": _whole(told["size"], "size"),
        "image_sizes": tuple(_sides(size) for size in sizes),
        "sources": tuple(_text(source, "source") for source in as_list(told["sources"], "sources")),
    }
    if len(header["sources"]) != len(sizes):
        raise Flaw(f"has {len(sizes)} image_sizes and {len(header['sources'])} sources")
    if told.get("id") is not None:
        header["id"] = _whole(told["id"], "id")
    if told.get("colour") is not None:
        colour = [as_whole(value, "a colour") for value in as_list(told["colour"], "colour")]
        if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
            raise Flaw(f"has {shown(told['colour'])} as colour, not RGB from 0 to 255")
        header["colour"] = tuple(colour)
    return header


def _check_tensors(file: Any, header: dict[str, Any]) -> None:
    """Check types and shapes of all tensors against each other and against the header."""
    told = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  not a dict
    types = {name: str(part.get_dtype()) for name, part in told.items()}
    shapes = {name: [int(side) for side in part.get_shape()] for name, part in told.items()}
    sizes = header["image_sizes"]
    parts = ["tokens", "thumbnail", *(["patch_mask", "mask"] if "mask.0" in told else [])]
    wanted = {f"{part}.{i}": _PARTS[part] for i in range(len(sizes)) for part in parts}
    wanted["negatives"] = _PARTS["tokens"]
    for name in [*wanted, *told]:
        if name not in told:
            _lacks(name)
        if name not in wanted:
            raise Flaw(f"has an unknown tensor {shown(name)}")
        kinds, dimensions = wanted[name]
        if types[name] not in kinds or len(shapes[name]) != dimensions:
            raise Flaw(f"has {name} as {types[name]} of shape {shapes[name]}")
    channels = {shapes[name][1] for name in wanted if name.startswith(("tokens", "negatives"))}
    if len(channels) != 1 or 0 in channels:
        raise Flaw(f"has tokens of {' and '.join(map(str, sorted(channels)))} channels")
    for i, (height, width) in enumerate(sizes):
        count, thumbnail = shapes[f"tokens.{i}"][0], shapes[f"thumbnail.{i}"]
        if not (count and thumbnail[2] == 3 and all(1 <= side <= _MOST["side of a thumbnail"] for side in thumbnail)):
            raise Flaw(f"has {count} tokens and a thumbnail of shape {thumbnail} of picture {i + 1}")
        if "mask.0" in told and (shapes[f"patch_mask.{i}"], shapes[f"mask.{i}"]) != (
            [count],
            [math.ceil(height * width / 8)],
        ):
            raise Flaw(f"has a mask of picture {i + 1} that does not fit its {width} x {height} pixels or its tokens")


def _fields(tensors: dict[str, Tensor], header: dict[str, Any]) -> dict[str, Any]:
    sizes = header["image_sizes"]
    for name in [name for name in tensors if name.startswith(("tokens", "negatives"))]:
        tensors[name] = tensors[name].float()
        if not torch.isfinite(tensors[name]).all():
            raise Flaw(f"holds numbers in {name} that are not finite")
    masks = [
        np.unpackbits(tensors[f"mask.{i}"].numpy(), count=height * width).reshape(height, width).view(bool)
        for i, (height, width) in enumerate(sizes)
        if f"mask.{i}" in tensors
    ]
    return header | {
        "tokens": tuple(tensors[f"tokens.{i}"] for i in range(len(sizes))),
        "patch_masks": tuple(tensors[f"patch_mask.{i}"] for i in range(len(masks))),
        "masks": tuple(masks),
        "thumbnails": tuple(tensors[f"thumbnail.{i}"].numpy() for i in range(len(sizes))),
        "negatives": tensors["negatives"],
    }


def pack_files(files: Sequence[str], negative_files: Sequence[str]) -> str:
    """Return the digests of the files of shots and negatives as text, after a checksum."""
    text = json.dumps([list(files), list(negative_files)])
    return f"{hashlib.sha256(text.encode()).hexdigest()} {text}"


def _files(told: dict[str, str], shots: int) -> dict[str, Any]:
    """Return the digests that `pack_files` wrote; none from older versions, which wrote none."""
    if unknown := told.keys() - {"format", "version", "header", "sha256", "files"}:
        raise Flaw(f"has an unknown entry {shown(min(unknown))}")
    if "files" not in told:
        return {}
    listed = as_list(json_of(told["files"].partition(" ")[2]), "files")
    files, negatives = (as_list(entry, "files") for entry in (listed if len(listed) == 2 else [None, None]))
    fits = all(isinstance(x, str) and re.fullmatch(r"(\d{1,15}-[0-9a-f]{64})?", x) for x in (*files, *negatives))
    if not fits or len(files) != shots or told["files"] != pack_files(files, negatives):
        raise Flaw("has files that are no digests of its pictures")
    return {"files": tuple(files), "negative_files": tuple(negatives)}


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _LONG:
        raise Flaw(f"has {shown(value)} as {what}, which should be a name")
    return "".join(letter if letter.isprintable() else "_" for letter in value)


def _whole(value: Any, what: str) -> int:
    number = as_whole(value, what)
    if not (type(value) is int and 1 <= number <= _MOST[what]):
        raise Flaw(f"has {shown(value)} as {what}, not a whole number from 1 to {_MOST[what]:,}")
    return number


def _sides(size: Any) -> tuple[int, int]:
    sides = as_list(size, "size of a picture")
    if len(sides) != 2:
        raise Flaw(f"has {len(sides)} sides of a picture, not height and width")
    return _whole(sides[0], "side of a picture"), _whole(sides[1], "side of a picture")


def _lacks(what: str) -> NoReturn:
    raise Flaw(f"has no {what}")
