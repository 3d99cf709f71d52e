"""Conversion of pictures of any depth to the 8 bits that an encoder sees."""

import math

import numpy as np
from jaxtyping import Shaped, UInt8

Number = int | float
Stretch = tuple[Number, Number]
_SAMPLE = 2**20  # values from which percentiles are estimated
_FEW = 0.01  # per cent of the pixels that may be outliers, at either end
_MOST = 2 / 3  # share of a scale that a picture must fill to be shown by the whole scale


def to_8_bits(
    values: Shaped[np.ndarray, "H W c"],
    *,
    top: Number = 0,
    void: Number | None = None,
    by_band: bool = False,
    stretch: Stretch | None = None,
) -> tuple[UInt8[np.ndarray, "H W c"], str]:
    """Stretch values linearly to 0 to 255; without `stretch` 8-bit values stay as they are.

    The range is `stretch` if given, else from the smallest to the largest value without outliers. Outliers are the
    0.01 % at either end, if farther from the 2nd or the 98th percentile than these are from each other. A scale reaches
    from 0 to the most that the largest value's bits can hold, eight bits or more; a range that fills two thirds of its
    scale becomes the whole scale. So a 12-bit picture that is stored in 16 bits is shown from 0 to 4095, as an 8-bit
    picture would be.

    Args:
        values: (H, W, c), of any number type.
        top: the value of full brightness, 0 if unknown.
        void: the value of pixels that were not measured; these become black, as values that are not finite do.
        by_band: stretch each band by itself, as for maps; one range for all keeps the colours.
        stretch: the values (low, high) that become 0 and 255.

    Returns:
        The picture and the ranges, such as "from 0 to 4095"; "" where the range is 0 to `top`.

    Example:
        >>> picture, ranges = to_8_bits(np.array([[[0], [1000]]], np.uint16), stretch=(0, 2000))
        >>> picture.ravel().tolist(), ranges
        ([0, 128], 'from 0 to 2000')
    """
    result = np.empty(values.shape, np.uint8)
    bands = [slice(i, i + 1) for i in range(values.shape[2])] if by_band else [slice(None)]
    ranges = []
    for band in bands:
        some = values[..., band]
        ranges.append(stretch or _range(some, top, void))
        _scale(some, ranges[-1], void, result[..., band])
    if set(ranges) == {(0, top)}:
        return result, ""
    return result, " and ".join(f"from {_number(low)} to {_number(high)}" for low, high in dict.fromkeys(ranges))


def _range(values: Shaped[np.ndarray, "H W b"], top: Number, void: Number | None) -> Stretch:
    if values.dtype == np.uint8:
        return 0, 255
    flat = values.reshape(-1)
    some = flat[:: max(1, flat.size // _SAMPLE)]
    some = np.sort(some[_measured(some, void)])
    if not len(some):
        return 0, 1
    if void is None and values.dtype.kind in "biu":
        lowest, highest = float(flat.min()), float(flat.max())
    else:
        lowest, highest = float(some[0]), float(some[-1])
    few = int(len(some) * _FEW / 100)
    low2, high2 = (float(some[int((len(some) - 1) * share)]) for share in (0.02, 0.98))
    least = min(float(some[few]), low2 - (high2 - low2))
    most = max(float(some[-1 - few]), high2 + (high2 - low2))
    low = lowest if lowest >= least else float(some[np.searchsorted(some, least)])
    high = highest if highest <= most else float(some[np.searchsorted(some, most, "right") - 1])
    if high <= low:  # all values are the same
        return (0, top) if top else (low, low + 1)
    scale = _scale_of(high, values.dtype, top)
    return (0, scale) if low >= 0 and high - low >= _MOST * scale else (low, high)


def _scale_of(high: float, dtype: np.dtype, top: Number) -> Number:
    """Return the largest number that the bits of `high` can hold, at least 8; 1 for fractions."""
    if dtype.kind == "f" and high <= 1:
        return 1
    scale = float(2 ** max(8, math.ceil(math.log2(max(high, 1) + 1))) - 1)
    return min(scale, top) if top >= high else scale


def _scale(
    values: Shaped[np.ndarray, "H W b"], between: Stretch, void: Number | None, result: UInt8[np.ndarray, "H W b"]
) -> None:
    """Write the stretched values into `result`, strip by strip, since float64 takes much memory."""
    low, high = between
    rows = max(1, _SAMPLE // max(1, values.shape[1] * values.shape[2]))
    for start in range(0, len(values), rows):
        some = values[start : start + rows]
        measured = _measured(some, void)
        scaled = (np.where(measured, some, low).astype(np.float64) - low) * (255 / (high - low))
        result[start : start + rows] = np.where(measured, np.clip(scaled.round(), 0, 255), 0)


def _measured(values: Shaped[np.ndarray, "*s"], void: Number | None) -> Shaped[np.ndarray, "*s"]:
    finite = np.isfinite(values)
    return finite if void is None else finite & (values != void)


def _number(value: Number) -> str:
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.5g}"
