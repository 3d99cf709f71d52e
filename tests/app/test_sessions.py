"""Who is remembered, for how long, and how much of it."""

import threading
import time
from functools import partial
from pathlib import Path

import pytest

from insid3.app.canvas import Strokes
from insid3.app.files import Files
from insid3.app.sessions import BusyError, Kept, Sessions, Turns
from insid3.errors import ImageError


class Visitor:
    def __init__(self, folder: Path) -> None:
        self.folder, self.closed = folder, False
        (folder / "file").write_text("mine")

    def close(self) -> None:
        self.closed = True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(tmp_path: Path, clock: Clock) -> "Sessions[Visitor]":
    return Sessions(Visitor, tmp_path / "sessions", most=3, idle=100, patience=10, clock=clock)


def test_everybody_has_their_own(sessions: "Sessions[Visitor]") -> None:
    anna, ben = sessions.of("anna"), sessions.of("ben")
    assert anna is not ben
    assert anna.folder != ben.folder
    assert "anna" not in str(anna.folder)  # nobody can guess it
    assert sessions.of("anna") is anna
    assert sessions.of(None).folder not in (anna.folder, ben.folder)


def test_the_idle_are_forgotten(sessions: "Sessions[Visitor]", clock: Clock) -> None:
    anna, ben = sessions.of("anna"), sessions.of("ben")
    clock.now = 60
    sessions.of("anna")
    clock.now = 120
    sessions.sweep()
    assert ben.closed
    assert not ben.folder.exists()
    assert not anna.closed
    assert sessions.of("anna") is anna
    sessions.forget("anna")
    sessions.forget("nobody")
    assert anna.closed
    assert not anna.folder.exists()
    assert len(sessions) == 0


def test_what_is_left_of_the_closed_goes(sessions: "Sessions[Visitor]") -> None:
    anna, ben = sessions.of("anna"), sessions.of("ben")
    sessions.forget("anna")
    anna.folder.mkdir()
    (anna.folder / "late").write_text("the picture that was in hand")
    sessions.tidy()
    assert not anna.folder.exists()
    assert (ben.folder / "file").exists()


def test_too_many_at_once(sessions: "Sessions[Visitor]", clock: Clock) -> None:
    first = sessions.of("a")
    for name in "bc":
        sessions.of(name)
    with pytest.raises(BusyError, match="busy: 3 pages are open"):
        sessions.of("d")
    sessions.of("a")  # who is there stays
    clock.now = 11
    sessions.of("d")  # in the place of the longest idle
    assert len(sessions) == 3
    assert sessions.of("a") is first
    assert first.folder.exists()


def test_what_is_kept_is_bounded() -> None:
    kept, made = Kept(100), []

    def make(value: int) -> "tuple[int, int]":
        made.append(value)
        return value, 40

    owners = [Path("a"), Path("b")]
    for value in (1, 2, 1, 3, 1):
        assert kept.get(owners[0], value, partial(make, value)) == value
    assert made == [1, 2, 3]  # 2 had to go for 3, for 1 was asked for later
    assert kept.size == 80
    assert kept.get(owners[1], 1, lambda: (-1, 40)) == -1  # somebody else's
    assert kept.of(owners[1]) == [-1]
    kept.forget(owners[1])
    assert kept.of(owners[1]) == []
    kept.get(owners[0], "large", lambda: (0, 1000))
    assert kept.size == 1000  # it alone
    kept.forget(owners[0])
    assert kept.size == 0


def test_kept_by_many_threads() -> None:
    kept = Kept(500)

    def ask(owner: Path) -> None:
        for i in range(500):
            assert kept.get(owner, i % 7, lambda: ((owner, i % 7), 10)) == (owner, i % 7)  # noqa: B023

    threads = [threading.Thread(target=ask, args=(Path(str(i)),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept.size <= 500


def test_turns_in_the_order_of_coming() -> None:
    turns, order, done = Turns(), list[int](), list[int]()

    def come(number: int) -> None:
        with turns, turns:  # again by the same thread
            order.append(number)
        done.append(number)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(10)]
    with turns:
        for i, thread in enumerate(threads):
            thread.start()
            while len(turns._waiting) <= i:
                time.sleep(0.001)
        with pytest.raises(ZeroDivisionError), turns:
            1 / 0  # noqa: B018
        assert not order
    for thread in threads:
        thread.join(5)
    assert order == list(range(10))
    assert sorted(done) == order


def test_nobody_waits_forever_for_who_always_asks_again() -> None:
    turns, over, greedy = Turns(), threading.Event(), [0]

    def ask() -> None:
        while not over.is_set():
            with turns:
                greedy[0] += 1
                time.sleep(0.001)

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(20):
        before = greedy[0]
        with turns:
            assert greedy[0] <= before + 2
    over.set()
    thread.join(5)


def test_strokes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strokes = Strokes()
    strokes.accept("background", None, "a", b"x" * 1000)
    strokes.accept("layer", "1000000000000", "a", b"x")
    strokes.accept("layer", "-1", "a", b"x")
    strokes.accept("layer", "null", "a", b"x")
    strokes.accept("layer", "0", "a", b"one")
    strokes.accept("layer", "0", "b", b"two")
    assert [file.read_bytes() for file in strokes.take({"id": "a"}, tmp_path)] == [b"one"]
    assert strokes.take({"id": "a"}, tmp_path) == []
    assert strokes.take(None, tmp_path) == []
    assert strokes.take({"id": None, "layers": [{"path": "/x.png"}, None]}, tmp_path) == [Path("/x.png")]
    monkeypatch.setattr("insid3.app.canvas._MOST_BYTES", 10)
    strokes.accept("layer", "0", "c", b"12345678")
    assert strokes.take({"id": "b"}, tmp_path) == []  # the oldest went
    assert len(strokes.take({"id": "c"}, tmp_path)) == 1


def test_files_outlive_the_upload_and_results_do_not_pile_up(tmp_path: Path) -> None:
    (tmp_path / "digest").mkdir()
    upload = tmp_path / "digest" / "cat.jpg"
    upload.write_text("a cat")
    (tmp_path / "own").mkdir()
    files = Files(tmp_path / "own")
    mine = files.own(upload)
    assert files.own(upload) == mine
    upload.unlink()
    assert files.own(upload).read_text() == "a cat"
    with pytest.raises(ImageError, match=r"^dog\.jpg is not there any more"):
        files.own(tmp_path / "other" / "dog.jpg")
    first = files.fresh("archive")
    made = [files.fresh("overlays", keep=3) for _ in range(5)]
    assert [folder.exists() for folder in (first, *made)] == [True, False, False, True, True, True]
