"""The border where files from outside become checked values.

Every reader of a format opens its file inside `parsing`, which turns whatever goes wrong into one error that names the
file.
"""

import io
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, iterparse
from xml.parsers import expat

import numpy as np
from jaxtyping import Float, Int64

from insid3.errors import DataError, Insid3Error, SizeError

_LARGEST = 2.0**53  # whole numbers are exact up to here, and no sum or product of a few overflows


class Flaw(ValueError):
    """An error in one entry of a file; the message is a phrase that follows the place of the entry."""


@contextmanager
def parsing(file: str | os.PathLike[str], kind: str, error: type[Insid3Error] = DataError) -> Iterator[None]:
    """Turn whatever goes wrong with a file as a whole into one error that names the file.

    Errors of this package pass unchanged.

    Args:
        file: path of the file that is read.
        kind: name of the kind of file, as in "no labelme file".
        error: class of the error to raise.

    Raises:
        Insid3Error: an `error` if the file is missing, of another kind or damaged; a SizeError if its content needs
            more memory than there is.
    """
    name = os.fspath(file)
    try:
        yield
    except Insid3Error:
        raise
    except Flaw as flaw:
        raise error(f"{name} is damaged, or no {kind} file: it {clipped(str(flaw))}") from flaw
    except OSError as failure:
        raise error(f"{name}: {failure.strerror or 'cannot be read'}") from failure
    except MemoryError as failure:
        raise SizeError(f"{name} needs more memory than there is") from failure
    except Exception as failure:
        raise error(f"{name} is damaged, or no {kind} file: save or export it again") from failure


def check_ends(file: Path) -> None:
    """Refuse a pipe, a socket or a device, whose content may never end; Flaw if the path is one."""
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise Flaw("is a pipe, a socket or a device, not a file")


def read_content(file: Path) -> bytes:
    """Read the bytes of a file; Flaw if it is a pipe, a socket or a device, OSError if it cannot be read."""
    check_ends(file)
    return file.read_bytes()


def read_text(file: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 with a byte-order mark; drop the mark.

    Raises:
        Flaw: the file has another encoding.
        OSError: the file cannot be read.
    """
    content = read_content(file)
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Flaw(f"is not UTF-8 text (byte {error.start}): save it as UTF-8") from error


def read_json(file: Path) -> Any:
    """Read a JSON file with or without a byte-order mark; Flaw if it is not JSON, OSError if it cannot be read."""
    return json_of(read_text(file))


def json_of(text: str | bytes) -> Any:
    """Return the value of JSON text; Flaw if the text is not JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Flaw(f"is not JSON (line {error.lineno}, column {error.colno}: {error.msg.lower()})") from error
    except (RecursionError, ValueError) as error:
        raise Flaw("is JSON that nests too deeply or holds numbers that are too long") from error


def read_xml(file: Path) -> Iterator[Element]:
    """Yield every element of an XML file as soon as it ends; a caller that clears used elements saves memory.

    Document types are refused: their entities can grow beyond all memory, and no annotations need them.

    Raises:
        Flaw: the file is not XML, or declares a document type.
        OSError: the file cannot be read.
    """
    content = read_content(file)

    def refuse(*_: object) -> None:
        raise Flaw("declares a document type or entities, which no annotations need")

    reader = expat.ParserCreate()
    reader.StartDoctypeDeclHandler = refuse  # whatever the encoding
    try:
        reader.Parse(content, True)
        yield from (element for _, element in iterparse(io.BytesIO(content)))
    except (expat.ExpatError, ParseError) as error:
        line, column = (error.lineno, error.offset) if isinstance(error, expat.ExpatError) else error.position
        raise Flaw(f"is not XML (line {line}, column {column + 1})") from error


def shown(value: Any) -> str:
    """Return a value as text for a message, short and on one line."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = "nothing" if value is None else json.dumps(value) if isinstance(value, bool) else repr(value)
    return text if len(text) <= 40 else f"{text[:36]}..."


def clipped(text: str, most: int = 300) -> str:
    """Return the beginning and the end of a text from a file, on one line of at most about `most` characters."""
    text = text if len(text) <= most else f"{text[: most - 60]}...{text[-57:]}"
    if text.isprintable():
        return text
    return "".join(x if x.isprintable() else x.encode("unicode_escape").decode() for x in text)


def as_dict(value: Any, what: str) -> dict[str, Any]:
    """Return a value that must be a JSON object; Flaw if not."""
    if not isinstance(value, dict):
        raise Flaw(f"has {shown(value)} as {what}, not an object")
    return value


def as_list(value: Any, what: str) -> list[Any]:
    """Return a value that must be a list; Flaw if not."""
    if not isinstance(value, list):
        raise Flaw(f"has {shown(value)} as {what}, not a list")
    return value


def as_text(value: Any, what: str) -> str:
    """Return a value that must be text, not empty, or a number, as text; Flaw if not."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return as_id(value, what)
    if not isinstance(value, str) or not value.strip():
        raise Flaw(f"has no {what}" if value in (None, "") else f"has {shown(value)} as {what}, not text")
    return value


def as_number(value: Any, what: str) -> float:
    """Return a value that must be a finite number, or such a number as text; Flaw if not."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Flaw(f"has no {what}" if value is None else f"has {shown(value)} as {what}, not a number")
    if abs(number) > _LARGEST:
        raise Flaw(f"has {shown(value)} as {what}, which is too large")
    return number


def as_whole(value: Any, what: str) -> int:
    """Return a value that must be a whole number, which may be written as 3.0 or as text; Flaw if not."""
    number = as_number(value, what)
    if number != int(number):
        raise Flaw(f"has {shown(value)} as {what}, not a whole number")
    return int(number)


def as_id(value: Any, what: str) -> str:
    """Return an id as text, so that 7, 7.0 and "7" are equal; Flaw if the value is neither text nor a number."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return str(int(value)) if value == int(value) else str(value)
    raise Flaw(f"has no {what}" if value is None else f"has {shown(value)} as {what}, not an id")


def as_points(value: Any, what: str = "points") -> Float[np.ndarray, "n 2"]:
    """Return [[x, y], ...] as an array; Flaw if the value is no such list or has a number that is not finite."""
    pairs = as_list(value, what)
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise Flaw(f"has {what} that are not pairs of x and y")
    return as_numbers([number for pair in pairs for number in pair], "a coordinate").reshape(-1, 2)


def as_numbers(values: Any, what: str) -> Float[np.ndarray, "n"]:
    """Return a list of finite numbers as an array; `what` names one of them. Flaw if the value is no such list."""
    listed = as_list(values, f"{what}s")
    try:
        numbers = np.array(listed, float)
    except (TypeError, ValueError, OverflowError):
        numbers = np.array([as_number(value, what) for value in listed])
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise Flaw(f"has something that is not a number as {what}")
    if len(far := numbers[np.abs(numbers) > _LARGEST]):
        raise Flaw(f"has {far[0]:g} as {what}, which is too large")
    return numbers


def as_wholes(values: Any, what: str, most: int) -> Int64[np.ndarray, "n"]:
    """Return a list of whole numbers from 0 to `most` as an array; `what` names one. Flaw if it is no such list."""
    numbers = as_numbers(values, what)
    odd = numbers[(numbers < 0) | (numbers > most) | (numbers != np.floor(numbers))]
    if len(odd):
        raise Flaw(f"has {odd[0]:g} as {what}, not a whole number from 0 to {most}")
    return numbers.astype(np.int64)
