"""Stage 6, `refine="guided"`: a guided filter (He, Sun & Tang 2013) lets the edge follow the picture's colours.

Not in the paper. The filter's linear coefficients vary slowly, so they are computed on a coarse grid, whose step is a
third of the windows' radius, and enlarged (He & Sun, "Fast Guided Filter", 2015). They are applied to every pixel.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

_EPSILON = 1e-4  # variance of colours in [0, 1] below which a window counts as flat


def guided_filter(
    values: Float[np.ndarray, "h w"], picture: UInt8[np.ndarray, "h w 3"], radius: int
) -> Float[np.ndarray, "h w"]:
    """Return the values nearest to `values` that are linear in the picture's colours within every window, (h, w).

    Args:
        values: (h, w), for example scores of pixels.
        picture: (h, w, 3), 8-bit RGB.
        radius: of the square windows, in pixels; windows are cut at the picture's border.

    Example:
        >>> picture = np.zeros((4, 4, 3), np.uint8)
        >>> guided_filter(np.eye(4, dtype=np.float32), picture, radius=3).round(2)[0]  # one colour: the mean
        array([0.25, 0.25, 0.25, 0.25], dtype=float32)
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
    for i in range(3):  # one channel after another: the planes of a large picture take memory
        result = result + enlarged(slope[i]) * _channel(picture, i)
    return result.numpy()


def _channel(picture: UInt8[np.ndarray, "h w 3"], index: int) -> Float[Tensor, "h w"]:
    return torch.from_numpy(picture[..., index] / np.float32(255))


def _coefficients(
    guide: Float[Tensor, "3 h w"], values: Float[Tensor, "h w"], radius: int
) -> tuple[Float[Tensor, "3 h w"], Float[Tensor, "h w"]]:
    """Return each pixel's slope and rest: the means of the ridge regressions of all windows that hold the pixel."""
    guide, values = guide.double(), values.double()  # the system of a window with two colours is close to singular
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
    """Return the means of square windows, from running sums."""
    for _ in range(2):
        planes = planes.transpose(1, 2)
        n = planes.shape[1]
        index = torch.arange(n)
        stop, start = (index + radius).clamp(max=n - 1) + 1, (index - radius).clamp(min=0)
        sums = F.pad(planes.cumsum(1), (0, 0, 1, 0))
        planes = (sums[:, stop] - sums[:, start]) / (stop - start)[:, None]
    return planes
