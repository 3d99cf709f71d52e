"""Checks of settings, which may be numbers of Python, numpy or torch."""

import math
import os
from typing import Any

_LARGEST = 2**64  # more than `sys.maxsize`, which programs use for "no limit"


def plain(value: Any) -> Any:
    """Convert a scalar of numpy or torch, or an array without dimensions, to a Python number; keep other values."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def is_whole(value: Any) -> bool:
    """Tell whether a plain value is a whole number; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def is_number(value: Any) -> bool:
    """Tell whether a plain value is a finite number; True and False are not."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def told(value: Any) -> str:
    """Return a setting as text for a message, short and on one line, without Python's name of its type."""
    value = plain(value)
    if isinstance(value, bytes):
        return f"bytes that read {told(os.fsdecode(value))}"
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, int) and abs(value) > _LARGEST:
        return f"a number of about 2**{value.bit_length() - 1}"
    if isinstance(value, list | tuple):
        inner = ", ".join(told(one) for one in value[:6]) + (", ..." if len(value) > 6 else "")
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {' x '.join(map(str, value.shape))}"
    if value is None or isinstance(value, str | int | float):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return f"something of type {type(value).__name__}"
