"""An output folder: who is at work on it, and lines of results that come from several runs."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from insid3.batch.lines import RESULTS as RESULTS
from insid3.batch.lines import SETTINGS as SETTINGS
from insid3.batch.lines import last_lines as last_lines
from insid3.batch.lines import last_results
from insid3.batch.sources import Shard
from insid3.errors import OutputError
from insid3.storage import sweep, write_bytes, write_lines, writing

_PATIENCE = 10  # seconds that a shard waits for others to begin


class Folder:
    """An output folder in the hands of one run, or one shard of it. Locks die with their process, however it ends.

    Attributes:
        results: file to which this run adds lines.
    """

    def __init__(self, path: Path, shard: Shard | None = None) -> None:
        """Lock it, and gather the lines of all runs that are not alive into one file.

        Raises:
            OutputError: another run is alive, or the folder cannot be written to.
        """
        self.path, self.settings = path, path / SETTINGS
        self.results = path / (f"results.{shard}.jsonl" if shard else RESULTS)
        self._locks = ExitStack()
        writing(lambda: path.mkdir(parents=True, exist_ok=True))
        try:
            with ExitStack() as briefly:
                whole = briefly if shard else self._locks
                self._lock(path / ".lock", whole, wait=_PATIENCE if shard else 0)
                if shard:
                    self._lock(path / f".lock.{shard}", self._locks)
                self._gather(shard)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._locks.close()

    def lines(self) -> Iterator[dict[str, Any]]:
        """The last line of each target; DataError where one is no result."""
        return last_results(self.path)

    def keep(self, lines: Iterator[dict[str, Any]]) -> None:
        """Put these lines in the place of what this run's file holds."""
        write_lines(self.results, lines)

    def _lock(self, file: Path, until: ExitStack, wait: float = 0) -> None:
        lock = FileLock(file)
        try:
            lock.acquire(timeout=wait)
        except Timeout as error:
            raise OutputError(
                f"another run is at work on {self.path} ({file.name}): "
                "wait for it, stop it, or use another output folder"
            ) from error
        except OSError as error:
            raise OutputError(f"cannot lock {file} ({error.strerror}): use a folder that you may write to") from error
        until.callback(lock.release)

    def _gather(self, shard: Shard | None) -> None:
        alive, ends = False, [(".lock.", ""), ("results.", ".jsonl")]
        names = {f.name[len(a) : len(f.name) - len(b)] for a, b in ends for f in self.path.glob(f"{a}*-of-*{b}")}
        for name in sorted(names):
            with ExitStack() as briefly:
                try:
                    if name != str(shard):
                        self._lock(self.path / f".lock.{name}", briefly)
                except OutputError:
                    if shard is None or not name.endswith(f"-of-{shard.count}"):
                        raise
                    alive = True
                    continue
                self._merge(self.path / f"results.{name}.jsonl")
        if not alive:
            sweep(self.path, deep=True)

    def _merge(self, file: Path) -> None:
        if file.exists():
            write_bytes(self.path / RESULTS, _whole_lines(self.path / RESULTS) + _whole_lines(file))
            _remove(file)


def _remove(file: Path) -> None:
    writing(lambda: file.unlink(missing_ok=True))


def _whole_lines(file: Path) -> bytes:
    content = file.read_bytes() if file.exists() else b""
    return content[: content.rfind(b"\n") + 1]
