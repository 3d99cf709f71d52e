"""Readers of masks: which pixels of a drawn picture belong to the concept."""

import warnings
from typing import Literal

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image

from insid3.checks.numbers import is_whole, plain, told
from insid3.errors import ImageError, MaskError
from insid3.imaging.containers.exif import TURNS
from insid3.imaging.containers.tiff import white_is_zero
from insid3.imaging.decoding import Numbers, decode
from insid3.imaging.opening import MAX_PIXELS, Picture, Readable, Source, explained, name_of, opened, pixels
from insid3.imaging.tensors import TensorLike, mask_array

MaskValue = int | Literal["any"] | None
BLACK, WHITE = 8, 247  #: greys up to the first and from the second on may fill areas in a wide soft edge


def read_mask(
    source: Source,
    image_size: tuple[int, int],
    label: MaskValue = None,
    max_pixels: int = MAX_PIXELS,
    *,
    may_be_empty: bool = False,
    void: int | None = None,
) -> Bool[np.ndarray, "H W"]:
    """Read a mask at its picture's size, (H, W) bool, True where the concept is.

    With two values the one that is not zero is the concept; a smooth edge between 0 and 255 counts as two values. An
    alpha channel that varies is the mask. More values are labels: `label` chooses one, "any" takes all above zero. A
    TIFF in which zero is white is read by its stored values; if it has one bit, it is read as it is shown.

    Args:
        image_size: (height, width) of the picture; a mask of another scale is resized (nearest).
        label: the value that is the concept, or "any".
        max_pixels: the largest number of pixels that is read.
        may_be_empty: accept a mask without a pixel of the concept.
        void: a value that is never the concept, used with "any"; a palette is then read by its indices.

    Raises:
        MaskError: the mask is unreadable, ambiguous, empty or of another aspect ratio than the picture, or `label` is
            neither a whole number nor "any".
        UserWarning: the mask was resized, or is a TIFF in which zero is white.
    """
    name = name_of(source)
    if isinstance(source, TensorLike):
        source = mask_array(source, name)
    label = plain(label)
    if not (label is None or is_whole(label) or (isinstance(label, str) and label == "any")):
        raise MaskError(f"label must be a whole number or 'any', got {told(label)}")
    values = (
        source
        if isinstance(source, np.ndarray)
        else _values(source, name, label if void is None else void, max_pixels, turn=True)
    )
    mask = _foreground(values, label, name, void=void, may_be_empty=may_be_empty)
    if not (may_be_empty or mask.any()):
        raise MaskError(f"mask {name} is empty: mark at least one pixel of the concept")
    return _fit(mask, image_size, name)


