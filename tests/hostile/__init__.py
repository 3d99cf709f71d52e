"""Broken and hostile input of every kind, and the harness that reads it in a process of its own.

    cd tests; python -m hostile KIND --seed 7 --count 1000      every kind without KIND
    cd tests; python -m hostile KIND --seed 7 --only 153        one attempt, here, with its traceback

A kind is a module of this package with

    KIND = "videos"
    def attempts(folder: Path, seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]: ...

or with several such functions in `KINDS`, by name,
which yields what was done to an input, and a call of the package's public code that reads it. What it yields depends on
the seed alone. The call may return whatever it likes or raise an `Insid3Error`; it may itself assert more. Everything
else is a finding: another exception, a message that is not for users, a warning of numpy's, a crash, more than two
gigabytes above what was loaded when the first attempt was made, more than a minute.
"""

import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

GROWTH = 2 * 2**30  #: bytes of address space for a worker, above what it has loaded
SECONDS = 60.0  #: for one attempt
COUNT, SEED = 500, 2026  #: of the long tests

_BEGINNING = "the first attempt cannot be made"
Attempt = tuple[str, Callable[[], object]]


@dataclass(frozen=True)
class Finding:
    """A result that must not occur, and how to reproduce it.

    Attributes:
        attempt: number of the attempt.
        did: what was done to the input.
        came: what came of the attempt.
    """

    kind: str
    seed: int
    attempt: int
    did: str
    came: str

    def __str__(self) -> str:
        return f"{self.kind} --seed {self.seed} --only {self.attempt} ({self.did}): {self.came}"


@dataclass
class Account:
    """Count what came of a kind's attempts.

    Attributes:
        read: attempts that were accepted.
        refused: attempts that were refused in words.
        findings: all others.
        slowest: the seconds of the slowest attempt, and which it is.
    """

    read: int = 0
    refused: int = 0
    findings: list[Finding] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")

    def __str__(self) -> str:
        return (
            f"{self.read} read, {self.refused} refused, {len(self.findings)} findings, "
            f"slowest {self.slowest[0]:.1f} s ({self.slowest[1]})"
        )

    def explain(self) -> str:
        """Return each sort of finding once, with the number of such findings."""
        sorts = Counter(finding.came.split("\n")[0] for finding in self.findings)
        first = {finding.came.split("\n")[0]: finding for finding in reversed(self.findings)}
        return "\n".join(f"{count} x {first[came]}" for came, count in sorts.most_common())


def kinds() -> dict[str, Callable[[Path, int, int], Iterator[Attempt]]]:
    """Return the functions that make the attempts, by the kind's name."""
    found: dict[str, Callable[[Path, int, int], Iterator[Attempt]]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        found |= getattr(module, "KINDS", {module.KIND: module.attempts} if hasattr(module, "KIND") else {})
    return found


def made(kind: str, folder: Path, seed: int, count: int) -> Iterator[Attempt]:
    """Return the attempts of a kind; their inputs are written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return iter(kinds()[kind](folder, seed, count))


def run(kind: str, folder: Path, seed: int = SEED, count: int = COUNT) -> Account:
    """Make every attempt of a kind in worker processes, one after the other: a new one after a crash or a hang."""
    account, start = Account(), 0
    while start < count:
        with _Worker(kind, folder, seed, count, start) as worker:
            start = worker.work(account)
    return account


def own() -> dict[str, str]:
    """Return the environment of a worker: threads and their arenas take address space that no input asked for."""
    paths = os.pathsep.join([str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    few = {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**os.environ, **few, "PYTHONPATH": paths}


class _Worker:
    """A process that makes the attempts from `start` on, see worker.py."""

    def __init__(self, kind: str, folder: Path, seed: int, count: int, start: int) -> None:
        self.kind, self.seed, self.count, self.at = kind, seed, count, start
        self._said = folder / f"{kind}-{seed}-{start}.err"
        self._folder = folder / f"{kind}-{seed}-{start}"
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "_Worker":
        command = [sys.executable, "-m", f"{__name__}.worker", self.kind, str(self._folder)]
        with self._said.open("wb") as errors:
            self._process = subprocess.Popen(
                [*command, *map(str, (self.seed, self.count, self.at))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=own(),
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        cast(IO[bytes], self._process.stdout).close()

    def work(self, account: Account) -> int:
        """Count results; return the number of the attempt with which the next worker begins."""
        did, lines = _BEGINNING, _Lines(cast(IO[bytes], self._process.stdout))
        while True:
            began = time.monotonic()
            line = lines.next(SECONDS if did != _BEGINNING else 10 * SECONDS)
            took = time.monotonic() - began
            if line is None:
                self._process.send_signal(signal.SIGABRT)  # faulthandler writes where it is
                self._process.wait(SECONDS)
                self._add(account, did, f"takes more than {SECONDS:.0f} s{self._stack()}")
                return self.at + 1
            if not line:
                self._process.wait(SECONDS)
                if self._process.returncode == 0:
                    return self.count
                self._add(account, did, f"the process ended with {self._process.returncode}{self._stack()}")
                return self.count if did == _BEGINNING else self.at + 1
            told: dict[str, Any] = json.loads(line)
            if "did" in told:
                self.at, did = told["at"], told["did"]
                continue
            if took > account.slowest[0]:
                account.slowest = (took, f"{self.at}: {did}")
            if told["came"] in ("read", "refused"):
                setattr(account, told["came"], getattr(account, told["came"]) + 1)
            else:
                self._add(account, did, told["came"])

    def _add(self, account: Account, did: str, came: str) -> None:
        account.findings.append(Finding(self.kind, self.seed, self.at, did, came))

    def _stack(self) -> str:
        lines = self._said.read_text(errors="replace").splitlines()
        ours = next((line.strip() for line in lines if "/insid3/" in line), "")
        return f" in {ours}\n" + "\n".join(lines[-30:]) if lines else ""


class _Lines:
    """Lines from a pipe, waited for with a limit."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._rest = pipe, b""

    def next(self, seconds: float) -> bytes | None:
        """Return the next line; "" at the end of the pipe, None if no line came in time."""
        until = time.monotonic() + seconds
        while b"\n" not in self._rest:
            if not select.select([self._pipe], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            some = os.read(self._pipe.fileno(), 2**16)
            if not some:
                return b""
            self._rest += some
        line, self._rest = self._rest.split(b"\n", 1)
        return line
