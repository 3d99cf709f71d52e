"""Stage 6 as the settings ask for it: from patches to a mask of the target's size, its edge refined or not."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from insid3.config import Config
from insid3.frame import Frame, inner_size
from insid3.images import resize_image
from insid3.stages.crf import crf_reach, dense_crf, zones
from insid3.stages.guided import guided_filter
from insid3.stages.refine import resized, to_square

_BLOCK = 1024  # pixels a side that the CRF sees at once: its memory grows with them


class Closer(NamedTuple):
    """A second look at a part of a target.

    Attributes:
        box: (left, top, right, bottom) in pixels of the target.
        frame: of the part as a picture of its own.
        values: of the patches of its window, comparable with those of the whole target.
    """

    box: tuple[int, int, int, int]
    frame: Frame
    values: Float[np.ndarray, "1 n"]


def picture_to_refine(
    picture: UInt8[np.ndarray, "H W 3"], frame: Frame, config: Config
) -> UInt8[np.ndarray, "h2 w2 3"] | None:
    """The target at the size at which its edge is refined; None where it is not."""
    if config.refine == "none":
        return None
    size = working_size(frame, config)
    return picture if size == picture.shape[:2] else resize_image(picture, size)


def working_size(frame: Frame, config: Config) -> tuple[int, int]:
    """(height, width) at which the edge is refined; tiles have the side `config.refine_side`, but are not enlarged."""
    if len(frame.windows) == 1 or config.tile is None:
        return inner_size(frame.size, config.but(size=config.refine_side))
    height, width = (max(1, round(pixels * _side(frame, config) / config.tile)) for pixels in frame.size)
    return height, width


def to_mask(
    margins: Float[np.ndarray, "w n"],
    frame: Frame,
    picture: UInt8[np.ndarray, "h2 w2 3"] | None,
    patch_size: int,
    config: Config,
    closer: Closer | None = None,
) -> tuple[Bool[np.ndarray, "H W"], str | None]:
    """The mask of what is above the threshold, and why its edge is not refined although the settings ask for it.

    Args:
        margins: of the patches of each window (`stages/aggregate.py`).
        picture: see `picture_to_refine`.
        closer: margins of a part that was looked at again.
    """
    whole, inner = len(frame.windows) == 1, inner_size(frame.size, config)
    scores = torch.from_numpy(frame.blend(margins))
    if whole:
        plain = _plain(scores > 0, frame, patch_size, inner)
        mask = to_square((scores > 0).float(), patch_size, inner)
        scores = _with_part(to_square(scores, patch_size, inner), closer, frame, patch_size, config)
    else:
        plain = resized(scores, frame.size) > 0
    binary = whole and config.upsample == "mask"
    if not plain.any() or (config.refine == "none" and (binary or not whole)):
        return plain.numpy(), None
    result = _refined(mask - 0.5 if binary else scores, frame, picture, config)
    before, after = int(plain.sum()), int(result.sum())
    if 2 * after < before:
        how = "score" if config.refine == "none" else config.refine
        left = f"left {after / before:.0%} of the mask" if after else "left nothing of the mask"
        return plain.numpy(), f"edge as coarse as patches: {how} {left}"
    return result.numpy(), None


def soft_scores(
    scores: Float[np.ndarray, "w n"], frame: Frame, patch_size: int, config: Config, closer: Closer | None = None
) -> Float[np.ndarray, "H W"]:
    """Of each pixel the score up to which a threshold leaves it in the mask (`Segmentation.scores`).

    Args:
        closer: scores of a part that was looked at again.
    """
    grid, inner = torch.from_numpy(frame.blend(scores)).clamp(-1, 1), inner_size(frame.size, config)
    if len(frame.windows) > 1:
        return resized(grid, frame.size).numpy()
    if config.upsample == "score":
        square = _with_part(to_square(grid, patch_size, inner), closer, frame, patch_size, config)
        return resized(square, frame.size).numpy()
    # Upsampling does not undo an inclusion of masks, so that one picture holds the masks of all thresholds.
    soft = torch.full(frame.size, -1.0)
    for level in grid.unique():  # sorted; as many as there are clusters
        soft[_plain(grid >= level, frame, patch_size, inner)] = level
    return soft.numpy()


def _with_part(
    square: Float[Tensor, "h w"], closer: Closer | None, frame: Frame, patch_size: int, config: Config
) -> Float[Tensor, "h w"]:
    """The mean of both looks where there are two."""
    if closer is None:
        return square
    y, x = (there / here for there, here in zip(square.shape, frame.size, strict=True))
    left, top, right, bottom = closer.box
    rows, columns = slice(round(top * y), round(bottom * y)), slice(round(left * x), round(right * x))
    own = torch.from_numpy(closer.frame.blend(closer.values))
    part = to_square(own, patch_size, inner_size(closer.frame.size, config))
    result = square.clone()
    height, width = result[rows, columns].shape
    result[rows, columns] = (square[rows, columns] + resized(part, (height, width))) / 2
    return result


def _plain(patches: Bool[Tensor, "h w"], frame: Frame, patch_size: int, inner: tuple[int, int]) -> Bool[Tensor, "H W"]:
    """The mask of whole patches as the published code upsamples it."""
    square = to_square(patches.float(), patch_size, inner) > 0.5
    return resized(square.float(), frame.size) > 0.5


def _refined(
    values: Float[Tensor, "h w"], frame: Frame, picture: UInt8[np.ndarray, "h2 w2 3"] | None, config: Config
) -> Bool[Tensor, "H W"]:
    """Where the values, whose edges are at 0, are above it in the end."""
    if picture is None or config.refine == "none":
        return resized(values, frame.size) > 0
    values = resized(values, picture.shape[:2])
    if config.refine == "guided":
        patch = max(1, round(_side(frame, config) / frame.side))
        return resized(torch.from_numpy(guided_filter(values.numpy(), picture, patch)), frame.size) > 0
    scale = _side(frame, config) / 512
    core, outside = zones((values > 0).numpy())
    edge = np.empty(core.shape, np.float32)
    for inner, outer, within in _blocks(core.shape, crf_reach(scale)):
        origin = outer[0].start, outer[1].start
        found = dense_crf(core[outer], outside[outer], picture[outer], scale, config.solver, origin)
        edge[inner] = found[within]
    return resized(torch.from_numpy(edge), frame.size) > 0.5


def _side(frame: Frame, config: Config) -> int:
    """Pixels, where the edge is refined, of what the encoder sees at once."""
    if len(frame.windows) == 1 or config.tile is None:
        return config.refine_side
    return min(config.refine_side, config.tile)


_Part = tuple[slice, slice]


def _blocks(size: tuple[int, int], halo: int) -> Iterator[tuple[_Part, _Part, _Part]]:
    """Of each block: where it is, where it is with its halo, and where it is in the latter."""
    for top in range(0, size[0], _BLOCK):
        for left in range(0, size[1], _BLOCK):
            y, x = max(0, top - halo), max(0, left - halo)
            yield (
                np.s_[top : top + _BLOCK, left : left + _BLOCK],
                np.s_[y : top + _BLOCK + halo, x : left + _BLOCK + halo],
                np.s_[top - y : top - y + _BLOCK, left - x : left - x + _BLOCK],
            )
