"""Corrected masks, which replace results and become further shots for the other targets."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from insid3.batch.names import safe_name
from insid3.batch.options import Options
from insid3.batch.sources import Target
from insid3.concept import Concept
from insid3.errors import ConfigError, MaskError
from insid3.imaging.colours import Colour
from insid3.imaging.masks import read_mask
from insid3.imaging.read import SUFFIXES, picture_size, read_image, read_values
from insid3.label_map import Label
from insid3.model import INSID3


@dataclass(frozen=True)
class Correction:
    """A mask that a person drew to replace a result.

    Attributes:
        files: one mask or indexed picture; with overlapping masks one mask for each concept.
        digest: digest of the content of all files.
    """

    files: tuple[Path, ...]
    digest: str

    def masks(self, size: tuple[int, int], labels: Sequence[Label], max_pixels: int) -> list[Bool[np.ndarray, "H W"]]:
        """Read the mask of each concept; empty if the target does not show the concept.

        Raises:
            MaskError: a file is unreadable, has another size than the target, or has values of no concept.
        """
        if len(self.files) == len(labels):
            return [read_mask(file, size, None, max_pixels, may_be_empty=True) for file in self.files]
        index = _index(_values(self.files[0], labels, max_pixels), labels, self.files[0])
        return [read_mask(index == i + 1, size, None, max_pixels, may_be_empty=True) for i in range(len(labels))]


def find_corrections(
    folder: Path, targets: Sequence[Target], slugs: Sequence[str], options: Options
) -> dict[str, Correction]:
    """Return the corrections in a folder by the names of their targets.

    Args:
        slugs: names of the concepts in file names.

    Raises:
        ConfigError: the folder is missing, a file corrects no target or is no PNG, or one of several masks is missing.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; put corrected masks there, named as the results are")
    apart = len(slugs) > 1 and options.overlap == "all"
    expected = {
        f"{target.name}.{slug}.png" if apart else f"{target.name}.png": target.name
        for target in targets
        for slug in (slugs if apart else slugs[:1])
    }
    found: dict[str, list[Path]] = {}
    others: list[Path] = []
    for file in sorted(folder.rglob("*")):
        if file.name.startswith(".") or file.suffix.lower() not in SUFFIXES or not file.is_file():
            continue
        own = file.relative_to(folder).with_suffix("").as_posix()
        name = expected.get(f"{own}.png") or expected.get(f"{safe_name(own)}.png")
        if file.suffix.lower() != ".png":
            others += [file] if name else []
        elif name is None:
            raise ConfigError(f"{file} corrects no target: it must be named as the result is, such as {min(expected)}")
        else:
            found.setdefault(name, []).append(file)
    for file in others:
        if not any(file.with_suffix("") == mask.with_suffix("") for masks in found.values() for mask in masks):
            raise ConfigError(f"{file} is no PNG: save the corrected mask as PNG, which keeps every pixel as it is")
    for name, files in found.items():
        if apart and len(files) < len(slugs):
            there = [file.with_suffix(".png") for file in files]
            lacking = next(f for s in slugs if (f := folder / f"{name}.{s}.png") not in there)
            raise ConfigError(f"{lacking} is missing: a correction has the masks of all concepts, empty ones too")
    if apart:
        found = {name: [folder / f"{name}.{slug}.png" for slug in slugs] for name in found}
    return {
        name: Correction(tuple(files), hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:16])
        for name, files in found.items()
    }


def learn(
    model: INSID3,
    concepts: Sequence[Concept],
    labels: Sequence[Label],
    targets: Sequence[Target],
    corrections: Mapping[str, Correction],
) -> list[Concept]:
    """Return the concepts with corrected targets as further shots; targets without a concept become its negatives.

    Raises:
        ImageError: a corrected target cannot be read.
        MaskError: a correction cannot be used.
    """
    shots: list[tuple[list[Path], list[Bool[np.ndarray, "_ _"]], list[Path]]] = [([], [], []) for _ in concepts]
    for target in targets:
        if target.name in corrections:
            masks = corrections[target.name].masks(picture_size(target.path), labels, model.config.max_pixels)
            for (pictures, drawn, negatives), mask in zip(shots, masks, strict=True):
                if mask.any():
                    pictures.append(target.path)
                    drawn.append(mask)
                else:
                    negatives.append(target.path)
    return [
        model.extend(concept, pictures, drawn, negatives=negatives)
        for concept, (pictures, drawn, negatives) in zip(concepts, shots, strict=True)
    ]


def _values(file: Path, labels: Sequence[Label], max_pixels: int) -> Shaped[np.ndarray, "H W ..."]:
    """Read the numbers of an indexed picture; its colours if the palette has another order than results have."""
    values = read_values(file, max_pixels)
    if values.ndim == 2 and values.dtype == np.uint8:
        shown = read_image(file, max_pixels, upright=False)
        if _is_coloured(values, shown, [label.colour for label in labels]):
            return shown
    return values


def _is_coloured(
    values: UInt8[np.ndarray, "H W"], shown: UInt8[np.ndarray, "H W 3"], colours: Sequence[Colour]
) -> bool:
    """Tell whether the colours of a palette, and not the numbers, stand for concepts."""
    flat, ours = values.ravel(), dict(enumerate(colours, 1))
    places = {int(number): int(np.argmax(flat == number)) for number in np.flatnonzero(np.bincount(flat))}
    palette = {number: tuple(shown.reshape(-1, 3)[place].tolist()) for number, place in places.items()}
    in_order = all(colour == ours.get(n) if n else colour not in colours for n, colour in palette.items())
    return not in_order and any(colour in colours for colour in palette.values())


def _index(values: Shaped[np.ndarray, "H W ..."], labels: Sequence[Label], file: Path) -> Shaped[np.ndarray, "H W"]:
    """Return the index of a correction, from numbers or colours: i + 1 for the concept at i, 0 elsewhere."""
    if values.ndim == 3 and values.shape[2] == 2:  # a number with alpha
        values = values[..., 0]
    if values.ndim == 3:
        index = np.zeros(values.shape[:2], np.uint8)
        for i, label in enumerate(labels):
            mine = (values[..., :3] == label.colour).all(-1)
            if (index[mine] > 0).any():
                twin = labels[int(index[mine].max()) - 1]
                raise MaskError(
                    f"{file} has a colour that {twin.name} and {label.name} share: save numbers, as the result has"
                )
            index[mine] = i + 1
        if ((index == 0) & values[..., :3].any(-1)).any():
            raise MaskError(f"{file} has colours of no concept: use those of concepts.json, without smooth edges")
        return index
    if values.max(initial=0) > len(labels):
        raise MaskError(f"{file} has values up to {values.max()}, there are {len(labels)} concepts")
    return values
