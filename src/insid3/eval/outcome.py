"""The outcome of an episode: one line of results.jsonl."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from insid3.batch.result import DOUBTFUL
from insid3.checks.parsing import Flaw, as_dict, as_list, as_number, as_whole, json_of, parsing, read_text, shown

_MOST = 2**53  # pixels or points in a count


@dataclass(frozen=True)
class Outcome:
    """The outcome of one episode.

    Attributes:
        fingerprint: fingerprint of the episode (`EpisodeList.fingerprints`).
        intersection, union: pixels that are not ignored, (background, foreground).
        boundary: pixels of the masks' boundaries, (intersection, union).
        iou: IoU of the foreground in per cent; for points, the per cent within 0.1 of the threshold.
        found: (x, y) of the points, in pixels of the target, rounded.
        correct: number of correct points at each alpha.
        score, reason: score and reason of the mask (`Segmentation`).
        seconds: time for reading, marking and scoring.
        files: hash of the sizes and times of all files that were used, 16 hex digits.
        error: message of an episode that failed; all results are then missing.
        marked: pixels of the found mask that are not ignored.
        ignored: ignored pixels, at the size at which the mask is scored.
        left_out: polygons of fewer than three points, which the masks are made without.
    """

    id: str
    fingerprint: str
    set: str
    fold: int
    cls: str
    intersection: tuple[int, int] | None = None
    union: tuple[int, int] | None = None
    boundary: tuple[int, int] | None = None
    iou: float | None = None
    found: tuple[tuple[float, float], ...] | None = None
    correct: tuple[int, ...] | None = None
    score: float | None = None
    reason: str | None = None
    seconds: float = 0.0
    files: str = ""
    error: str | None = None
    marked: int | None = None
    ignored: int = 0
    left_out: int = 0

    @property
    def is_empty(self) -> bool:
        """Tell whether the mask is empty."""
        return self.marked == 0

    @property
    def is_doubtful(self) -> bool:
        """Tell whether the mask is not empty and has a low score."""
        return bool(self.marked) and self.score is not None and self.score < DOUBTFUL

    @classmethod
    def from_line(cls, line: Any) -> "Outcome":
        """Return the outcome that a line of results.jsonl, decoded from JSON, describes.

        Raises:
            Flaw: `line` is not the dict of an outcome.
        """
        values = dict(as_dict(line, "a line"))
        if unknown := values.keys() - {field.name for field in fields(cls)}:
            raise Flaw(f"has {shown(min(unknown))}, which no outcome of an episode has")
        for name in ("id", "fingerprint", "set", "cls", "files", "reason", "error"):
            optional = name in ("reason", "error") or (name == "files" and name not in values)
            if not isinstance(values.get(name), str) and not (optional and values.get(name) is None):
                raise Flaw(f"has {shown(values.get(name))} as {name}, not text")
        for name, length in (("intersection", 2), ("union", 2), ("boundary", 2), ("correct", None)):
            if values.get(name) is not None:
                values[name] = tuple(_count(number, name) for number in _items(values[name], name))
                if length not in (None, len(values[name])):
                    raise Flaw(f"has {len(values[name])} numbers as {name}, not {length}")
        for name in ("iou", "score", "seconds"):
            if values.get(name) is not None:
                values[name] = as_number(values[name], name)
        for name in ("marked", "ignored", "left_out"):
            if values.get(name) is not None:
                values[name] = _count(values[name], name)
        values["fold"] = as_whole(values.get("fold"), "fold")
        if values.get("found") is not None:
            values["found"] = tuple(_point(point) for point in _items(values["found"], "found"))
        outcome = cls(**values)
        if outcome.error is None and outcome.iou is None:
            raise Flaw("has neither a result nor an error")
        if outcome.iou is not None and (outcome.intersection is None or outcome.union is None):
            if outcome.found is None or outcome.correct is None or len(outcome.correct) != 4:
                raise Flaw("has neither pixels nor points")
            if not outcome.found or max(outcome.correct) > len(outcome.found):
                raise Flaw("has more points that are correct than it has found")
        return outcome


def read_outcomes(file: Path) -> list[Outcome]:
    """Return the outcomes of a results.jsonl, without empty lines and a last line that was cut off.

    Raises:
        DataError: a line is not that of an outcome.
    """
    with parsing(file, "insid3 evaluate"):
        text, found = read_text(file) if file.exists() else "", []
        for number, line in enumerate(text[: text.rfind("\n") + 1].split("\n")[:-1], 1):
            if not line.strip():  # editors leave empty lines
                continue
            try:
                found.append(Outcome.from_line(json_of(line)))
            except Flaw as flaw:
                raise Flaw(f"{flaw}, in line {number}") from flaw
        return found


def _items(value: Any, what: str) -> list[Any]:
    return as_list(list(value) if isinstance(value, tuple) else value, what)


def _count(value: Any, what: str) -> int:
    number = as_whole(value, what)
    if not 0 <= number <= _MOST:
        raise Flaw(f"has {shown(value)} as {what}")
    return number


def _point(value: Any) -> tuple[float, float]:
    x, y = value if isinstance(value, list | tuple) and len(value) == 2 else (None, None)
    return as_number(x, "x of a point"), as_number(y, "y of a point")
