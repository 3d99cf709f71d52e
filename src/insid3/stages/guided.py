"""Stage 6, by name: the edge moved along the picture's colours, by a guided filter (He, Sun & Tang 2013)."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

_EPSILON = 1e-4  # variance, of colours in [0, 1], below which a window counts as flat


def guided_filter(
    values: Float[np.ndarray, "h w"], picture: UInt8[np.ndarray, "h w 3"], radius: int
) -> Float[np.ndarray, "h w"]:
    """What comes nearest to `values` and is linear in the picture's colours within every window.

    Args:
        radius: of the square windows, in pixels; they end where the picture does.
    """
    guide = torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255
    target = torch.from_numpy(np.ascontiguousarray(values))
    red, green, blue = guide
    squares = torch.stack([red * red, red * green, red * blue, green * green, green * blue, blue * blue])
    means = _box(torch.cat([guide, squares, target[None], guide * target]), radius)
    mean, squares, p, products = means[:3], means[3:9], means[9], means[10:]
    r, g, b = mean
    rr, rg, rb, gg, gb, bb = squares - torch.stack([r * r, r * g, r * b, g * g, g * b, b * b])
    rr, gg, bb = rr + _EPSILON, gg + _EPSILON, bb + _EPSILON
    x, y, z = products - mean * p
    # The 3 x 3 system of every window, covariance @ slope = (x, y, z), by cofactors.
    c0, c1, c2 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c3, c4, c5 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    slope = torch.stack([c0 * x + c1 * y + c2 * z, c1 * x + c3 * y + c4 * z, c2 * x + c4 * y + c5 * z])
    slope /= rr * c0 + rg * c1 + rb * c2
    slope_and_rest = _box(torch.cat([slope, (p - (slope * mean).sum(0))[None]]), radius)
    return ((slope_and_rest[:3] * guide).sum(0) + slope_and_rest[3]).numpy()


def _box(planes: Float[Tensor, "k h w"], radius: int) -> Float[Tensor, "k h w"]:
    """Means of square windows."""
    side = 2 * radius + 1
    rows = F.avg_pool2d(planes, (1, side), 1, (0, radius), count_include_pad=False)
    return F.avg_pool2d(rows, (side, 1), 1, (radius, 0), count_include_pad=False)
