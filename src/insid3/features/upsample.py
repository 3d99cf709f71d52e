"""From patches to pixels (stage 6): a mask of the target's size, its edge refined if the settings ask for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from insid3.config import Config
from insid3.errors import ConfigError
from insid3.features.patch_grid import PatchGrid, inner_size
from insid3.imaging.resizing import resize_image
from insid3.stages.crf import crf_reach, dense_crf, zones
from insid3.stages.guided import guided_filter

_BLOCK = 1024  # pixels a side that the CRF sees at once: its memory grows with them


class Zoom(NamedTuple):
    """The values of a part of a target that was looked at again (`features/zoom.py`).

    Attributes:
        box: (left, top, right, bottom) of the part in pixels of the target.
        grid: the part as a picture of its own.
        values: one for each patch of the part's window, comparable with those of the whole target.
    """

    box: tuple[int, int, int, int]
    grid: PatchGrid
    values: Float[np.ndarray, "1 n"]


@dataclass(frozen=True, eq=False)
class PatchScores:
    """The values that a threshold is compared with, patch by patch, until somebody asks for pixels.

    Attributes:
        values: one for each patch of each window.
        grid: where the patches are.
        zoom: values of a part that was looked at again.
    """

    values: Float[np.ndarray, "_ n"]
    grid: PatchGrid
    patch_size: int
    config: Config
    zoom: Zoom | None = None

    def to_pixels(self) -> Float[np.ndarray, "H W"]:
        """Return for each pixel the score up to which a threshold leaves the pixel in the mask."""
        scores = torch.from_numpy(self.grid.blend(self.values)).clamp(-1, 1)
        size, inner = self.grid.size, inner_size(self.grid.size, self.config)
        if len(self.grid.windows) > 1:
            return resized(scores, size).numpy()
        if self.config.upsample == "score":
            square = to_square(scores, self.patch_size, inner)
            return resized(_with_part(square, self.zoom, self.grid, self.patch_size, self.config), size).numpy()
        # Upsampling does not undo an inclusion of masks, so that one picture holds the masks of all thresholds.
        soft = torch.full(size, -1.0)
        for level in scores.unique():  # sorted; as many as there are clusters
            soft[_plain(scores >= level, self.grid, self.patch_size, inner)] = level
        return soft.numpy()


def picture_to_refine(
    picture: UInt8[np.ndarray, "H W 3"], grid: PatchGrid, config: Config
) -> UInt8[np.ndarray, "h2 w2 3"] | None:
    """Return the target at the size at which its edge is refined; None where no edge is."""
    if config.refine == "none":
        return None
    size = working_size(grid, config)
    return picture if size == picture.shape[:2] else resize_image(picture, size)


def working_size(grid: PatchGrid, config: Config) -> tuple[int, int]:
    """Return (height, width) at which the edge is refined; tiles have the side `config.refine_side`, never enlarged."""
    if len(grid.windows) == 1 or config.tile is None:
        return inner_size(grid.size, config.but(size=config.refine_side))
    height, width = (max(1, round(pixels * _side(grid, config) / config.tile)) for pixels in grid.size)
    return height, width


def to_mask(
    margins: Float[np.ndarray, "_ n"],
    grid: PatchGrid,
    picture: UInt8[np.ndarray, "h2 w2 3"] | None,
    patch_size: int,
    config: Config,
    zoom: Zoom | None = None,
) -> tuple[Bool[np.ndarray, "H W"], str | None]:
    """Mark the pixels above the threshold.

    Args:
        margins: how far each patch of each window is above the threshold (`stages/aggregate.py`).
        picture: the target as `picture_to_refine` gives it.
        zoom: margins of a part that was looked at again.

    Returns:
        The mask, and why its edge is not refined although the settings ask for it.
    """
    whole, inner = len(grid.windows) == 1, inner_size(grid.size, config)
    scores = torch.from_numpy(grid.blend(margins))
    if whole:
        plain = _plain(scores > 0, grid, patch_size, inner)
        mask = to_square((scores > 0).float(), patch_size, inner)
        scores = _with_part(to_square(scores, patch_size, inner), zoom, grid, patch_size, config)
    else:
        plain = resized(scores, grid.size) > 0
    binary = whole and config.upsample == "mask"
    if not plain.any() or (config.refine == "none" and (binary or not whole)):
        return plain.numpy(), None
    result = _refined(mask - 0.5 if binary else scores, grid, picture, config)
    before, after = int(plain.sum()), int(result.sum())
    if 2 * after < before:
        how = "score" if config.refine == "none" else config.refine
        left = f"left {after / before:.0%} of the mask" if after else "left nothing of the mask"
        return plain.numpy(), f"edge as coarse as patches: {how} {left}"
    return result.numpy(), None


def to_square(patches: Float[Tensor, "h w"], patch_size: int, inner: tuple[int, int]) -> Float[Tensor, "h2 w2"]:
    """Enlarge patches to the square that the encoder sees, without its padding; bilinear.

    Args:
        inner: (height, width) that the target takes up of the square.
    """
    square = resized(patches, (patches.shape[0] * patch_size, patches.shape[1] * patch_size))
    return square[: inner[0], : inner[1]]


def resized(values: Float[Tensor, "h w"], size: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Resize to `size`, bilinear between the centres of pixels."""
    return F.interpolate(values[None, None], size, mode="bilinear", align_corners=False)[0, 0]


