"""Files that appear whole or not at all, whoever wrote them; the cache folder; results that a second run continues.

Every file of the project is written here: beside its place under a temporary name, flushed to disk, its size checked,
then renamed. So a full disk, a crash or a kill leaves the old content or the new, never a part.
"""

import codecs
import errno
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast
from uuid import uuid4

from insid3.errors import Insid3Error, OutputError

try:
    import fcntl
except ImportError:  # Windows, which deletes no file that is open
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from PIL.Image import Image

CACHES = ("weights", "compiled", "basis")  #: folders of `cache_dir` that may be deleted at any time
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TEMPORARY = re.compile(r"\.insid3-[0-9a-f]{32}(\..+)?")
_swept: set[Path] = set()  # folders into which this process has written


def cache_dir() -> Path:
    """Where what can be made again is kept: $INSID3_CACHE, else $XDG_CACHE_HOME/insid3, else ~/.cache/insid3."""
    if own := os.environ.get("INSID3_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "insid3"


def write_bytes(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Write a file, whole or not at all; make its folder if there is none.

    Raises:
        OutputError: the disk is full, or the place cannot be written to.
    """
    with byte_stream(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8; bytes of names that are no text as escapes, which JSON reads as them.

    Raises:
        OutputError: as `write_bytes`.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_picture(path: str | os.PathLike[str], image: "Image", **options: Any) -> None:
    """Write a picture in the format of the path's suffix.

    Pillow's own writers do not tell that a disk is full: some leave half a picture and report success.

    Args:
        options: of Pillow's encoder, such as quality=88.

    Raises:
        OutputError: as `write_bytes`; or the format cannot hold the picture.
    """
    from PIL import Image

    encoded, suffix = io.BytesIO(), Path(path).suffix.lower()
    try:
        image.save(encoded, Image.registered_extensions()[suffix], **options)
    except (KeyError, OSError, ValueError) as error:  # a format that Pillow only reads, or that has no such pictures
        raise OutputError(f"{path}: no {suffix or 'such'} file can hold this picture: write it as .png") from error
    write_bytes(path, encoded.getbuffer())


@contextmanager
def byte_stream(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that may be more than memory for writing; it has its name when the block ends without an error.

    Libraries that write to files get this one, not a path.

    Raises:
        OutputError: as `write_bytes`.
    """
    with _beside(Path(path)) as (temporary, file):
        yield file
        file.flush()
        _check_size(temporary, file.tell())


@contextmanager
def text_stream(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open a text file in UTF-8 as `byte_stream` does; lines end as they are written."""
    with byte_stream(path) as file:
        yield cast(TextIO, codecs.getwriter("utf-8")(file))


def link_or_copy(source: Path, place: Path) -> None:
    """Put a file in a second place: a hard link, or a copy on another disk; nothing where there is one already.

    Raises:
        OutputError: as `write_bytes`.
    """
    with saying(place):
        if place.is_symlink() or place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(os.path.realpath(source), place)
        except FileExistsError:  # somebody was faster
            return
        except OSError:
            copy(source, place)


def copy(source: Path, place: Path) -> None:
    """Put a file's bytes in a second place; OutputError as `write_bytes`."""
    with byte_stream(place) as new, source.open("rb") as old:
        shutil.copyfileobj(old, new, 2**20)


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Add a line to a file of one JSON object a line; one that was cut off at the end gives way to it.

    Raises:
        OutputError: as `write_bytes`; the file is as it was before.
    """
    line = memoryview(json.dumps(record).encode() + b"\n")
    with saying(path), path.open("ab+", buffering=0) as file:
        end = _end_of_lines(file)
        if end < file.seek(0, os.SEEK_END):
            file.truncate(end)
        try:
            while line:
                line = line[file.write(line) or 0 :]
            os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                file.truncate(end)
            raise


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a file of one JSON object a line; OutputError as `write_bytes`."""
    with text_stream(path) as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def sweep(folder: Path, *, deep: bool = False) -> None:
    """Delete what killed processes left half-written in a folder; what a living one is writing stays.

    The first file that a process writes into a folder does this too.

    Args:
        deep: also in the folders below.
    """
    for parent, folders, names in os.walk(folder):
        if not deep:
            folders.clear()
        for name in names:
            if _TEMPORARY.fullmatch(name):
                _remove_dead(Path(parent, name))


@contextmanager
def saying(path: Path | None = None) -> Iterator[None]:
    """Say what to do about a full disk or a place that cannot be written to.

    Args:
        path: named where the error itself names none, or a temporary file.

    Raises:
        OutputError: for any OSError that is not one of ours.
    """
    try:
        yield
    except Insid3Error:
        raise
    except OSError as error:
        named = str(error.filename or "")
        where = path if path and (not named or _TEMPORARY.fullmatch(Path(named).name)) else named
        if error.errno in _FULL:
            raise OutputError(
                f"the disk is full ({where or 'output folder'}: {os.strerror(error.errno)}): free some space and run "
                "the same command again, it continues where it stopped"
            ) from error
        told = f"{where}: " if where else ""
        raise OutputError(f"cannot write results: {told}{error.strerror or error}") from error


def writing(write: Callable[[], object]) -> None:
    """Do what changes the disk; OutputError as `saying`."""
    with saying():
        write()


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


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A temporary file beside `path`, flushed to disk and renamed to it in the end. The open file marks it as alive."""
    with saying(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent not in _swept:
            _swept.add(path.parent)
            sweep(path.parent)
        temporary, file = _created(path)
        try:
            with file:
                yield temporary, file
                os.fsync(file.fileno())
                if fcntl:  # while it is locked: nobody sweeps it away
                    temporary.replace(path)
            if not fcntl:  # Windows renames no file that is open
                temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _created(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`, locked for as long as it is open."""
    while True:
        temporary = path.with_name(f".insid3-{uuid4().hex}{path.suffix}")
        file = cast(BinaryIO, temporary.open("xb"))
        if fcntl is None:
            return temporary, file
        with suppress(OSError):  # not every disk knows locks
            fcntl.flock(file, fcntl.LOCK_EX)  # waits for who sweeps at this moment
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # it was swept away before it was locked


def _remove_dead(file: Path) -> None:
    """Delete a temporary file unless somebody has it open, or that cannot be told."""
    with suppress(OSError):
        if file.is_symlink() or not file.is_file():
            return
        if fcntl is None:
            file.unlink()
            return
        with file.open("rb+") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()


def _check_size(file: Path, written: int) -> None:
    if file.stat().st_size < written:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _end_of_lines(file: BinaryIO, step: int = 2**16) -> int:
    """How many bytes of a file are whole lines."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - step)
        file.seek(begin)
        if (last := file.read(end - begin).rfind(b"\n")) >= 0:
            return begin + last + 1
        end = begin
    return 0