def read_patch(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Bool[np.ndarray, "h w"]:
    """Read a mask picture that is embedded in another file, (h, w) bool, True where it is not zero.

    A palette is read by its indices. An alpha channel that varies is the mask; else every colour but black is.

    Args:
        data: bytes of the picture file.
        name: the picture's name in error messages.
        max_pixels: the largest number of pixels that is read.

    Raises:
        MaskError: `data` is no picture, damaged, or larger than `max_pixels`.
        UserWarning: the mask is a TIFF in which zero is white.
    """
    values = alpha_or_colours(_values(data, name, 1, max_pixels, turn=False))
    return np.any(values != 0, axis=2) if values.ndim == 3 else values != 0


def _values(
    source: Readable, name: str, label: MaskValue, max_pixels: int, *, turn: bool
) -> Shaped[np.ndarray, "H W ..."]:
    """Return the values of a mask picture, as stored wherever numpy has a type for them."""
    try:
        with explained(name), opened(source, name, stored=True) as picture:
            found = decode(picture, max_pixels)[0]
            values = found.values if isinstance(found, Numbers) else _image_values(found, label)
            values = values[..., 0] if values.shape[2:] == (1,) else values
            values = TURNS[picture.orientation if turn else 1](values)
    except ImageError as error:
        raise MaskError(f"mask {error}") from error
    if white_is_zero(picture.container):
        _warn_of_white(picture)
    return values


def _warn_of_white(picture: Picture) -> None:
    counts = "what is shown white" if picture.container.bits == 1 else "what is stored as anything but 0"
    warnings.warn(
        f"mask {picture.name} is a TIFF in which zero is white (WhiteIsZero): {counts} was taken for the concept; "
        "if that is the wrong way round, save it as PNG, black where the concept is not",
        stacklevel=4,
    )


def _image_values(image: Image.Image, label: MaskValue) -> Shaped[np.ndarray, "H W ..."]:
    mode = _mask_mode(image)
    if mode == "P" and not isinstance(label, int):
        used = used_colours(image)
        if len(used) == 2 and not used[0].any():
            mode = "RGB"  # black is background, even where it is not the palette's first colour
    values = pixels(image, mode)
    if image.format in ("JPEG", "MPO"):  # compression leaves rings around edges
        values[values < 32] = 0
        values[values > 223] = 255
    return values


def _mask_mode(image: Image.Image) -> str:
    """Return the Pillow mode in which a mask is read: its own where numpy has one for it, else RGB or RGBA."""
    if image.mode in ("1", "L", "P", "LA", "RGB", "RGBA"):
        return image.mode
    return "RGBA" if image.mode == "PA" else "RGB"


def used_colours(image: Image.Image) -> Shaped[np.ndarray, "k 3"]:
    """Return the colours of a palette picture that its pixels use, each once."""
    palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
    return np.unique(palette[np.flatnonzero(image.histogram()[: len(palette)])], axis=0)


def alpha_or_colours(values: Shaped[np.ndarray, "H W ..."]) -> Shaped[np.ndarray, "H W ..."]:
    """Return the alpha channel of a mask if it varies, else the colours."""
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = values[..., -1]
        return alpha if alpha.min() != alpha.max() else values[..., :-1]
    return values


def one_channel(values: Shaped[np.ndarray, "H W ..."]) -> Shaped[np.ndarray, "H W"] | None:
    """Return the channel of a picture that is the mask: alpha if it varies, else grey; None for a coloured picture."""
    values = alpha_or_colours(values)
    if values.ndim == 3:
        return values[..., 0] if (values[..., :1] == values).all() else None
    return values


def _foreground(
    values: Shaped[np.ndarray, "..."], label: MaskValue, name: str, *, void: int | None, may_be_empty: bool
) -> Bool[np.ndarray, "H W"]:
    if values.ndim not in (2, 3) or 0 in values.shape or values.shape[2:] > (4,):
        raise MaskError(f"mask {name} has shape {values.shape}, expected (height, width)")
    if values.dtype.kind not in "biuf":
        raise MaskError(f"mask {name} holds {values.dtype} values, expected bool or numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise MaskError(f"mask {name} holds values that are not finite")
    channel = one_channel(values)
    if channel is None:
        return _coloured(alpha_or_colours(values), label if void is None else void, name)
    values = channel
    if label == "any":
        return values > 0 if void is None else (values > 0) & (values != void)
    distinct = np.unique(values)
    if label is not None:
        if label not in distinct and not may_be_empty:
            raise MaskError(f"mask {name} has no pixel of label {label}; its values are {_list(distinct)}")
        return values == label
    if (len(distinct) > 2 and not has_soft_edge(values, distinct)) or (len(distinct) == 2 and 0 not in distinct):
        raise MaskError(
            f"mask {name} has the values {_list(distinct)}: say which one is the concept with label= (--label N), "
            "or label='any' (--label any) for all above 0"
        )
    return values != 0


def _coloured(values: Shaped[np.ndarray, "H W 3"], label: MaskValue, name: str) -> Bool[np.ndarray, "H W"]:
    if values.dtype.newbyteorder("=") == np.uint16:
        values = _ranked(values)
    if values.dtype != np.uint8:
        raise MaskError(f"mask {name} holds colours as {values.dtype}, expected 8-bit: convert it first")
    seen, colours = np.zeros((256, 256, 256), bool), values.reshape(-1, 3)
    for some in np.array_split(colours, 1 + len(colours) // 2**20):
        seen[tuple(some.T)] = True
    count = np.count_nonzero(seen)
    if isinstance(label, int) or (label is None and (count > 2 or not seen[0, 0, 0])):
        raise MaskError(
            f"mask {name} has {count} colours, so which one is the concept cannot be told: save it as one "
            "channel of label numbers, or take everything that is not black with label='any' (--label any)"
        )
    return np.any(values > 0, axis=2)


def _ranked(values: Shaped[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Number the values of each channel in 8 bits, 0 as 0; beyond 255 values the last ones share a number."""
    result = np.empty(values.shape, np.uint8)
    for channel in range(3):
        seen = np.bincount(values[..., channel].ravel(), minlength=65536) > 0
        seen[0] = True
        ranks = np.minimum(np.cumsum(seen) - 1, 255).astype(np.uint8)
        result[..., channel] = ranks[values[..., channel]]
    return result


def has_soft_edge(values: Shaped[np.ndarray, "H W"], distinct: Shaped[np.ndarray, "v"]) -> bool:
    """Tell whether an 8-bit mask is black and white with a soft edge, where greys form ramps and fill no area.

    An area of one grey is a label. With many greys, nearly black and nearly white ones may fill areas, since a wide
    blur has tails.

    Args:
        values: (H, W), of the mask.
        distinct: the values, each once, sorted.
    """
    if values.dtype.kind not in "iu" or distinct[0] != 0 or distinct[-1] != 255:
        return False
    low, high = (BLACK, WHITE) if len(distinct) > 16 else (0, 255)
    return not (areas(values) & (values > low) & (values < high)).any()


def areas(values: Shaped[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Return the pixels that equal all four neighbours, (H, W) bool."""
    around, flat = np.pad(values, 1, mode="edge"), np.ones(values.shape, bool)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        flat &= around[dy : dy + values.shape[0], dx : dx + values.shape[1]] == values
    return flat


def _fit(mask: Bool[np.ndarray, "H W"], size: tuple[int, int], name: str) -> Bool[np.ndarray, "H2 W2"]:
    if mask.shape == size:
        return mask
    scale = max(size) / max(mask.shape)
    off = max(abs(have * scale - want) for have, want in zip(mask.shape, size, strict=True))
    if off > max(1, scale / 2):  # more than rounding the sides to whole pixels explains
        hint = "they must have the same size, or at least the same aspect ratio"
        if mask.shape == size[::-1]:
            hint = "the sides are swapped: the picture is turned by its EXIF orientation, the mask must be turned too"
        raise MaskError(
            f"mask {name} is {mask.shape[1]} x {mask.shape[0]} pixels but its picture is {size[1]} x {size[0]}: {hint}"
        )
    warnings.warn(
        f"mask {name} is {mask.shape[1]} x {mask.shape[0]} pixels and was resized to its picture's "
        f"{size[1]} x {size[0]}: a mask of the same size keeps its edge",
        stacklevel=3,
    )
    fitted = np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))
    if mask.any() and not fitted.any():
        raise MaskError(
            f"mask {name} loses every pixel when resized to its picture's {size[1]} x {size[0]}: "
            "give a mask of the picture's size"
        )
    return fitted


def _list(values: Shaped[np.ndarray, "v"]) -> str:
    shown = [f"{value:g}" if value.dtype.kind == "f" else str(value) for value in values]
    return ", ".join(shown) if len(shown) <= 12 else f"{', '.join(shown[:6])}, ... {shown[-1]} ({len(shown)} of them)"
