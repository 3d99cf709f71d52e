"""Whether 255 in a folder of masks is the object, or what nobody labelled."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from insid3.errors import DataError, ImageError
from insid3.images import read_values
from insid3.opening import explained, opened

VOID = 255
_EXACT = {"PNG", "TIFF", "BMP", "DIB", "GIF", "PPM"}  # formats that keep a label as it is
_REMEDY = "say what 255 is: --ignore-index 255 if it does not count, --ignore-index none if it is the object"


@dataclass(frozen=True)
class _Seen:
    """What one mask tells.

    Attributes:
        labels: its values but 0 and 255, if they are labels; none where they are the grey of a smooth edge.
        void: whether it has 255.
        doubtful: its values may be labels as well as an edge, or "unknown" as well as a label.
    """

    path: Path
    labels: frozenset[int]
    void: bool
    doubtful: bool


def void_value(masks: Sequence[Path], cls: str, max_pixels: int) -> tuple[int | None, str | None]:
    """Return the value that does not count in the masks of one class, and what is to be said of it.

    255 does not count if a mask has it beside other labels, as in index masks (0, 1, 255; VOC's border). It is the
    object if no mask has other values than 0 and 255, smooth edges apart. A label where values go above it.

    Raises:
        DataError: the masks do not tell, as when some hold 0 and 1, others 0 and 255.
    """
    seen = list(_seen(masks, max_pixels))
    if any(label > VOID for each in seen for label in each.labels):
        return None, None
    with_void = [each for each in seen if each.void]
    clear = [each for each in with_void if each.labels and not each.doubtful]
    if clear:
        where = f"{len(with_void)} of {len(masks)} masks of class {cls}"
        return VOID, f"255 is void in {where}, such as {clear[0].path}: --ignore-index none makes it the object"
    if doubtful := [each for each in with_void if each.doubtful]:
        values = ", ".join(map(str, sorted(doubtful[0].labels)))
        raise DataError(f"{doubtful[0].path} holds 255 and, beside it, {values}: {_REMEDY}")
    labelled = [each for each in seen if each.labels]
    if with_void and labelled:
        some = f"{min(labelled[0].labels)} ({labelled[0].path})"
        raise DataError(f"class {cls} has masks with {some} and others with 255 ({with_void[0].path}): {_REMEDY}")
    return None, None


def _seen(masks: Iterable[Path], max_pixels: int) -> Iterable[_Seen]:
    """Of those masks whose values are exact numbers; one that cannot be read fails as an episode."""
    for path in masks:
        try:
            with explained(str(path)), opened(path, str(path), stored=True) as picture:
                exact = picture.image is None or picture.image.format in _EXACT
            values = _one_channel(read_values(path, max_pixels)) if exact else None
        except ImageError:
            continue
        if values is None or values.dtype.kind not in "iu":
            continue
        distinct = np.unique(values)
        between = frozenset(int(value) for value in distinct if value not in (0, VOID))
        void = bool((distinct == VOID).any())
        if between and void and max(between) < VOID and not _has_areas(values):
            if any(64 <= value < 192 for value in between):
                between = frozenset()  # the edge of a binary mask
            yield _Seen(path, between, void, bool(between))
        else:
            yield _Seen(path, between, void, bool(between) and between <= {127, 128})


def _one_channel(values: Shaped[np.ndarray, "H W ..."]) -> Shaped[np.ndarray, "H W"] | None:
    """As `read_mask` takes it: alpha if it varies, else grey; None for colours, which are no labels."""
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = values[..., -1]
        values = alpha if alpha.min() != alpha.max() else values[..., :-1]
    if values.ndim == 3:
        return values[..., 0] if (values[..., :1] == values).all() else None
    return values


def _has_areas(values: Shaped[np.ndarray, "H W"]) -> bool:
    """Whether a value between 0 and 255 fills more than a line: a smooth edge is ramps only."""
    few = len(np.unique(values)) <= 16  # a wide blur has tails that are nearly 0, or nearly 255, for longer
    around, flat = np.pad(values, 1, mode="edge"), (values > (0 if few else 8)) & (values < (255 if few else 247))
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        flat &= around[dy : dy + values.shape[0], dx : dx + values.shape[1]] == values
    return bool(flat.any())
