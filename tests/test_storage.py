"""Files that appear whole or not at all, and the folder of caches."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from insid3.errors import OutputError
from insid3.storage import (
    append_line,
    byte_stream,
    cache_dir,
    copy,
    sweep,
    text_stream,
    write_bytes,
    write_lines,
    write_picture,
    write_text,
)

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))


def stream_text(path: Path) -> None:
    with text_stream(path) as file:
        for _ in range(500):
            file.write("hello\n")


def stream_bytes(path: Path) -> None:
    with byte_stream(path) as file:
        for _ in range(500):
            file.write(b"hello\n")


WRITERS: dict[str, Callable[[Path], object]] = {
    "bytes": lambda path: write_bytes(path, b"x" * 5000),
    "text": lambda path: write_text(path, "hällo\n" * 500),
    "lines": lambda path: write_lines(path, [{"a": i} for i in range(500)]),
    "text stream": stream_text,
    "byte stream": stream_bytes,
    "jpeg": lambda path: write_picture(path.with_suffix(".jpg"), NOISE, quality=95),
    "png": lambda path: write_picture(path.with_suffix(".png"), NOISE),
    "copy": lambda path: copy(Path(__file__), path),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_write_makes_folders_and_leaves_nothing_else(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "a" / "b" / "c.txt")
    (path,) = (tmp_path / "a" / "b").iterdir()
    assert path.stem == "c"
    assert path.stat().st_size > 1000
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


# Writes as on a disk that is full after so many bytes: Pillow's JPEG encoder would report success.
FULL = """
import resource, signal, sys
from pathlib import Path
import test_storage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
for kind, write in test_storage.WRITERS.items():
    try:
        write(Path(sys.argv[1], f"{kind}.txt"))
    except test_storage.OutputError as error:
        print(kind, "refused:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("limit", [0, 1, 700, 2999])
def test_a_disk_that_takes_no_more_leaves_no_part_of_a_file(tmp_path: Path, limit: int) -> None:
    for kind in WRITERS:
        (tmp_path / f"{kind}.txt").write_text("old")
    words = [sys.executable, "-B", "-c", FULL, str(tmp_path), str(limit)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parent, check=False, timeout=60)
    assert [line.split(" refused:")[0] for line in done.stdout.splitlines()] == [*WRITERS], done.stderr
    assert "File too large" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{kind}.txt" for kind in WRITERS)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_disk_that_loses_bytes_in_silence_is_found_out(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = Path.stat

    def less(path: Path, **more: bool) -> os.stat_result:
        found = list(size(path, **more))
        found[6] -= path.name.startswith(".")  # st_size of a temporary file
        return os.stat_result(found)

    monkeypatch.setattr(Path, "stat", less)
    with pytest.raises(OutputError, match=r"the disk is full .*free some space and run the same command again"):
        WRITERS[kind](tmp_path / "c.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(errno.EIO, "bad"), KeyboardInterrupt(), ValueError("ours")])
def test_interrupted_write_keeps_the_old_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def half() -> None:
        with text_stream(target) as file:
            file.write("ne")
            raise error

    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    (tmp_path / "b.txt").mkdir()
    for path in (tmp_path / "a" / "c.txt", tmp_path / "b.txt"):
        with pytest.raises(OutputError) as caught:
            write_text(path, "x")
        told = str(caught.value)
        assert str(tmp_path) in told
        assert not any(len(part) > 30 and part.startswith(".") for part in told.replace(":", "/").split("/"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b.txt"]


def test_pictures_that_a_format_cannot_hold(tmp_path: Path) -> None:
    for name in ("a.xbm", "a.psd", "a.txt", "a", "a.hdf"):
        with pytest.raises(OutputError, match=r"can hold this picture: write it as \.png"):
            write_picture(tmp_path / name, NOISE)
    assert not list(tmp_path.iterdir())


def test_a_line_that_was_cut_off_gives_way_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_line(path, {"a": 1})
    whole = path.read_bytes()
    for torn in (b'{"a": ', b"{" + b"x" * 200_000, b""):
        path.write_bytes(whole + torn)
        append_line(path, {"a": 2})
        assert path.read_text() == '{"a": 1}\n{"a": 2}\n'
    path.write_bytes(b'{"to')
    append_line(path, {"a": 3})
    assert path.read_text() == '{"a": 3}\n'


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.jsonl"
    append_line(path, {"a": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        append_line(path, {"a": 2})
    monkeypatch.undo()
    assert path.read_bytes() == b'{"a": 1}\n'
    if Path("/dev/full").exists():
        with pytest.raises(OutputError, match="the disk is full"):
            append_line(Path("/dev/full"), {"a": 1})


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    dead, own = tmp_path / f".insid3-{uuid4().hex}.xml", tmp_path / f".{uuid4().hex}.xml"
    deep = tmp_path / "sub" / f".insid3-{uuid4().hex}.txt"
    deep.parent.mkdir()
    for file in (dead, own, deep):
        file.write_text("x")
    (tmp_path / f".insid3-{uuid4().hex}").symlink_to(tmp_path / "sub")
    sweep(tmp_path)
    assert not dead.exists()
    assert own.exists()  # it is no file of this program
    assert deep.exists()
    sweep(tmp_path, deep=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]
    assert (tmp_path / "sub").is_dir()


def test_what_a_living_process_writes_is_not_swept(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from insid3.storage import text_stream\n"
        "with text_stream(Path(sys.argv[1])) as file:\n"
        "    print('writing', flush=True); sys.stdin.read(1); file.write('whole')"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a.txt")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"writing\n"
        sweep(tmp_path, deep=True)
        write_text(tmp_path / "b.txt", "mine")
        other.communicate(b"x")
    assert other.returncode == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "whole", "b.txt": "mine"}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
    assert len(list(tmp_path.iterdir())) == 3
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="sweeps without locks")
def test_sweeping_takes_nothing_from_those_who_begin_to_write(tmp_path: Path) -> None:
    written = threading.Event()

    def others() -> None:
        while not written.is_set():
            sweep(tmp_path)

    sweepers = [threading.Thread(target=others) for _ in range(3)]
    for sweeper in sweepers:
        sweeper.start()
    try:
        for i in range(600):
            write_text(tmp_path / "a.txt", str(i))
    finally:
        written.set()
        for sweeper in sweepers:
            sweeper.join()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "599"}


def test_cache_dir_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("INSID3_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == Path("/home/ada/.cache/insid3")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_dir() == Path("/var/cache/insid3")
    monkeypatch.setenv("INSID3_CACHE", "~/weights")
    assert cache_dir() == Path("/home/ada/weights")
