"""A second look at small concepts: a part of the target is encoded by itself (`Config.closer`). Not in the paper.

`docs/accuracy.md` says how much a second look gains.
"""

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from insid3.config import Config
from insid3.errors import ConfigError
from insid3.features.cache import FeatureCache
from insid3.features.encoded import Encoded, encode_all
from insid3.imaging.resizing import resize_nearest

Box = tuple[int, int, int, int]

_SMALL = 0.25  # share of the picture below which a mask is looked at again
_MARGIN = 1.6  # the part that is looked at is so many times as long as the mask's box ...
_LEAST = 0.25  # ... and at least this share of the picture's side: more than four times closer shows no context
_MOST = 0.7  # a part that is a larger share of the picture than this would show nothing new


def check_zoom(config: Config) -> None:
    """Check that a second look, if asked for, goes with the other settings.

    Raises:
        ConfigError: `closer` is set without rule="field" and upsample="score", or with `tile`.
    """
    if config.closer and (config.rule != "field" or config.upsample != "score" or config.tile is not None):
        raise ConfigError('closer goes with rule="field" and upsample="score" (preset="plus"), without tile')


def encode_part(
    target: Encoded, values: Float[Tensor, "n"], config: Config, cache: FeatureCache
) -> tuple[Box, Encoded] | None:
    """Encode the part of a target around the patches above the threshold; None where these are not small.

    Args:
        values: what the threshold is compared with.

    Returns:
        (left, top, right, bottom) in pixels of the target, and the part as a picture of its own.

    Raises:
        SizeError: not enough memory.
    """
    picture, grid = target.whole, target.grid.blend(values[None].cpu().numpy())
    box = part_to_see(resize_nearest(grid > config.threshold, target.grid.size))
    if box is None or picture is None:
        return None
    left, top, right, bottom = box
    part, alone = picture[top:bottom, left:right], config.but(closer=False, refine="none")

    def encode() -> Encoded:
        return encode_all(cache.encoder, [part], alone, to_segment=True)[0]

    return box, cache.kept(encode, encode_part, target.tokens, box)


def part_to_see(mask: Bool[np.ndarray, "H W"]) -> Box | None:
    """Return (left, top, right, bottom) in pixels, around a mask that is small; None where nothing is to be gained."""
    if not 0 < mask.mean() < _SMALL:
        return None
    spans = []
    for axis in (0, 1):  # columns, rows
        side, marked = mask.shape[1 - axis], np.flatnonzero(mask.any(axis))
        length = min(side, round(max(_MARGIN * (marked[-1] + 1 - marked[0]), _LEAST * side)))
        middle = (marked[0] + marked[-1] + 1) / 2
        first = min(max(0, round(middle - length / 2)), side - length)
        spans.append((first, first + length))
    (left, right), (top, bottom) = spans
    return None if (right - left) * (bottom - top) > _MOST * mask.size else (left, top, right, bottom)
