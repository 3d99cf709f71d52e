"""Numbers of any depth as the 8 bits that an encoder sees."""

import math

import numpy as np
from jaxtyping import Shaped, UInt8

Number = int | float
Stretch = tuple[Number, Number]
_SAMPLE = 2**20  # pixels whose percentiles stand for all
_FEW = 0.01  # per cent of the pixels that may be outliers, at either end
_MOST = 2 / 3  # of a scale; what fills it is shown by it


def to_8_bits(
    values: Shaped[np.ndarray, "H W c"],
    *,
    top: Number = 0,
    void: Number | None = None,
    by_band: bool = False,
    stretch: Stretch | None = None,
) -> tuple[UInt8[np.ndarray, "H W c"], str]:
    """Stretch numbers so that they fill 0 to 255; those of 8 bits stay as they are without `stretch`.

    From `stretch[0]` to `stretch[1]` if it is given. Else from the smallest to the largest number, outliers left out:
    the 0.01 % at either end if they are further away from the 2nd or the 98th percentile than these are from each
    other. If that fills two thirds of what the fewest bits can hold, eight or more, all of it: a picture of 12 bits
    that is stored in 16 is shown from 0 to 4095, as it would be with 8 bits.

    Args:
        top: the number of full brightness, 0 if it is not known.
        void: the number of pixels that were not measured; they do not count and are black, as what is not finite.
        by_band: each band by itself, as maps are shown, and not all by one range, which keeps the colours.

    Returns:
        The picture, and the ranges as "from 0 to 4095"; "" where that is from 0 to `top`.
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
    if high <= low:  # nothing to see
        return (0, top) if top else (low, low + 1)
    scale = _scale_of(high, values.dtype, top)
    return (0, scale) if low >= 0 and high - low >= _MOST * scale else (low, high)


def _scale_of(high: float, dtype: np.dtype, top: Number) -> Number:
    """The largest number that as many bits hold as this one needs; of fractions 1."""
    if dtype.kind == "f" and high <= 1:
        return 1
    scale = float(2 ** max(8, math.ceil(math.log2(max(high, 1) + 1))) - 1)
    return min(scale, top) if top >= high else scale


def _scale(
    values: Shaped[np.ndarray, "H W b"], between: Stretch, void: Number | None, result: UInt8[np.ndarray, "H W b"]
) -> None:
    """Into `result`, strip by strip: numbers with room for all digits are large."""
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
