"""The decision whether 255 in a folder of masks marks the object, or pixels that nobody labelled (void).

A binary mask with a soft edge (drawn smoothly, resized, or once a JPEG) holds 0 and 255, and between them greys that
form ramps only (`masks.has_soft_edge`), some of them in the middle. A label fills an area. All else is doubtful:
labels in thin lines only, middle greys in ramps beside areas that are nearly black, areas that are nearly white.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from insid3.errors import DataError, ImageError
from insid3.imaging.masks import BLACK, WHITE, areas, has_soft_edge, one_channel
from insid3.imaging.opening import explained, opened
from insid3.imaging.read import read_values

VOID = 255
_EXACT = {"PNG", "TIFF", "BMP", "DIB", "GIF", "PPM"}  # lossless formats
_MIDDLE = (64, 192)
_UNKNOWN = {127, 128}  # values for "unknown" in a trimap
_SHOWN = 8  # values that a message names
_REMEDY = "say what 255 is: --ignore-index 255 if it does not count, --ignore-index none if it is the object"


@dataclass(frozen=True)
class _MaskValues:
    """The values of one mask.

    Attributes:
        labels: values other than 0 and 255; empty if they are the greys of a soft edge.
        void: whether the mask holds 255.
        soft: whether the mask is binary with a soft edge.
        doubtful: whether values may be labels or an edge, or "unknown" or a label.
    """

    path: Path
    labels: frozenset[int]
    void: bool
    soft: bool = False
    doubtful: bool = False


def void_value(masks: Sequence[Path], cls: str, max_pixels: int) -> tuple[int | None, str | None]:
    """Return the value that does not count in the masks of one class, and a note on the decision.

    255 does not count if a mask holds 255 beside other labels, as index masks do (0, 1, 255; VOC's border).
    255 is the object if no mask holds other values than 0 and 255, soft edges apart.
    255 is a label like any other if a mask holds higher values.

    Raises:
        DataError: the masks contradict each other, as when some hold 0 and 1, others 0 and 255.
    """
    seen = list[_MaskValues]()
    for each in _read_values(masks, max_pixels):
        if each.labels and max(each.labels) > VOID:
            return None, None
        seen.append(each)
    with_void = [each for each in seen if each.void]
    if clear := [each for each in with_void if each.labels and not each.doubtful]:
        if soft := [each for each in with_void if each.soft]:
            raise DataError(
                f"class {cls} has masks with 255 beside {_named(clear[0])} ({clear[0].path}) and others whose 255 has "
                f"a soft edge ({soft[0].path}): {_REMEDY}"
            )
        where = f"{len(with_void)} of {len(masks)} masks of class {cls}"
        return VOID, f"255 is void in {where}, such as {clear[0].path}: --ignore-index none makes it the object"
    if doubtful := [each for each in with_void if each.doubtful]:
        raise DataError(
            f"{doubtful[0].path} holds 255 and, beside it, {_named(doubtful[0])}, which may be labels or the edge of "
            f"a mask: {_REMEDY}"
        )
    labelled = [each for each in seen if each.labels]
    if with_void and labelled:
        some = f"{_named(labelled[0])} ({labelled[0].path})"
        raise DataError(f"class {cls} has masks with {some} and others with 255 ({with_void[0].path}): {_REMEDY}")
    return None, None


def _named(seen: _MaskValues) -> str:
    some = sorted(seen.labels)
    return ", ".join(map(str, some if len(some) <= _SHOWN else [*some[: _SHOWN - 2], "...", some[-1]]))


def _read_values(masks: Sequence[Path], max_pixels: int) -> Iterator[_MaskValues]:
    """Yield the values of the masks in lossless formats; a mask that cannot be read fails in its own episode."""
    for path in masks:
        try:
            with explained(str(path)), opened(path, str(path), stored=True) as picture:
                exact = picture.image is None or picture.image.format in _EXACT
            values = one_channel(read_values(path, max_pixels)) if exact else None
        except ImageError:
            continue
        if values is not None and values.dtype.kind in "iu":  # colours are no labels
            yield _values_of(path, values)


def _values_of(path: Path, values: Shaped[np.ndarray, "H W"]) -> _MaskValues:
    distinct = np.flatnonzero(np.bincount(values.ravel())) if values.dtype == np.uint8 else np.unique(values)
    between = {int(value) for value in distinct} - {0, VOID}
    void, middle = bool((distinct == VOID).any()), any(_MIDDLE[0] <= value < _MIDDLE[1] for value in between)
    if not between or not void or max(between) > VOID:
        return _MaskValues(path, frozenset(between), void)
    if has_soft_edge(values, distinct):
        labels = frozenset[int]() if middle else frozenset(between)
        return _MaskValues(path, labels, void, soft=middle, doubtful=not middle)
    filled = {int(value) for value in np.unique(values[areas(values)])} - {0, VOID}
    nearly_white = any(value >= WHITE for value in filled)
    nearly_black = middle and all(value <= BLACK for value in filled)
    return _MaskValues(path, frozenset(between), void, doubtful=between <= _UNKNOWN or nearly_white or nearly_black)
