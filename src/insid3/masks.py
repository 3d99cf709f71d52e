"""Masks: which pixels of what is drawn belong to the concept."""

import warnings
from typing import Literal

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image

from insid3.containers.exif import TURNS
from insid3.containers.tiff import white_is_zero
from insid3.decoding import Numbers, decode
from insid3.errors import ImageError, MaskError
from insid3.numbers import is_whole, plain, told
from insid3.opening import MAX_PIXELS, Picture, Readable, Source, explained, name_of, opened, pixels

Label = int | Literal["any"] | None
BLACK, WHITE = 8, 247  #: up to which, and from which on, the greys of a wide soft edge may fill areas


def read_mask(
    source: Source,
    image_size: tuple[int, int],
    label: Label = None,
    max_pixels: int = MAX_PIXELS,
    *,
    may_be_empty: bool = False,
    void: int | None = None,
) -> Bool[np.ndarray, "H W"]:
    """A mask at its picture's size, True where the concept is.

    With two distinct values nonzero is foreground; a smooth edge between 0 and 255 counts as two values. An alpha
    channel that varies is the mask. More values are labels: `label` chooses one, "any" takes all above zero. Of a TIFF
    that says that zero is white the stored numbers count, unless it is black and white: that counts as it is shown.

    Args:
        image_size: (height, width) of the picture; a mask that differs from it only in scale is resized (nearest).
        may_be_empty: a mask without a pixel of the concept, or of `label`, is no error.
        void: a value that is never the concept, with "any"; then a palette's numbers count, not its colours.

    Raises:
        MaskError: unreadable, ambiguous, empty, or of another shape than the picture; `label` is none.
        UserWarning: the mask was resized, or says that zero is white.
    """
    name = name_of(source)
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
    """A mask picture that is embedded in another file, True where it is not zero, whatever its mode.

    Of a palette the index counts. An alpha channel that varies is the mask, else any colour but black is.

    Args:
        name: what errors call it.

    Raises:
        MaskError: no picture, damaged, or larger than `max_pixels`.
        UserWarning: it is a TIFF that says that zero is white.
    """
    values = alpha_or_colours(_values(data, name, 1, max_pixels, turn=False))
    return np.any(values != 0, axis=2) if values.ndim == 3 else values != 0


def _values(source: Readable, name: str, label: Label, max_pixels: int, *, turn: bool) -> Shaped[np.ndarray, "H W ..."]:
    """What a mask picture holds, as stored wherever numpy can hold that."""
    try:
        with explained(name), opened(source, name, stored=True) as picture:
            found = decode(picture, max_pixels)[0]
            values = found.values if isinstance(found, Numbers) else _of_image(found, label)
            values = values[..., 0] if values.shape[2:] == (1,) else values
            values = TURNS[picture.orientation if turn else 1](values)
    except ImageError as error:
        raise MaskError(f"mask {error}") from error
    if white_is_zero(picture.container):
        _tell_white(picture)
    return values


def _tell_white(picture: Picture) -> None:
    counts = "what is shown white" if picture.container.bits == 1 else "what is stored as anything but 0"
    warnings.warn(
        f"mask {picture.name} is a TIFF in which zero is white (WhiteIsZero): {counts} was taken for the concept; "
        "if that is the wrong way round, save it as PNG, black where the concept is not",
        stacklevel=4,
    )


def _of_image(image: Image.Image, label: Label) -> Shaped[np.ndarray, "H W ..."]:
    mode = _mask_mode(image)
    if mode == "P" and not isinstance(label, int):
        used = used_colours(image)
        if len(used) == 2 and not used[0].any():
            mode = "RGB"  # black is background, even where the palette does not begin with it
    values = pixels(image, mode)
    if image.format in ("JPEG", "MPO"):  # rings around edges
        values[values < 32] = 0
        values[values > 223] = 255
    return values


def _mask_mode(image: Image.Image) -> str:
    """The mode in which a picture's values are read as a mask's: as stored, where numpy knows it."""
    if image.mode in ("1", "L", "P", "LA", "RGB", "RGBA"):
        return image.mode
    return "RGBA" if image.mode == "PA" else "RGB"


def used_colours(image: Image.Image) -> Shaped[np.ndarray, "k 3"]:
    """Of a palette."""
    palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
    return np.unique(palette[np.flatnonzero(image.histogram()[: len(palette)])], axis=0)


def alpha_or_colours(values: Shaped[np.ndarray, "H W ..."]) -> Shaped[np.ndarray, "H W ..."]:
    """Return what of an alpha channel and colours is the mask: the first if it varies."""
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = values[..., -1]
        return alpha if alpha.min() != alpha.max() else values[..., :-1]
    return values


def one_channel(values: Shaped[np.ndarray, "H W ..."]) -> Shaped[np.ndarray, "H W"] | None:
    """Return what of a picture's values is a mask: alpha if it varies, else grey; None if it is in colours."""
    values = alpha_or_colours(values)
    if values.ndim == 3:
        return values[..., 0] if (values[..., :1] == values).all() else None
    return values


def _foreground(
    values: Shaped[np.ndarray, "..."], label: Label, name: str, *, void: int | None, may_be_empty: bool
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


def _coloured(values: Shaped[np.ndarray, "H W 3"], label: Label, name: str) -> Bool[np.ndarray, "H W"]:
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
    """As many colours in 8 bits, or some hundred where there are more; only 0 stays 0."""
    result = np.empty(values.shape, np.uint8)
    for channel in range(3):
        seen = np.bincount(values[..., channel].ravel(), minlength=65536) > 0
        seen[0] = True
        ranks = np.minimum(np.cumsum(seen) - 1, 255).astype(np.uint8)
        result[..., channel] = ranks[values[..., channel]]
    return result


def has_soft_edge(values: Shaped[np.ndarray, "H W"], distinct: Shaped[np.ndarray, "v"]) -> bool:
    """Tell whether an 8-bit mask is black and white but for its edge: between 0 and 255 lie ramps, never an area.

    An area is a label. Where there are many greys, those nearly black or white may fill areas: a wide blur has tails.

    Args:
        distinct: its values, each once, sorted.
    """
    if values.dtype.kind not in "iu" or distinct[0] != 0 or distinct[-1] != 255:
        return False
    low, high = (BLACK, WHITE) if len(distinct) > 16 else (0, 255)
    return not (areas(values) & (values > low) & (values < high)).any()


def areas(values: Shaped[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Return the pixels that have the value of all four neighbours."""
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
        raise MaskError(f"mask {name} loses every pixel when resized to its picture's {size[1]} x {size[0]}")
    return fitted


def _list(values: Shaped[np.ndarray, "v"]) -> str:
    shown = [f"{value:g}" if value.dtype.kind == "f" else str(value) for value in values]
    return ", ".join(shown) if len(shown) <= 12 else f"{', '.join(shown[:6])}, ... {shown[-1]} ({len(shown)} of them)"
