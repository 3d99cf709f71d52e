"""Sizes and colours as annotation files hold them."""

from typing import Any

from PIL import ImageColor

from insid3.checks.parsing import Flaw, as_whole
from insid3.imaging.colours import Colour


def as_size(height: Any, width: Any, limit: int) -> tuple[int, int] | None:
    """Return the (height, width) that a file declares, if any; Flaw if that is no size of at most `limit` pixels."""
    if height in (None, "") or width in (None, ""):
        return None
    size = as_whole(height, "height"), as_whole(width, "width")
    if size == (0, 0):
        return None
    if min(size) < 1 or size[0] * size[1] > limit:
        raise Flaw(f"declares a picture of {size[1]} x {size[0]} pixels; the limit is {limit:,} in all")
    return size


def as_colour(value: Any) -> Colour | None:
    """Return RGB from "#f80", "#ff8000", "orange", "rgb(255, 128, 0)" or [255, 128, 0]; None from anything else."""
    try:
        if isinstance(value, list | tuple):
            parts = [as_whole(part, "a colour") for part in value[:3]]
            return (parts[0], parts[1], parts[2]) if all(0 <= part <= 255 for part in parts) else None
        text = str(value).strip()
        return ImageColor.getrgb(text if not _is_hex(text) else f"#{text}")[:3]
    except (ValueError, IndexError, Flaw):
        return None


def hex_colour(colour: Colour) -> str:
    """Return an RGB colour as "#ff8000"."""
    return f"#{bytes(colour).hex()}"


def _is_hex(text: str) -> bool:
    return len(text) == 6 and all(digit in "0123456789abcdefABCDEF" for digit in text)
