"""Dust: parts of masks that are too small to be objects."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from insid3.config import Config
from insid3.features.patch_grid import PatchGrid
from insid3.imaging.components import cleaned, split


@dataclass(frozen=True)
class Dropped:
    """Count the connected parts that were dropped from a mask, and their pixels."""

    parts: int = 0
    area: int = 0

    def __add__(self, other: "Dropped") -> "Dropped":
        return Dropped(self.parts + other.parts, self.area + other.area)

    def __bool__(self) -> bool:
        return self.parts > 0

    def __str__(self) -> str:
        return f"{self.parts} part{'' if self.parts == 1 else 's'}, {self.area} pixels"

    def told(self) -> dict[str, Any] | None:
        """Return the counts as results.jsonl holds them; None if nothing was dropped."""
        return {"parts": self.parts, "area": self.area} if self else None


def without_dust(mask: Bool[np.ndarray, "H W"], least: int) -> tuple[Bool[np.ndarray, "H W"], Dropped]:
    """Drop the parts of a mask with fewer than `least` pixels (8 neighbours); return the mask and what was dropped."""
    kept = cleaned(mask, least)
    if kept is mask:
        return mask, Dropped()
    dust = mask & ~kept
    return kept, Dropped(len(split(dust)), int(np.count_nonzero(dust))) if dust.any() else Dropped()


def patch_area(size: tuple[int, int], config: Config, patch_size: int) -> float:
    """Return the pixels that a patch of the grid covers in a picture of (height, width) `size`."""
    rows, columns = PatchGrid.from_settings(size, config, patch_size).extent
    return size[0] * size[1] / (rows * columns)
