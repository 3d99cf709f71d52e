"""Result files of one target."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from insid3.draw import heat, overlay
from insid3.errors import ImageError
from insid3.images import read_values
from insid3.labels import Colour
from insid3.storage import write_bytes
from insid3.storage import write_picture as write_image

_JPEG = 65_500  # pixels of a side, of which JPEG takes no more
_STEPS = 32767.5  # of a 16-bit score in [-1, 1], 0 is -1


def write_mask(path: Path, mask: Bool[np.ndarray, "H W"]) -> None:
    """An 8-bit PNG, 255 where the concept is."""
    _save(path, Image.fromarray(mask.astype(np.uint8) * 255))


def write_index(path: Path, index: UInt8[np.ndarray, "H W"], colours: Sequence[Colour]) -> None:
    """A palette PNG: 0 is nobody's and black, i + 1 belongs to the concept at i and has its colour."""
    image = Image.fromarray(index, "L")
    image.putpalette(bytes([0, 0, 0, *(value for colour in colours for value in colour)]))
    _save(path, image)


def write_picture(path: Path, picture: UInt8[np.ndarray, "H W 3"]) -> None:
    """A JPEG with little loss."""
    write_image(path, Image.fromarray(picture), quality=95)


def write_overlay(
    path: Path,
    picture: UInt8[np.ndarray, "H W 3"],
    masks: Sequence[Bool[np.ndarray, "H W"]],
    colours: Sequence[Colour],
    boxes: Sequence[tuple[int, int, int, int]] = (),
) -> None:
    """A JPEG to look at."""
    _save(path, Image.fromarray(overlay(picture, masks, colours, boxes=boxes)))


def write_heat(path: Path, picture: UInt8[np.ndarray, "H W 3"], similarity: Float[np.ndarray, "H W"]) -> None:
    """A JPEG to look at."""
    _save(path, Image.fromarray(heat(picture, similarity)))


def write_scores(path: Path, scores: Float[np.ndarray, "H W"]) -> None:
    """Scores in [-1, 1] as float32 (.npy), or as 16 bits (.png): score = value / 32767.5 - 1."""
    if path.suffix == ".npy":
        encoded = io.BytesIO()
        np.save(encoded, scores)
        write_bytes(path, encoded.getbuffer())
    else:
        _save(path, Image.fromarray(np.round((scores + 1) * _STEPS).astype(np.uint16)))


def read_scores(path: Path) -> Float[np.ndarray, "H W"]:
    """What `write_scores` wrote; ImageError where that is not to be had."""
    try:
        scores: np.ndarray = np.load(path, allow_pickle=False) if path.suffix == ".npy" else read_values(path)
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path} holds no scores: mark the picture again") from error
    if scores.ndim != 2 or scores.dtype.kind not in "uif" or not scores.size:
        raise ImageError(f"{path} holds no scores, one number for each pixel: mark the picture again")
    return scores if path.suffix == ".npy" else (scores / _STEPS - 1).astype(np.float32)


def _save(path: Path, image: Image.Image) -> None:
    if path.suffix == ".jpg" and max(image.size) > _JPEG:
        image.thumbnail((_JPEG, _JPEG))
    write_image(path, image, quality=88)  # which PNG has no use for
