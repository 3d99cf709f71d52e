"""The result files of one target."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from insid3.errors import ImageError
from insid3.imaging.colours import Colour
from insid3.imaging.draw import heat, indexed, overlay
from insid3.imaging.read import read_values
from insid3.storage import write_bytes
from insid3.storage import write_picture as write_image

_JPEG = 65_500  # most pixels of a side that JPEG can hold
_STEPS = 32767.5  # steps of 16 bits for a score of 1; 0 stands for -1


def write_mask(path: Path, mask: Bool[np.ndarray, "H W"]) -> None:
    """Write a mask as an 8-bit PNG, 255 where the concept is."""
    _save(path, Image.fromarray(mask.astype(np.uint8) * 255))


def write_index(path: Path, index: UInt8[np.ndarray, "H W"], colours: Sequence[Colour]) -> None:
    """Write an indexed picture as a palette PNG: 0 is black, i + 1 has the colour of the concept at i."""
    _save(path, indexed(index, colours))


def write_picture(path: Path, picture: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write a picture as a JPEG with little loss."""
    write_image(path, Image.fromarray(picture), quality=95)


def write_overlay(
    path: Path,
    picture: UInt8[np.ndarray, "H W 3"],
    masks: Sequence[Bool[np.ndarray, "H W"]],
    colours: Sequence[Colour],
    boxes: Sequence[tuple[int, int, int, int]] = (),
) -> None:
    """Write the picture with its masks and boxes as a JPEG."""
    _save(path, Image.fromarray(overlay(picture, masks, colours, boxes=boxes)))


def write_heat(path: Path, picture: UInt8[np.ndarray, "H W 3"], similarity: Float[np.ndarray, "H W"]) -> None:
    """Write the picture with its similarity to a concept as a JPEG."""
    _save(path, Image.fromarray(heat(picture, similarity)))


def write_scores(path: Path, scores: Float[np.ndarray, "H W"]) -> None:
    """Write scores in [-1, 1] as float32 (.npy), or as 16 bits (.png): score = value / 32767.5 - 1."""
    if path.suffix == ".npy":
        encoded = io.BytesIO()
        np.save(encoded, scores)
        write_bytes(path, encoded.getbuffer())
    else:
        _save(path, Image.fromarray(np.round((scores + 1) * _STEPS).astype(np.uint16)))


def read_scores(path: Path) -> Float[np.ndarray, "H W"]:
    """Read scores that `write_scores` wrote; ImageError if the file holds none."""
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
    write_image(path, image, quality=88)  # PNG ignores the quality
