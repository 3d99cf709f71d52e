"""Stage 6, `refine="crf"`: a binary dense CRF moves the mask's edge to an edge of the picture.

Krähenbühl & Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", 2011; filtering after
Adams et al., "Fast High-Dimensional Filtering Using the Permutohedral Lattice", 2010. The code is numpy on one thread,
so repeated runs agree bit for bit.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

_BAND = 5.0  # radius in pixels, whatever the picture's size
_CELL = 4  # pixels
_ITERATIONS = 10
_CORE = 0.95  # probability of foreground in the core; 0.05 outside, 0.5 in the band
_SMOOTHNESS = (3.0, 4.0)  # weight; standard deviation in pixels of a 512 px square
_APPEARANCE = (20.0, 12.0)
_COLOUR = 0.03 * 255  # standard deviation of the appearance kernel in grey levels
_REACH = 3.0  # standard deviations: pixels within them around the band take part


def crf_reach(scale: float) -> int:
    """Return how many pixels around an edge its refinement looks at, for kernels of `scale` (see `dense_crf`).

    Example:
        >>> crf_reach(1.0)
        41
    """
    return int(np.ceil(_BAND + _REACH * _APPEARANCE[1] * scale))


def dense_crf(
    core: Bool[np.ndarray, "h w"],
    outside: Bool[np.ndarray, "h w"],
    picture: UInt8[np.ndarray, "h w 3"],
    scale: float,
    solver: str = "mean-field",
    origin: tuple[int, int] = (0, 0),
) -> Bool[np.ndarray, "h w"]:
    """Return the refined mask: the core, and the foreground of the band between core and outside.

    Weights and deviations are the published code's (not in the paper).
    Args:
        core, outside: (h, w), from `zones`.
        picture: (h, w, 3), 8-bit RGB.
        scale: factor of the kernels' deviations in pixels; 1 for a picture that fills a 512 px square.
        solver: "mean-field", or "frank-wolfe", which the published code runs: kernels normalised by rows, a projection
            instead of the softmax, and unaries counted twice.
        origin: (row, column) of the first pixel, where `picture` is a part of another: the lattice stays in place.

    Example:
        >>> picture, mask = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), bool)
        >>> picture[:, 20:], mask[:, 18:] = 255, True  # the mask begins two pixels before the picture's edge
        >>> refined = dense_crf(*zones(mask), picture, scale=40 / 512)
        >>> int(refined[20].argmax())
        20
    """
    band = ~(core | outside)
    if not band.any():
        return core
    weight, deviation = _APPEARANCE
    near = within(band, _REACH * deviation * scale)
    y, x = np.nonzero(near)
    xy = np.stack([x + origin[1], y + origin[0]]).astype(np.float32)
    colour = picture[near].T.astype(np.float32) / np.float32(_COLOUR)
    kernels = [
        _Kernel(xy / np.float32(_SMOOTHNESS[1] * scale), _SMOOTHNESS[0], solver),
        _Kernel(np.concatenate([xy / np.float32(deviation * scale), colour]), weight, solver),
    ]
    sure = np.float32(np.log(_CORE / (1 - _CORE)))
    unary = sure * (core[near].astype(np.float32) - outside[near])
    if solver == "frank-wolfe":
        unary *= 2
    foreground = _sigmoid(unary)
    for _ in range(_ITERATIONS):
        logit = unary + sum(kernel.message(foreground) for kernel in kernels)
        foreground = _sigmoid(logit) if solver == "mean-field" else np.clip(0.5 + 0.5 * logit, 0, 1)
    result = core.copy()
    result[near] |= band[near] & (foreground > 0.5)
    return result


def zones(mask: Bool[np.ndarray, "h w"]) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Return the core and the outside of a mask, both (h, w).

    The core is farther than 5 px from every background pixel, the outside from every foreground pixel. Beyond the
    picture's border there is background.
    """
    count = _in_disc(mask, _BAND)
    return count == _in_disc(np.ones((11, 11), bool), _BAND)[5, 5], count == 0


def within(pixels: Bool[np.ndarray, "h w"], radius: float) -> Bool[np.ndarray, "h w"]:
    """Return the pixels at most `radius` px from any of `pixels`, and a few beyond, since cells of 4 x 4 are tested."""
    height, width = pixels.shape
    rows, columns = np.arange(0, height, _CELL), np.arange(0, width, _CELL)
    cells = np.logical_or.reduceat(np.logical_or.reduceat(pixels, rows, 0), columns, 1)
    near = _in_disc(cells, radius / _CELL + 1.5) > 0
    return near.repeat(_CELL, 0).repeat(_CELL, 1)[:height, :width]


