"""Results that somebody should look at, the least certain first."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from insid3.batch.folder import RESULTS, SETTINGS, last_lines, masks_of
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
        DataError: no results there, or damaged ones.
    """
    if not (folder / RESULTS).exists() and not any(folder.glob("results.*-of-*.jsonl")):
        raise DataError(f"{folder} holds no {RESULTS}: give the output folder of insid3 segment")
    found = []
    try:
        for line in last_lines(folder):
            if line["error"] is None and not line.get("corrected"):
                masks = masks_of(line)
                done = all((folder / CORRECTED / mask).exists() for mask in masks)
                score, area = float(line["score"] or 0), int(line["area"])
                found.append(Doubt(line["target"], tuple(masks), score, area, line["reason"], done))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"results of {folder} are damaged ({error!r:.100}): make them again") from error
    return sorted(found, key=lambda doubt: (doubt.score, doubt.target))


def strays(folder: Path, known: Sequence[Doubt]) -> list[str]:
    """Files among the corrections that are named as no result is."""
    names = {mask for doubt in known for mask in doubt.masks}
    for line in last_lines(folder):
        names.update(masks_of(line))
    there = (folder / CORRECTED).rglob("*") if (folder / CORRECTED).is_dir() else []
    files = sorted(file.relative_to(folder / CORRECTED).as_posix() for file in there if file.is_file())
    return [file for file in files if file not in names]


def again(folder: Path) -> str:
    """The command that learns from the corrections."""
    settings, corrected = (shlex.quote(str(folder / name)) for name in ("run.toml", CORRECTED))
    try:
        if "rethresholded" in json.loads((folder / SETTINGS).read_text("utf-8")):
            raise ValueError("rethresholded")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} was not made by insid3 segment: nothing there can learn ({error!r:.80})") from error
    return f"insid3 segment --config {settings} --learn-from {corrected}"
