"""Files that appear whole or not at all, and where the cache is."""

from pathlib import Path

import pytest

from insid3.storage import cache_dir, write_atomically


def test_write_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "c.txt", lambda path: path.write_text("hello"))
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "hello"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c.txt"]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_interrupted_write_keeps_the_old_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def half(path: Path) -> None:
        path.write_text("ne")
        raise error

    with pytest.raises(type(error)):
        write_atomically(target, half)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_cache_dir_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("INSID3_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == Path("/home/ada/.cache/insid3")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_dir() == Path("/var/cache/insid3")
    monkeypatch.setenv("INSID3_CACHE", "~/weights")
    assert cache_dir() == Path("/home/ada/weights")
