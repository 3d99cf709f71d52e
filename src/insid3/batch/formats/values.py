"""Values out of files that other programs wrote: read as what they should be, or refused in words."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from PIL import ImageColor

from insid3.errors import DataError, Insid3Error
from insid3.labels import Colour


class Flaw(ValueError):
    """Tell what is wrong with one entry of a file, in words that follow the entry's place."""


@contextmanager
def parsing(file: Path, kind: str) -> Iterator[None]:
    """Turn whatever goes wrong with a file as a whole into one error that names the file.

    Raises:
        DataError: the file is not there, not of this kind, or holds something that its kind does not allow.
    """
    try:
        yield
    except Insid3Error:
        raise
    except Flaw as flaw:
        raise DataError(f"{file} is damaged, or no {kind} file: it {clipped(str(flaw))}") from flaw
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or 'cannot be read'}") from error
    except Exception as error:
        raise DataError(f"{file} is damaged, or no {kind} file: save or export it again") from error


def read_text(file: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 if it says so; a byte-order mark is dropped.

    Raises:
        Flaw: the file is in another encoding.
        OSError: it cannot be read.
    """
    content = file.read_bytes()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Flaw(f"is not UTF-8 text (byte {error.start}): save it as UTF-8") from error


def read_json(file: Path) -> Any:
    """Read a JSON file with or without a byte-order mark.

    Raises:
        Flaw: it is not JSON.
        OSError: it cannot be read.
    """
    text = read_text(file)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Flaw(f"is not JSON (line {error.lineno}, column {error.colno}: {error.msg.lower()})") from error
    except (RecursionError, ValueError) as error:
        raise Flaw("is JSON that nests too deeply or holds numbers that are too long") from error


def shown(value: Any) -> str:
    """Show a value in a message: short, on one line."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = "nothing" if value is None else json.dumps(value) if isinstance(value, bool) else repr(value)
    return text if len(text) <= 40 else f"{text[:36]}..."


def clipped(text: str, most: int = 300) -> str:
    """Return a text that came out of a file in at most so many characters: its beginning and its end."""
    return text if len(text) <= most else f"{text[: most - 60]}...{text[-57:]}"


def as_dict(value: Any, what: str) -> dict[str, Any]:
    """Return a JSON object; Flaw if it is something else."""
    if not isinstance(value, dict):
        raise Flaw(f"has {shown(value)} as {what}, not an object")
    return value


def as_list(value: Any, what: str) -> list[Any]:
    """Return a list; Flaw if it is something else."""
    if not isinstance(value, list):
        raise Flaw(f"has {shown(value)} as {what}, not a list")
    return value


def as_text(value: Any, what: str) -> str:
    """Return text that is not empty, numbers as text; Flaw if it is something else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return as_id(value, what)
    if not isinstance(value, str) or not value.strip():
        raise Flaw(f"has no {what}" if value in (None, "") else f"has {shown(value)} as {what}, not text")
    return value


def as_number(value: Any, what: str) -> float:
    """Return a finite number, also if it is written as text; Flaw if it is something else."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Flaw(f"has no {what}" if value is None else f"has {shown(value)} as {what}, not a number")
    return number


def as_whole(value: Any, what: str) -> int:
    """Return a whole number, also if it is written as 3.0 or as text; Flaw if it is something else."""
    number = as_number(value, what)
    if number != int(number):
        raise Flaw(f"has {shown(value)} as {what}, not a whole number")
    return int(number)


def as_id(value: Any, what: str) -> str:
    """Return an id as text, so that 7, 7.0 and "7" are one; Flaw if it is neither text nor a number."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return str(int(value)) if value == int(value) else str(value)
    raise Flaw(f"has no {what}" if value is None else f"has {shown(value)} as {what}, not an id")


def as_points(value: Any, what: str = "points") -> Float[np.ndarray, "n 2"]:
    """Return [[x, y], ...] as an array; Flaw if that is something else or not finite."""
    pairs = as_list(value, what)
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise Flaw(f"has {what} that are not pairs of x and y")
    return as_numbers([number for pair in pairs for number in pair], "a coordinate").reshape(-1, 2)


def as_numbers(values: Any, what: str) -> Float[np.ndarray, "n"]:
    """Return a list of finite numbers as an array; `what` is one of them. Flaw as `as_number`."""
    listed = as_list(values, f"{what}s")
    try:
        numbers = np.array(listed, float)
    except (TypeError, ValueError, OverflowError):
        numbers = np.array([as_number(value, what) for value in listed])
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise Flaw(f"has something that is not a number as {what}")
    return numbers


def as_wholes(values: Any, what: str, most: int) -> Int64[np.ndarray, "n"]:
    """Return a list of whole numbers from 0 to `most` as an array; `what` is one of them. Flaw for other ones."""
    numbers = as_numbers(values, what)
    odd = numbers[(numbers < 0) | (numbers > most) | (numbers != np.floor(numbers))]
    if len(odd):
        raise Flaw(f"has {odd[0]:g} as {what}, not a whole number from 0 to {most}")
    return numbers.astype(np.int64)


def as_size(height: Any, width: Any, limit: int) -> tuple[int, int] | None:
    """Return (height, width) as a file declares it; None if it declares none.

    Raises:
        Flaw: no size of a picture, or more than `limit` pixels.
    """
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


def _is_hex(text: str) -> bool:
    return len(text) == 6 and all(digit in "0123456789abcdefABCDEF" for digit in text)
