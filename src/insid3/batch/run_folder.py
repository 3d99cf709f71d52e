"""An output folder: its locks, and the result lines of all its runs."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from insid3.batch.lines import RESULTS, SETTINGS, last_results
from insid3.batch.sources import Shard
from insid3.errors import OutputError
from insid3.storage import sweep, write_bytes, write_lines, writing

_PATIENCE = 10  # seconds that a shard waits for others to begin


class RunFolder:
    """Lock an output folder for one run, or for one shard of a run. A lock ends with its process.

    Attributes:
        results: the file to which this run adds lines.
    """

    def __init__(self, path: Path, shard: Shard | None = None) -> None:
        """Lock the folder, and gather the lines of all finished shards in one file.

        Raises:
            OutputError: another run is at work on the folder, or the folder cannot be written to.
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
        """Yield the last line of each target; DataError if a line is no result."""
        return last_results(self.path)

    def replace_lines(self, lines: Iterator[dict[str, Any]]) -> None:
        """Replace the content of this run's results file."""
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
            writing(lambda: file.unlink(missing_ok=True))


def _whole_lines(file: Path) -> bytes:
    content = file.read_bytes() if file.exists() else b""
    return content[: content.rfind(b"\n") + 1]
