"""Results that somebody should look at, the least certain first."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from insid3.batch.lines import RESULTS, last_results, masks_of, read_settings
from insid3.errors import DataError

CORRECTED = "corrected"  #: folder, below the output, where corrections are looked for


@dataclass(frozen=True)
class Doubt:
    """A result that was computed, and how sure it is.

    Attributes:
        masks: its files, relative to the output folder; a correction has the same names below `corrected/`.
        corrected: whether they lie there.
    """

    target: str
    masks: tuple[str, ...]
    score: float
    area: int
    reason: str | None
    corrected: bool


def doubts(folder: Path) -> list[Doubt]:
    """All results of an output folder that are not corrections themselves, in the order in which to look at them: by
    score, the lowest first; pictures where nothing was found (their score is 0) before all.

    Raises:
        DataError: no results there, or damaged ones; names the line.
    """
    if not (folder / RESULTS).exists() and not any(folder.glob("results.*-of-*.jsonl")):
        raise DataError(f"{folder} holds no {RESULTS}: give the output folder of insid3 segment")
    found = []
    for line in last_results(folder):
        if line["error"] is None and not line.get("corrected"):
            masks = masks_of(line)
            done = all((folder / CORRECTED / mask).exists() for mask in masks)
            found.append(Doubt(line["target"], tuple(masks), line["score"] or 0.0, line["area"], line["reason"], done))
    return sorted(found, key=lambda doubt: (doubt.score, doubt.target))


def strays(folder: Path, known: Sequence[Doubt]) -> list[str]:
    """Files among the corrections that are named as no result is."""
    names = {mask for doubt in known for mask in doubt.masks}
    for line in last_results(folder):
        names.update(masks_of(line))
    there = (folder / CORRECTED).rglob("*") if (folder / CORRECTED).is_dir() else []
    files = sorted(file.relative_to(folder / CORRECTED).as_posix() for file in there if file.is_file())
    return [file for file in files if file not in names]


def again(folder: Path) -> str:
    """The command that learns from the corrections."""
    settings, corrected = (shlex.quote(str(folder / name)) for name in ("run.toml", CORRECTED))
    if "rethresholded" in read_settings(folder):
        raise DataError(f"{folder} was not made by insid3 segment: nothing there can learn from corrections")
    return f"insid3 segment --config {settings} --learn-from {corrected}"
