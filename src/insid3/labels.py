"""Several concepts in one picture: what they are called, and whose a pixel is that several claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, UInt8

from insid3.concept import Concept
from insid3.errors import ConfigError
from insid3.numbers import is_number, plain, told
from insid3.types import Segmentation

Overlap = Literal["best", "all"]
Colour = tuple[int, int, int]

MAGENTA: Colour = (230, 0, 140)  #: of a concept that is alone
# Distinct on photographs and for colour-blind eyes (after Okabe and Ito).
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
MOST = 255  #: concepts in one indexed picture


@dataclass(frozen=True)
class Label:
    """What a concept is called, wherever its masks go.

    Attributes:
        id: number in formats that number their classes as they like (COCO's category id).
        colour: RGB.
    """

    name: str
    id: int
    colour: Colour


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Where each of several concepts is in one target.

    Attributes:
        labels: name, id and colour of each concept.
        results: of each concept, as if it were alone.
        index: (H, W) whose each pixel is: 0 nobody's, i + 1 of the concept at i.
        overlap: "best": `masks` are those of `index`; "all": those of `results`.
    """

    labels: tuple[Label, ...]
    results: tuple[Segmentation, ...]
    index: UInt8[np.ndarray, "H W"]
    overlap: str = "best"

    def __post_init__(self) -> None:
        if not isinstance(self.overlap, str) or self.overlap not in get_args(Overlap):
            raise ConfigError(f"overlap must be one of {', '.join(get_args(Overlap))}, got {told(self.overlap)}")

    @cached_property
    def masks(self) -> tuple[Bool[np.ndarray, "H W"], ...]:
        """Each concept's (H, W) mask."""
        if self.overlap == "all":
            return tuple(result.mask for result in self.results)
        return tuple(self.index == i + 1 for i in range(len(self.results)))


def numbered(concepts: Sequence[Concept]) -> tuple[Label, ...]:
    """Names, ids and colours; where a concept brings none, the smallest free id and the next colour.

    Raises:
        ConfigError: no concepts, two of one name or id, or more than 255.
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
    """Whose each pixel is: 0 nobody's, i + 1 of the concept at i.

    A pixel that several claim goes to the one whose prototype it resembles most. Those less than `margin` behind it
    are taken for equal; between equals the mask of the higher score wins, then the first. A mask that is known
    (`Segmentation.is_known`) has all of its pixels.

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