def _in_disc(mask: Bool[np.ndarray, "h w"], radius: float) -> Int[np.ndarray, "h w"]:
    """Count the foreground pixels in the disc around each pixel, row by row, from running sums."""
    height, width = mask.shape
    reach = int(radius)
    sums = np.zeros((height, width + 1), np.int32)
    np.cumsum(mask, 1, out=sums[:, 1:])
    count = np.zeros((height, width), np.int32)
    x = np.arange(width)
    for dy in range(-min(reach, height - 1), min(reach, height - 1) + 1):
        half = int(np.sqrt(radius**2 - dy**2))
        run = sums[:, np.minimum(x + half + 1, width)] - sums[:, np.maximum(x - half, 0)]
        count[max(0, -dy) : height - max(0, dy)] += run[max(0, dy) : height - max(0, -dy)]
    return count


class _Kernel:
    """A weighted Gaussian kernel K between pixels: normalised symmetrically for mean field, by rows for Frank-Wolfe."""

    def __init__(self, features: Float[np.ndarray, "d m"], weight: float, solver: str) -> None:
        self._lattice, self._weight = Lattice(features), np.float32(weight)
        sums = self._lattice.filter(np.ones(features.shape[1], np.float32))
        if solver == "mean-field":
            self._before = self._after = 1 / np.sqrt(sums)
            self._rows = self._after * self._lattice.filter(self._before)
        else:
            self._before, self._after, self._rows = np.ones_like(sums), 1 / sums, np.ones_like(sums)

    def message(self, foreground: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """Return what K adds to each pixel's logit: the foreground's message minus the background's."""
        received = self._after * self._lattice.filter(self._before * foreground)
        return self._weight * (2 * received - self._rows)


class Lattice:
    """The permutohedral lattice under a set of points: Gaussian filtering with unit standard deviation."""

    def __init__(self, features: Float[np.ndarray, "d m"]) -> None:
        d, m = features.shape
        elevated = _elevated(features)  # in units of d + 1: remainder-0 vertices are whole numbers
        base = np.rint(elevated)
        elevated -= base
        order = np.argsort(-elevated, 0, kind="stable")
        ordered = np.take_along_axis(elevated, order, 0)
        # Barycentric coordinates. Adams et al. move `base` into the plane first, which only changes the vertex at which
        # the walk around the simplex starts.
        self._weight = np.empty((d + 1, m), np.float32)
        self._weight[0] = 1 + ordered[d] - ordered[0]
        np.subtract(ordered[d - 1 :: -1], ordered[:0:-1], out=self._weight[1:])

        # A vertex is named by one number, linear in its first d coordinates, so neighbours differ by constants.
        span = (base.max(1) - base.min(1)).astype(np.int64)[:d]
        factor = np.append(np.cumprod(np.append(1, (d + 1) * (span[:-1] + 5))), 0)
        names = np.empty((d + 1, m), np.int64)
        names[0] = (d + 1) * (factor @ base.astype(np.int64)) - base.sum(0).astype(np.int64) * factor.sum()
        for k in range(1, d + 1):
            names[k] = names[k - 1] + factor.sum() - (d + 1) * factor[order[d + 1 - k]]
        vertices, index = np.unique(names, return_inverse=True)
        self._index = index.reshape(d + 1, m)
        self._neighbours = [_neighbours(vertices, int((d + 1) * step - factor.sum())) for step in factor]

    def filter(self, values: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """Return the kernel's weighted sum at each point, up to a constant factor."""
        count = len(self._neighbours[0][0])
        lattice = np.zeros(count + 1, np.float32)  # the last entry stands for every missing neighbour
        weighted = (self._weight * values).ravel()
        lattice[:-1] = np.bincount(self._index.ravel(), weighted, count)
        for above, below in self._neighbours:
            lattice[:-1] += (lattice[above] + lattice[below]) / 2
        return (self._weight * lattice[self._index]).sum(0)


def _elevated(features: Float[np.ndarray, "d m"]) -> Float[np.ndarray, "d+1 m"]:
    """Embed points of d dimensions in the hyperplane of d + 1 dimensions whose coordinates add up to 0."""
    d = len(features)
    i = np.arange(1, d + 1, dtype=np.float32)[:, None]
    scaled = features * np.sqrt(2 / 3 / (i * (i + 1)), dtype=np.float32)
    result = np.zeros((d + 1, features.shape[1]), np.float32)
    result[:d] = scaled[::-1].cumsum(0)[::-1]
    result[1:] -= i * scaled
    return result


def _neighbours(vertices: Int[np.ndarray, "v"], step: int) -> tuple[Int[np.ndarray, "v"], Int[np.ndarray, "v"]]:
    """Return each vertex's neighbour a step above and a step below; v where there is none."""
    count = len(vertices)
    wanted = vertices + step
    above = np.searchsorted(vertices, wanted)
    above[vertices[np.minimum(above, count - 1)] != wanted] = count
    below = np.full(count + 1, count)
    below[above] = np.arange(count)
    return above, below[:-1]


def _sigmoid(logit: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    return 1 / (1 + np.exp(-logit))
