"""Text for a terminal: any name, in any encoding, without control characters."""

import io
import os
import sys
import unicodedata

# Marks that make a terminal show letters in another order than they are in.
_TURNING = {*"\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}


def printable(text: object) -> str:
    r"""Return a text on one line; control characters, and bytes that are no text, become `\x1b`, `\n`, `\xe9`."""
    return "".join(_shown(letter) for letter in str(text))


def accept_any_name() -> None:
    """Let standard output and standard error show letters that their encoding lacks as escapes.

    A stream that is closed (`>&-`) is replaced by one that drops everything.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115  until the program ends
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def send_output() -> None:
    """Write the text that standard output still holds; a reader that has gone (`| head -1`) is no error.

    Raises:
        OSError: the text cannot be written, for want of space for example.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries once more when it ends
        if not isinstance(error, BrokenPipeError):
            raise


def _shown(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte of a name that is not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    if letter in _TURNING or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp"):
        return letter.encode("unicode_escape").decode()
    return letter
