"""The grid of patches over a picture: how pixels map to the squares that the encoder sees, and back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from insid3.config import Config


@dataclass(frozen=True)
class PatchGrid:
    """The patches of a picture, which the encoder sees through one square window or several that overlap.

    Attributes:
        size: (H, W) of the picture.
        shape: (h, w) patches.
        extent: (rows, columns) of patches that the picture covers; less than `shape` where the picture is padded.
        windows: each window's first (row, column) on the grid.
        side: rows and columns of a window (R / p).
    """

    size: tuple[int, int]
    shape: tuple[int, int]
    extent: tuple[float | int, float | int]
    windows: tuple[tuple[int, int], ...]
    side: int

    @classmethod
    def from_settings(
        cls, size: tuple[int, int], config: Config, patch_size: int, *, tiled: bool = True
    ) -> "PatchGrid":
        """Lay the grid that the settings ask for.

        Args:
            tiled: whether `config.tile` counts; a reference is always seen whole.
        """
        side = config.size // patch_size
        if tiled and config.tile is not None and max(size) > config.tile:
            grid = (_cells(size[0], side, config.tile), _cells(size[1], side, config.tile))
            rows, columns = (_starts(cells, side, config.overlap) for cells in grid)
            return cls(size, grid, grid, tuple((y, x) for y in rows for x in columns), side)
        height, width = inner_size(size, config)
        grid = (-(-height // patch_size), -(-width // patch_size))
        return cls(size, grid, (height / patch_size, width / patch_size), ((0, 0),), side)

    @property
    def cells(self) -> tuple[int, int]:
        """(h, w) patches of a window that lie on the grid."""
        return min(self.side, self.shape[0]), min(self.side, self.shape[1])

    def box(self, window: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return (left, top, right, bottom) of what a window shows, in pixels of the picture."""
        y, x = self.size[0] / self.extent[0], self.size[1] / self.extent[1]
        top, left = window
        height, width = min(self.side, self.extent[0]), min(self.side, self.extent[1])
        return left * x, top * y, (left + width) * x, (top + height) * y

    def blend(self, values: Shaped[np.ndarray, "_ n"]) -> Float[np.ndarray, "h w"]:
        """Join the values of all windows to one for each patch: where windows overlap, their weighted mean.

        A patch counts for less the nearer it lies to an edge that cuts through the picture.
        """
        if len(self.windows) == 1:
            return values[0].reshape(self.shape)
        total, weight = np.zeros((2, *self.shape), np.float32)
        for part, value, ramp in self._parts(values):
            total[part] += ramp * value
            weight[part] += ramp
        return total / weight

    def choose(self, values: Shaped[np.ndarray, "_ n"]) -> Shaped[np.ndarray, "h w"]:
        """Choose one value for each patch: that of the window that sees the patch farthest from such an edge."""
        result, best = np.zeros(self.shape, values.dtype), np.zeros(self.shape, np.float32)
        for part, value, ramp in self._parts(values):
            result[part] = np.where(ramp > best[part], value, result[part])
            best[part] = np.maximum(ramp, best[part])
        return result

    def _parts(self, values: np.ndarray) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        """Yield each window's place on the grid, its values as a grid, and their weights."""
        for window, value in zip(self.windows, values, strict=True):
            ramps = []
            for first, cells, total in zip(window, self.cells, self.shape, strict=True):
                index = np.arange(cells, dtype=np.float32)
                before = index + 1 if first > 0 else np.full_like(index, cells)
                after = cells - index if first + cells < total else np.full_like(index, cells)
                ramps.append(np.minimum(before, after))
            ramp = np.minimum.outer(*ramps)
            (top, left), (height, width) = window, self.cells
            yield np.s_[top : top + height, left : left + width], value.reshape(height, width), ramp


def inner_size(size: tuple[int, int], config: Config) -> tuple[int, int]:
    """Return (height, width) that a picture seen whole takes up of the R x R square, from its top left corner."""
    if config.fit == "stretch":
        return config.size, config.size
    height, width = (max(1, round(pixels * config.size / max(size))) for pixels in size)
    return height, width


def _cells(pixels: int, side: int, tile: int) -> int:
    return max(side, round(pixels * side / tile))


def _starts(cells: int, side: int, overlap: float | int) -> list[int]:
    """Return the first cells of as few windows as overlap by at least that share, evenly spread."""
    step = max(1, int(side * (1 - overlap)))
    count = 1 + -(-(cells - side) // step)
    return [round(i * (cells - side) / max(1, count - 1)) for i in range(count)]
