"""Stage 6 as the settings ask for it: from patches to a mask of the target's size, its edge refined or not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8

from insid3.config import Config
from insid3.frame import Frame, inner_size
from insid3.images import resize_image
from insid3.stages.crf import crf_reach, dense_crf
from insid3.stages.guided import guided_filter
from insid3.stages.refine import resized, to_square


def picture_to_refine(
    picture: UInt8[np.ndarray, "H W 3"], frame: Frame, config: Config
) -> UInt8[np.ndarray, "h2 w2 3"] | None:
    """The target at the size at which its edge is refined; None where it is not."""
    return None if config.refine == "none" else resize_image(picture, working_size(frame, config))


def working_size(frame: Frame, config: Config) -> tuple[int, int]:
    """(height, width) at which the edge is refined; tiles have the side `config.refine_side`, but are not enlarged."""
    if len(frame.windows) == 1:
        return inner_size(frame.size, config.but(size=config.refine_side))
    assert config.tile is not None
    scale = _side(frame, config) / config.tile
    return round(frame.size[0] * scale), round(frame.size[1] * scale)


def to_mask(
    margins: Float[np.ndarray, "w n"],
    frame: Frame,
    picture: UInt8[np.ndarray, "h2 w2 3"] | None,
    patch_size: int,
    config: Config,
) -> tuple[Bool[np.ndarray, "H W"], str | None]:
    """The mask of what is above the threshold, and why its edge is not refined although the settings ask for it.

    Args:
        margins: of the patches of each window (`stages/aggregate.py`).
        picture: see `picture_to_refine`.
    """
    whole = len(frame.windows) == 1
    binary = whole and config.upsample == "mask"
    cut = 0.5 if binary else 0.0
    values = torch.from_numpy(frame.blend((margins > 0).astype(np.float32) if binary else margins))
    if whole:
        values = to_square(values, patch_size, inner_size(frame.size, config))
    plain = resized((values > cut).float() if binary else values, frame.size) > cut
    if picture is None or config.refine == "none":
        return plain.numpy(), None
    soft = resized(values, picture.shape[:2]).numpy()
    if config.refine == "crf":
        scale = _side(frame, config) / 512
        solver = config.solver
        edge = _in_blocks(
            soft, picture, config, crf_reach(scale), lambda part, shown: dense_crf(part > cut, shown, scale, solver)
        )
        result = resized(torch.from_numpy(edge), frame.size) > 0.5
    else:
        radius = max(1, round(picture.shape[0] / frame.extent[0]))  # a patch
        edge = _in_blocks(soft, picture, config, 2 * radius, lambda part, shown: guided_filter(part, shown, radius))
        result = resized(torch.from_numpy(edge), frame.size) > cut
    before, after = int(plain.sum()), int(result.sum())
    if 2 * after < before:
        left = f"left {after / before:.0%} of the mask" if after else "left nothing of the mask"
        return plain.numpy(), f"not refined: {config.refine} {left}"
    return result.numpy(), None


def _side(frame: Frame, config: Config) -> int:
    """Pixels, where the edge is refined, of what the encoder sees at once."""
    if len(frame.windows) == 1 or config.tile is None:
        return config.refine_side
    return min(config.refine_side, config.tile)


def _in_blocks(
    values: Float[np.ndarray, "h w"],
    picture: UInt8[np.ndarray, "h w 3"],
    config: Config,
    halo: int,
    compute: Callable[[Any, Any], Shaped[np.ndarray, "_ _"]],
) -> Float[np.ndarray, "h w"]:
    """`compute` of one block after the other, each with a halo that is cut off again: memory stays that of a block."""
    result = np.empty(values.shape, np.float32)
    step, (height, width) = config.refine_side, values.shape
    for top in range(0, height, step):
        for left in range(0, width, step):
            y, x = max(0, top - halo), max(0, left - halo)
            part = np.s_[y : top + step + halo, x : left + step + halo]
            found = compute(values[part], picture[part])[top - y : top - y + step, left - x : left - x + step]
            result[top : top + step, left : left + step] = found
    return result