def _with_part(
    square: Float[Tensor, "h w"], zoom: Zoom | None, grid: PatchGrid, patch_size: int, config: Config
) -> Float[Tensor, "h w"]:
    """Return the mean of both looks where there are two."""
    if zoom is None:
        return square
    y, x = (there / here for there, here in zip(square.shape, grid.size, strict=True))
    left, top, right, bottom = zoom.box
    rows, columns = slice(round(top * y), round(bottom * y)), slice(round(left * x), round(right * x))
    own = torch.from_numpy(zoom.grid.blend(zoom.values))
    part = to_square(own, patch_size, inner_size(zoom.grid.size, config))
    result = square.clone()
    height, width = result[rows, columns].shape
    result[rows, columns] = (square[rows, columns] + resized(part, (height, width))) / 2
    return result


def _plain(
    patches: Bool[Tensor, "h w"], grid: PatchGrid, patch_size: int, inner: tuple[int, int]
) -> Bool[Tensor, "H W"]:
    """Upsample a mask of whole patches as the published code does."""
    square = to_square(patches.float(), patch_size, inner) > 0.5
    return resized(square.float(), grid.size) > 0.5


def _refined(
    values: Float[Tensor, "h w"], grid: PatchGrid, picture: UInt8[np.ndarray, "h2 w2 3"] | None, config: Config
) -> Bool[Tensor, "H W"]:
    """Refine the edge, which is where the values cross 0, and mark what lies above."""
    if picture is None or config.refine == "none":
        return resized(values, grid.size) > 0
    values = resized(values, picture.shape[:2])
    if config.refine == "guided":
        patch = max(1, round(_side(grid, config) / grid.side))
        return resized(torch.from_numpy(guided_filter(values.numpy(), picture, patch)), grid.size) > 0
    if config.refine != "crf":
        raise ConfigError(f"refine {config.refine!r} has no function in features/upsample.py")
    scale = _side(grid, config) / 512
    core, outside = zones((values > 0).numpy())
    edge = np.empty(core.shape, np.float32)
    for inner, outer, within in _blocks(core.shape, crf_reach(scale)):
        origin = outer[0].start, outer[1].start
        found = dense_crf(core[outer], outside[outer], picture[outer], scale, config.solver, origin)
        edge[inner] = found[within]
    return resized(torch.from_numpy(edge), grid.size) > 0.5


def _side(grid: PatchGrid, config: Config) -> int:
    """Return the pixels a side, where the edge is refined, of what the encoder sees at once."""
    if len(grid.windows) == 1 or config.tile is None:
        return config.refine_side
    return min(config.refine_side, config.tile)


_Part = tuple[slice, slice]


def _blocks(size: tuple[int, int], halo: int) -> Iterator[tuple[_Part, _Part, _Part]]:
    """Yield for each block its place, its place with its halo, and its place within the latter."""
    for top in range(0, size[0], _BLOCK):
        for left in range(0, size[1], _BLOCK):
            y, x = max(0, top - halo), max(0, left - halo)
            yield (
                np.s_[top : top + _BLOCK, left : left + _BLOCK],
                np.s_[y : top + _BLOCK + halo, x : left + _BLOCK + halo],
                np.s_[top - y : top - y + _BLOCK, left - x : left - x + _BLOCK],
            )
