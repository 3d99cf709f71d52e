"""What came of an episode: one line of results.jsonl."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from insid3.batch.result import DOUBTFUL
from insid3.parsing import Flaw, as_dict, as_list, as_number, as_whole, json_of, parsing, read_text, shown

_MOST = 2**53  # pixels or points of a count


@dataclass(frozen=True)
class Outcome:
    """Say which episode, and what came out.

    Attributes:
        fingerprint: of the episode (`EpisodeList.fingerprints`).
        intersection, union: pixels, (background, foreground), that are not ignored.
        boundary: pixels of (intersection, union) of the masks' boundaries.
        iou: of the foreground, in per cent; for points the per cent of them within 0.1 of the threshold.
        found: (x, y) of the points, in pixels of the target, rounded.
        correct: how many of them are correct at each alpha.
        score, reason: the mask's own (`Segmentation`).
        seconds: reading, marking and scoring.
        files: sizes and times of all files that it was made from, as 16 hex digits.
        error: why there is nothing else.
        marked: pixels of the mask that was found, those to ignore left out.
        ignored: pixels, at the size at which the mask is scored, that count neither for it nor against it.
        left_out: polygons of fewer than three points, which its masks are made without.
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
        """Whether nothing was marked."""
        return self.marked == 0

    @property
    def is_doubtful(self) -> bool:
        """Whether something was marked whose score is low."""
        return bool(self.marked) and self.score is not None and self.score < DOUBTFUL

    @classmethod
    def of(cls, line: Any) -> "Outcome":
        """Return what `asdict` and JSON made of one.

        Raises:
            Flaw: it is something else.
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
    """Return the outcomes of a results.jsonl; neither a last line that was cut off counts, nor empty ones.

    Raises:
        DataError: it holds something else; names the line.
    """
    with parsing(file, "insid3 evaluate"):
        text, found = read_text(file) if file.exists() else "", []
        for number, line in enumerate(text[: text.rfind("\n") + 1].split("\n")[:-1], 1):
            if not line.strip():  # as editors leave them
                continue
            try:
                found.append(Outcome.of(json_of(line)))
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
