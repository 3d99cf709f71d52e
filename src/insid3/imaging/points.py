"""Points in pictures, each (x, y) in pixels."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from insid3.checks.numbers import plain, told
from insid3.errors import ConfigError


def parse_points(text: str) -> list[tuple[float, float]]:
    """Read (x, y) pairs from text.

    Raises:
        ConfigError: `text` holds no points, or something else.

    Example:
        >>> parse_points("417,180 300,220")
        [(417.0, 180.0), (300.0, 220.0)]
    """
    try:
        pairs = [tuple(float(number) for number in pair.split(",")) for pair in text.split()]
        if not pairs or any(len(pair) != 2 for pair in pairs):
            raise ValueError
    except ValueError:
        raise ConfigError(f"points must look like '417,180 300,220', got {told(text)}") from None
    return pairs  # type: ignore[return-value]


def checked_points(points: ArrayLike, size: tuple[int, int]) -> Float[np.ndarray, "p 2"]:
    """Return points as float64, (p, 2), after checks.

    Args:
        points: (x, y) pairs in pixels of the reference.
        size: (height, width) of the reference.

    Raises:
        ConfigError: `points` are no pairs of finite numbers, or one lies outside the reference.

    Example:
        >>> checked_points([[3, 4]], size=(10, 20))
        array([[3., 4.]])
    """
    try:
        given = np.asarray(points, dtype=object)
        values = [plain(value) for value in given.ravel()]
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
            raise TypeError
        xy = np.array(values, np.float64).reshape(given.shape)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError("points must be (x, y) pairs of numbers, shape (p, 2)") from None
    if given.ndim != 2 or given.shape[1] != 2:
        raise ConfigError(f"points must be (x, y) pairs, shape (p, 2), got shape {given.shape}")
    if not np.isfinite(xy).all():
        raise ConfigError(f"points must be finite numbers, got {xy[~np.isfinite(xy).all(1)][0].tolist()}")
    outside = (xy < 0).any(1) | (xy > [size[1], size[0]]).any(1)
    if outside.any():
        x, y = xy[outside][0]
        raise ConfigError(f"point ({x:g}, {y:g}) lies outside the reference picture of {size[1]} x {size[0]} pixels")
    return xy


def points_to_grid(
    points: Float[np.ndarray, "p 2"], size: tuple[int, int], extent: tuple[float | int, float | int]
) -> Int[np.ndarray, "p 2"]:
    """Return the patch (x, y) of each point: scaled to the grid, rounded half to even, clamped.

    Args:
        points: (p, 2), (x, y) in pixels of the picture.
        size: (height, width) of the picture in pixels.
        extent: (rows, columns) of the grid that the picture covers, fractions allowed.

    Example:
        >>> points_to_grid(np.array([[30.0, 10.0]]), size=(20, 40), extent=(2, 4))
        array([[3, 1]])
    """
    scale = np.array([extent[1] / size[1], extent[0] / size[0]])
    return np.clip(np.rint(points * scale), 0, np.ceil(extent[::-1]) - 1).astype(np.int64)
