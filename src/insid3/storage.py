"""The one writer of files: each appears whole or not at all.

Every file is written beside its place under a temporary name, flushed to disk, checked for its size, then renamed.
So a full disk, a crash or a kill leaves the old content or the new content, never a part.
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
except ImportError:  # Windows, which refuses to delete open files
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from PIL.Image import Image

CACHES = ("weights", "compiled", "basis")  #: folders of `cache_dir` that may be deleted at any time
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TEMPORARY = re.compile(r"\.insid3-[0-9a-f]{32}(\..+)?")
_swept: set[Path] = set()  # folders that this process has written to


def cache_dir() -> Path:
    """Return the folder of caches: $INSID3_CACHE, else $XDG_CACHE_HOME/insid3, else ~/.cache/insid3."""
    if own := os.environ.get("INSID3_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "insid3"


def write_bytes(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Write a file, and make its folder if there is none.

    Raises:
        OutputError: the disk is full, or the path cannot be written to.
    """
    with byte_stream(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8 as `write_bytes` does; bytes of names that are no text become escapes of JSON."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_picture(path: str | os.PathLike[str], image: "Image", **options: Any) -> None:
    """Write a picture in the format of the path's suffix.

    Pillow's own writers do not report a full disk: some leave half a picture without an error.

    Args:
        options: options of Pillow's encoder, such as quality=88.

    Raises:
        OutputError: the format cannot hold the picture, the disk is full, or the path cannot be written to.
    """
    from PIL import Image

    encoded, suffix = io.BytesIO(), Path(path).suffix.lower()
    try:
        image.save(encoded, Image.registered_extensions()[suffix], **options)
    except (KeyError, OSError, ValueError) as error:  # Pillow only reads the format, or it has no such pictures
        raise OutputError(f"{path}: no {suffix or 'such'} file can hold this picture: write it as .png") from error
    write_bytes(path, encoded.getbuffer())


@contextmanager
def byte_stream(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that may be larger than memory; the file gets its name if the block ends without error.

    Libraries that write files are given this stream instead of a path.

    Raises:
        OutputError: the disk is full, or the path cannot be written to.
    """
    with _beside(Path(path)) as (temporary, file):
        yield file
        file.flush()
        _check_size(temporary, file.tell())


@contextmanager
def text_stream(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open a text file in UTF-8 as `byte_stream` does, without translating line ends."""
    with byte_stream(path) as file:
        yield cast(TextIO, codecs.getwriter("utf-8")(file))


def link_or_copy(source: Path, place: Path) -> None:
    """Hard-link a file to a second place, or copy it to another disk; do nothing if the place is taken.

    Raises:
        OutputError: the disk is full, or the place cannot be written to.
    """
    with output_errors(place):
        if place.is_symlink() or place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(os.path.realpath(source), place)
        except FileExistsError:  # another process was faster
            return
        except OSError:
            copy(source, place)


def copy(source: Path, place: Path) -> None:
    """Copy the content of a file; OutputError if the disk is full, or the place cannot be written to."""
    with byte_stream(place) as new, source.open("rb") as old:
        shutil.copyfileobj(old, new, 2**20)


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append a line to a file of one JSON object a line, in place of a last line that was cut off.

    Raises:
        OutputError: the disk is full, or the path cannot be written to. The file keeps its old lines.
    """
    line = memoryview(json.dumps(record).encode() + b"\n")
    with output_errors(path), path.open("ab+", buffering=0) as file:
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
    """Write a file of one JSON object a line; OutputError if the disk is full, or the path cannot be written to."""
    with text_stream(path) as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def sweep(folder: Path, *, deep: bool = False) -> None:
    """Delete the half-written files that killed processes left in a folder, and keep those of living processes.

    Each process does this too before it writes its first file into a folder.

    Args:
        deep: sweep all folders below as well.
    """
    for parent, folders, names in os.walk(folder):
        if not deep:
            folders.clear()
        for name in names:
            if _TEMPORARY.fullmatch(name):
                _remove_dead(Path(parent, name))


@contextmanager
def output_errors(path: Path | None = None) -> Iterator[None]:
    """Turn an OSError into an OutputError that tells what to do about a full disk or a path that cannot be written to.

    Args:
        path: path for the message if the error names none, or a temporary file.

    Raises:
        OutputError: the block raised an OSError that is no error of this package.
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
    """Call a function that changes the disk; OutputError if the disk is full or refuses the change."""
    with output_errors():
        write()


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level.

    >>> flat({"a": {"b": 1}})
    {'a.b': 1}
    """
    result: dict[str, Any] = {}
    for key, value in settings.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result


def differences(before: dict[str, Any], now: dict[str, Any], ignored: Iterable[str] = ()) -> list[str]:
    """List the differences of two runs' flat settings as "size 280 not 518", among the settings of the present run."""
    differ = [key for key, value in now.items() if key not in ignored and before.get(key) != value]
    return [f"{key} {before.get(key)} not {now[key]}" for key in differ]


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a temporary file beside `path`, which is flushed to disk and renamed to `path` in the end."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if (folder := path.parent.absolute()) not in _swept:
            _swept.add(folder)
            sweep(folder)
        temporary, file = _created(path)
        try:
            with file:
                yield temporary, file
                os.fsync(file.fileno())
                if fcntl:  # renamed while it is locked, so that no other process sweeps it away
                    temporary.replace(path)
            if not fcntl:  # Windows refuses to rename open files
                temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _created(path: Path) -> tuple[Path, BinaryIO]:
    """Create a temporary file beside `path`, locked for as long as it is open."""
    while True:
        temporary = path.with_name(f".insid3-{uuid4().hex}{path.suffix}")
        file = cast(BinaryIO, temporary.open("xb"))
        if fcntl is None:
            return temporary, file
        with suppress(OSError):  # some disks have no locks
            fcntl.flock(file, fcntl.LOCK_EX)  # waits for a process that is sweeping
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # it was swept away before it was locked


def _remove_dead(file: Path) -> None:
    """Delete a temporary file unless a process has it open, or may have it open."""
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
    """Return the number of bytes at the beginning of a file that are whole lines."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - step)
        file.seek(begin)
        if (last := file.read(end - begin).rfind(b"\n")) >= 0:
            return begin + last + 1
        end = begin
    return 0
