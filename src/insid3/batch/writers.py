"""Result files of one target."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from insid3.draw import overlay
from insid3.storage import write_atomically


def write_mask(path: Path, mask: Bool[np.ndarray, "H W"]) -> None:
    """An 8-bit PNG, 255 where the concept is."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    write_atomically(path, lambda temporary: image.save(temporary))


def write_overlay(path: Path, picture: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]) -> None:
    """A JPEG to look at."""
    image = Image.fromarray(overlay(picture, mask))
    write_atomically(path, lambda temporary: image.save(temporary, quality=88))
