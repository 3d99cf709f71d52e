"""What the server keeps for each visitor, and for how long."""

import shutil
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar
from uuid import uuid4

from insid3.errors import Insid3Error


class BusyError(Insid3Error):
    """The server serves as many as it can."""


class Turns:
    """A lock that goes to those who wait in the order in which they came; who has it may take it again.

    `threading.RLock` knows no order: who lets go and asks again at once mostly wins, and others wait for long.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, threading.Lock]] = deque()

    def __enter__(self) -> None:
        me, turn = threading.get_ident(), threading.Lock()
        with self._guard:
            if self._owner in (None, me):
                self._owner, self._depth = me, self._depth + 1
                return
            turn.acquire()
            self._waiting.append((me, turn))
        turn.acquire()  # until it is released for this thread

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._guard:
            self._depth -= 1
            if self._depth:
                return
            self._owner = None
            if self._waiting:
                (self._owner, turn), self._depth = self._waiting.popleft(), 1
                turn.release()


class Kept:
    """Values that can be made again, by owner and key: the most recently used of all, up to so many bytes."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self._values: OrderedDict[tuple[Path, Hashable], tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, owner: Path, key: Hashable, make: Callable[[], tuple[Any, int]]) -> Any:
        """The value of a key; `make` gives it and its size in bytes where it is not kept."""
        with self._lock:
            if (owner, key) in self._values:
                self._values.move_to_end((owner, key))
                return self._values[owner, key][0]
        value, size = make()
        with self._lock:
            self._drop((owner, key))
            self._values[owner, key] = value, size
            self.size += size
            while self.size > self.limit and len(self._values) > 1:
                self._drop(next(iter(self._values)))
        return value

    def of(self, owner: Path) -> list[Any]:
        """All that is kept for somebody."""
        with self._lock:
            return [value for (whose, _), (value, _) in self._values.items() if whose == owner]

    def forget(self, owner: Path) -> None:
        """Drop all of somebody's."""
        with self._lock:
            for key in [key for key in self._values if key[0] == owner]:
                self._drop(key)

    def _drop(self, key: tuple[Path, Hashable]) -> None:
        if key in self._values:
            self.size -= self._values.pop(key)[1]


class Closing(Protocol):
    """What a session has to offer here."""

    folder: Path

    def close(self) -> None: ...


S = TypeVar("S", bound=Closing)


class Sessions(Generic[S]):
    """By the name that the browser gives each page; unguessable, and nobody else's.

    A session that nobody has asked for in `idle` seconds is closed and its folder deleted. When there are `most`, the
    longest idle makes room if it has rested for `patience` seconds.
    """

    def __init__(
        self,
        make: Callable[[Path], S],
        root: Path,
        most: int = 64,
        idle: float = 3600,
        patience: float = 300,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._root, self._clock = make, root, clock
        self._most, self._idle, self._patience = most, idle, patience
        self._open: OrderedDict[str, tuple[S, float]] = OrderedDict()  # longest idle first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def of(self, name: str | None) -> S:
        """Somebody's session, made at first use.

        Raises:
            BusyError: there are too many others.
        """
        self.sweep()
        with self._lock:
            name = name or uuid4().hex
            if name not in self._open and len(self._open) >= self._most:
                oldest = next(iter(self._open))
                if self._clock() - self._open[oldest][1] < self._patience:
                    raise BusyError(f"the server is busy: {self._most} pages are open, try again in a few minutes")
                self._close(oldest)
            if name in self._open:
                session = self._open.pop(name)[0]
            else:
                folder = self._root / uuid4().hex
                folder.mkdir(parents=True)
                session = self._make(folder)
            self._open[name] = session, self._clock()
            return session

    def sweep(self) -> None:
        """Close those that have been idle for too long."""
        with self._lock:
            while self._open and self._clock() - next(iter(self._open.values()))[1] > self._idle:
                self._close(next(iter(self._open)))

    def tidy(self) -> None:
        """Delete what pictures in hand have left of sessions that were closed meanwhile."""
        with self._lock:
            known = {session.folder for session, _ in self._open.values()}
            for folder in set(self._root.glob("*")) - known:
                shutil.rmtree(folder, ignore_errors=True)

    def forget(self, name: str | None) -> None:
        """Close somebody's session, if there is one."""
        with self._lock:
            if name in self._open:
                self._close(str(name))

    def _close(self, name: str) -> None:
        session = self._open.pop(name)[0]
        session.close()
        shutil.rmtree(session.folder, ignore_errors=True)
