"""The cache folder, and files that appear whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

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
