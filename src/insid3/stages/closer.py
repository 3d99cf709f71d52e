"""A second look at what is small: which part of a target to encode again, and how both looks become one.

Not in the paper (`docs/accuracy.md`).
"""

import numpy as np
from jaxtyping import Bool

Box = tuple[int, int, int, int]

_SMALL = 0.25  # share of the picture below which a mask is looked at again
_MARGIN = 1.6  # the part that is looked at is so many times as long as the mask's box ...
_LEAST = 0.25  # ... and at least this share of the picture's side: more than four times closer shows no context
_MOST = 0.7  # a part that is a larger share of the picture than this would show nothing new


def part_to_see(mask: Bool[np.ndarray, "H W"]) -> Box | None:
    """(left, top, right, bottom) in pixels, around a mask that is small; None where there is nothing to gain."""
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
