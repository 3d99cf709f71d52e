"""The cache folder, files that appear whole or not at all, and results that a second run continues."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from insid3.errors import Insid3Error, OutputError

CACHES = ("weights", "compiled", "basis")  #: folders of `cache_dir` that may be deleted at any time


def cache_dir() -> Path:
    """Where what can be made again is kept: $INSID3_CACHE, else $XDG_CACHE_HOME/insid3, else ~/.cache/insid3."""
    if own := os.environ.get("INSID3_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "insid3"


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, and rename it into place.

    Whatever interrupts this, `path` holds either its old content or all of the new.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def writing(write: Callable[[], object]) -> None:
    """Say what to do about a full disk or a folder that may not be written to.

    Raises:
        OutputError: for any OSError that is not one of ours.
    """
    try:
        write()
    except Insid3Error:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"the disk is full ({error.filename or 'output folder'}): free some space and run the same command "
                "again, it continues where it stopped"
            ) from error
        told = f"{error.filename}: " if error.filename else ""
        raise OutputError(f"cannot write results: {told}{error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """A text file, whole; OutputError as `writing`."""
    writing(lambda: write_atomically(path, lambda temporary: temporary.write_text(text, "utf-8")))


def link_or_copy(source: Path, place: Path) -> None:
    """A file in a second place: a hard link, or a copy on another disk; nothing where there is one already.

    Raises:
        OutputError: as `writing`.
    """

    def link() -> None:
        if place.is_symlink() or place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(os.path.realpath(source), place)
        except FileExistsError:  # somebody was faster
            return
        except OSError:
            write_atomically(place, lambda temporary: shutil.copyfile(source, temporary))

    writing(link)


def append_line(path: Path, record: dict[str, Any]) -> None:
    """To a file of one JSON object a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """A file of one JSON object a line, whole."""
    write_text(path, "".join(json.dumps(record) + "\n" for record in records))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """What `append_line` wrote; a last line that was cut off does not count. ValueError: something else."""
    text = path.read_text("utf-8") if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    result: dict[str, Any] = {}
    for key, value in settings.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result


def differences(before: dict[str, Any], now: dict[str, Any], ignored: Iterable[str] = ()) -> list[str]:
    """What two runs' flat settings differ in, as "size 280 not 518"; only what is set now."""
    differ = [key for key, value in now.items() if key not in ignored and before.get(key) != value]
    return [f"{key} {before.get(key)} not {now[key]}" for key in differ]
