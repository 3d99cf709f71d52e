"""Stage 6, by name: the edge moved along the picture's colours, by a guided filter (He, Sun & Tang 2013).

Its linear coefficients vary slowly: they are computed on a grid of a third of the windows' radius and enlarged (He &
Sun, "Fast Guided Filter", 2015); the picture that they are applied to keeps every pixel.
"""

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
    height, width = values.shape
    step = -(-radius // 3)

    def smaller(plane: Float[Tensor, "h w"]) -> Float[Tensor, "h2 w2"]:
        return F.avg_pool2d(plane[None], step, ceil_mode=True, count_include_pad=False)[0]

    def enlarged(plane: Float[Tensor, "h2 w2"]) -> Float[Tensor, "h w"]:
        whole = F.interpolate(plane[None, None], scale_factor=step, mode="bilinear", align_corners=False)
        return whole[0, 0, :height, :width]

    guide = torch.stack([smaller(_channel(picture, i)) for i in range(3)])
    target = smaller(torch.from_numpy(np.ascontiguousarray(values)))
    slope, rest = _coefficients(guide, target, max(1, round(radius / step)))
    result = enlarged(rest)
    for i in range(3):  # one after the other: a large picture's planes take memory
        result = result + enlarged(slope[i]) * _channel(picture, i)
    return result.numpy()


def _channel(picture: UInt8[np.ndarray, "h w 3"], index: int) -> Float[Tensor, "h w"]:
    return torch.from_numpy(picture[..., index] / np.float32(255))


def _coefficients(
    guide: Float[Tensor, "3 h w"], values: Float[Tensor, "h w"], radius: int
) -> tuple[Float[Tensor, "3 h w"], Float[Tensor, "h w"]]:
    """Slope and rest of each pixel: means over all windows that hold it of their ridge regression."""
    guide, values = guide.double(), values.double()  # windows of two colours are close to singular
    red, green, blue = guide
    squares = torch.stack([red * red, red * green, red * blue, green * green, green * blue, blue * blue])
    means = _box(torch.cat([guide, squares, values[None], guide * values]), radius)
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
    fields = _box(torch.cat([slope, (p - (slope * mean).sum(0))[None]]), radius)
    return fields[:3].float(), fields[3].float()


def _box(planes: Float[Tensor, "k h w"], radius: int) -> Float[Tensor, "k h w"]:
    """Means of square windows, from running sums."""
    for _ in range(2):
        planes = planes.transpose(1, 2)
        n = planes.shape[1]
        index = torch.arange(n)
        stop, start = (index + radius).clamp(max=n - 1) + 1, (index - radius).clamp(min=0)
        sums = F.pad(planes.cumsum(1), (0, 0, 1, 0))
        planes = (sums[:, stop] - sums[:, start]) / (stop - start)[:, None]
    return planes
