"""Several concepts in one target: their names, and the owner of a pixel that several concepts claim."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from insid3.checks.numbers import is_number, plain, told
from insid3.concept import Concept
from insid3.errors import ConfigError
from insid3.imaging.colours import MAGENTA, PALETTE, Colour
from insid3.imaging.draw import indexed
from insid3.imaging.opening import Source
from insid3.imaging.show import png_of
from insid3.results import Segmentation
from insid3.storage import write_picture

Overlap = Literal["best", "all"]
MOST = 255  #: concepts in one indexed picture


@dataclass(frozen=True)
class Label:
    """The name, number and colour of a concept, wherever its masks go.

    Attributes:
        id: number in formats that number their classes freely (COCO's category id).
        colour: RGB.
    """

    name: str
    id: int
    colour: Colour


@dataclass(frozen=True, eq=False, repr=False)
class LabelMap:
    """The places of several concepts in one target.

    >>> both = model.label("target.jpg", [cat, dog])
    >>> cat_mask, dog_mask = both.masks
    >>> both.save("labels.png")

    Attributes:
        labels: name, id and colour of each concept.
        results: each concept's result, as if the concept were alone.
        index: (H, W) the owner of each pixel: 0 nobody, i + 1 the concept at i.
        overlap: "best": `masks` are those of `index`; "all": those of `results`.
    """

    labels: tuple[Label, ...]
    results: tuple[Segmentation, ...]
    index: UInt8[np.ndarray, "H W"]
    overlap: str = "best"

    def __post_init__(self) -> None:
        if not isinstance(self.overlap, str) or self.overlap not in get_args(Overlap):
            raise ConfigError(f"overlap must be one of {', '.join(get_args(Overlap))}, got {told(self.overlap)}")

    def __repr__(self) -> str:
        height, width = self.index.shape
        shares = (f"{label.name} {mask.mean():.1%}" for label, mask in zip(self.labels, self.masks, strict=True))
        return f"LabelMap({width} x {height}, {', '.join(shares)})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a palette PNG: 0 is nobody and black, i + 1 is the concept at i in its colour.

        Raises:
            OutputError: the file cannot be written.
        """
        write_picture(path, indexed(self.index, [label.colour for label in self.labels]))

    def overlay(self, picture: Source | None = None) -> Image.Image:
        """Draw the masks in their colours on the target; `picture` and errors are those of `Segmentation.overlay`."""
        return self.results[0]._overlay(picture, self.masks, [label.colour for label in self.labels])

    def _repr_png_(self) -> bytes:
        return png_of(self, indexed(self.index, [label.colour for label in self.labels]).convert("RGB"))

    @cached_property
    def masks(self) -> tuple[Bool[np.ndarray, "H W"], ...]:
        """The (H, W) mask of each concept."""
        if self.overlap == "all":
            return tuple(result.mask for result in self.results)
        return tuple(self.index == i + 1 for i in range(len(self.results)))


def numbered(concepts: Sequence[Concept]) -> tuple[Label, ...]:
    """Return the label of each concept; one without an id or colour gets the smallest free id and the next colour.

    Raises:
        ConfigError: there are no concepts, more than 255, or two of one name or id.
    """
    names = [concept.name for concept in concepts]
    given = [concept.id for concept in concepts if concept.id is not None]
    if not 1 <= len(names) <= MOST:
        raise ConfigError(f"expected 1 to {MOST} concepts, got {len(names)}")
    for what, values in (("name", names), ("id", given)):
        if twice := [value for i, value in enumerate(values) if value in values[:i]]:
            raise ConfigError(f"two concepts have the {what} {twice[0]!r}: each needs its own")
    free = (number for number in range(1, len(names) + len(given) + 1) if number not in given)
    colours = [MAGENTA] if len(names) == 1 else [PALETTE[i % len(PALETTE)] for i in range(len(names))]
    return tuple(
        Label(concept.name, next(free) if concept.id is None else concept.id, concept.colour or colour)
        for concept, colour in zip(concepts, colours, strict=True)
    )


def decide(results: Sequence[Segmentation], margin: float = 0.05) -> UInt8[np.ndarray, "H W"]:
    """Decide who owns each pixel: 0 nobody, i + 1 the concept at i.

    A pixel that several concepts claim goes to the concept whose prototype resembles the pixel most. Concepts less than
    `margin` behind are taken for equal. Between equals the mask of the higher score wins, then the first concept. A
    known mask (`Segmentation.is_known`) keeps all of its pixels.

    Raises:
        ConfigError: `margin` is no number.
    """
    margin = plain(margin)
    if not is_number(margin):
        raise ConfigError(f"margin must be a number, got {told(margin)}")
    index = np.zeros(results[0].mask.shape, np.uint8)
    claims = np.zeros(index.shape, np.uint8)
    for i, result in enumerate(results):
        index[result.mask] = i + 1
        claims += result.mask
    contested = np.flatnonzero(claims > 1)
    if not len(contested):
        return index
    similarity = [
        np.where(
            result.mask.ravel()[contested],
            np.inf if result.is_known else result.similarity_at().ravel()[contested],
            -np.inf,
        )
        for result in results
    ]
    enough = np.maximum.reduce(similarity) - margin
    whose, best = np.zeros(len(contested), np.uint8), np.full(len(contested), -1.0)
    for i, (mine, result) in enumerate(zip(similarity, results, strict=True)):
        wins = (mine >= enough) & (result.score > best)
        whose[wins], best[wins] = i + 1, result.score
    index.ravel()[contested] = whose
    return index
