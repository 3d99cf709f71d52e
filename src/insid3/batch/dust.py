"""Parts of masks that are too small to be seen as objects."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from insid3.config import Config
from insid3.frame import Frame
from insid3.instances import cleaned, split


@dataclass(frozen=True)
class Dropped:
    """Says how many connected parts were left out of a mask, and how many pixels they had."""

    parts: int = 0
    area: int = 0

    def __add__(self, other: "Dropped") -> "Dropped":
        return Dropped(self.parts + other.parts, self.area + other.area)

    def __bool__(self) -> bool:
        return self.parts > 0

    def __str__(self) -> str:
        return f"{self.parts} part{'' if self.parts == 1 else 's'}, {self.area} pixels"

    def told(self) -> dict[str, Any] | None:
        """What results.jsonl says of it; None where nothing was left out."""
        return {"parts": self.parts, "area": self.area} if self else None


def without_dust(mask: Bool[np.ndarray, "H W"], least: int) -> tuple[Bool[np.ndarray, "H W"], Dropped]:
    """A mask without parts of fewer than `least` pixels (8 neighbours), and what that left out."""
    kept = cleaned(mask, least)
    if kept is mask:
        return mask, Dropped()
    dust = mask & ~kept
    return kept, Dropped(len(split(dust)), int(np.count_nonzero(dust))) if dust.any() else Dropped()


def patch_area(size: tuple[int, int], config: Config, patch_size: int) -> float:
    """Pixels that a patch covers of a picture of (height, width) `size`; with tiles of the lattice's."""
    rows, columns = Frame.of(size, config, patch_size).extent
    return size[0] * size[1] / (rows * columns)
