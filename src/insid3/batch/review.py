"""Results for a person to check, the least certain first."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from insid3.batch.lines import RESULTS, last_results, masks_of, read_settings
from insid3.errors import DataError

CORRECTED = "corrected"  #: folder of the corrections, below the output folder


@dataclass(frozen=True)
class Doubt:
    """Hold a mask that was found, for a person to check.

    Attributes:
        masks: mask files below the output folder; a correction has the same names below `corrected/`.
        score: score of the mask, 0 if nothing was found.
        corrected: True if corrections of all masks exist.
    """

    target: str
    masks: tuple[str, ...]
    score: float
    area: int
    reason: str | None
    corrected: bool


def doubts(folder: Path) -> list[Doubt]:
    """Return the results that are no corrections, the lowest score first; DataError if they are missing or damaged."""
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
    """List the files among the corrections whose name is not the name of a result."""
    names = {mask for doubt in known for mask in doubt.masks}
    for line in last_results(folder):
        names.update(masks_of(line))
    there = (folder / CORRECTED).rglob("*") if (folder / CORRECTED).is_dir() else []
    files = sorted(file.relative_to(folder / CORRECTED).as_posix() for file in there if file.is_file())
    return [file for file in files if file not in names]


def learning_command(folder: Path) -> str:
    """Return the command that learns from the corrections; DataError if insid3 segment did not make the folder."""
    settings, corrected = (shlex.quote(str(folder / name)) for name in ("run.toml", CORRECTED))
    if "rethresholded" in read_settings(folder):
        raise DataError(f"{folder} was not made by insid3 segment: nothing there can learn from corrections")
    return f"insid3 segment --config {settings} --learn-from {corrected}"
