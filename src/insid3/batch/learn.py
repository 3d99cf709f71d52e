"""Corrected masks: results as they are, and further shots for the targets that are left."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from insid3.batch.options import Options
from insid3.batch.sources import Target
from insid3.concept import Concept
from insid3.errors import ConfigError, MaskError
from insid3.images import picture_size, read_mask, read_values
from insid3.labels import Label
from insid3.pipeline import INSID3


@dataclass(frozen=True)
class Correction:
    """What somebody drew in the place of a result.

    Attributes:
        files: one picture; where masks overlap one for each concept.
        digest: of their content.
    """

    files: tuple[Path, ...]
    digest: str

    def masks(self, size: tuple[int, int], labels: Sequence[Label], max_pixels: int) -> list[Bool[np.ndarray, "H W"]]:
        """The mask of each concept; empty where the picture does not show it.

        Raises:
            MaskError: unreadable, of another size, or with values that are no concept's.
        """
        if len(self.files) == len(labels):
            return [read_mask(file, size, None, max_pixels, may_be_empty=True) for file in self.files]
        colours = [label.colour for label in labels] if len(labels) > 1 else ()
        index = _index(read_values(self.files[0], max_pixels, colours=colours), labels, self.files[0])
        return [read_mask(index == i + 1, size, None, max_pixels, may_be_empty=True) for i in range(len(labels))]


def find_corrections(
    folder: Path, targets: Sequence[Target], slugs: Sequence[str], options: Options
) -> dict[str, Correction]:
    """The corrections that lie in a folder, by the names of their targets.

    Args:
        slugs: the concepts' names in file names.

    Raises:
        ConfigError: no such folder, a file that is no target's, or one of several masks is missing.
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
    for file in sorted(folder.rglob("*.png")):
        name = expected.get(file.relative_to(folder).as_posix())
        if name is None:
            raise ConfigError(f"{file} corrects no target: it must be named as the result is, such as {min(expected)}")
        found.setdefault(name, []).append(file)
    for name, files in found.items():
        if apart and len(files) < len(slugs):
            lacking = next(f for s in slugs if (f := folder / f"{name}.{s}.png") not in files)
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
    """The concepts with corrected targets as further shots; those that do not show a concept are its negatives.

    Raises:
        ImageError, MaskError: a target or its correction that cannot be used.
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


def _index(values: Shaped[np.ndarray, "H W ..."], labels: Sequence[Label], file: Path) -> Shaped[np.ndarray, "H W"]:
    """0 nobody's, i + 1 of the concept at i: as numbers, or as the concepts' colours."""
    if values.ndim == 3 and values.shape[2] == 2:  # grey with alpha
        values = values[..., 0]
    if values.ndim == 3:
        index = np.zeros(values.shape[:2], np.uint8)
        for i, label in enumerate(labels):
            index[(values[..., :3] == label.colour).all(-1)] = i + 1
        if ((index == 0) & values[..., :3].any(-1)).any():
            raise MaskError(f"{file} has colours of no concept: use those of concepts.json, without smooth edges")
        return index
    if values.max(initial=0) > len(labels):
        raise MaskError(f"{file} has values up to {values.max()}, there are {len(labels)} concepts")
    return values
