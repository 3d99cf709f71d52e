"""The result of a target, as results.jsonl holds it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from insid3.imaging.components import Instance
    from insid3.label_map import Label

DOUBTFUL = 0.5  # hardly any correct mask has a lower score (docs/annotate.md)


@dataclass(frozen=True)
class Result:
    """Hold one line of results.jsonl.

    Attributes:
        target: path of the target as it was given; all other paths are relative to the output folder.
        mask: path of the mask, or of the index of several concepts; None with overlapping masks, see `concepts`.
        score: score of the mask; of several concepts the lowest score of those that were found, else the highest.
        area: number of marked pixels.
        reason: reason why nothing is marked, why the mask is known, or why an edge was not refined as asked.
        seconds: time for reading, encoding, marking and writing; targets that are encoded at once share that time.
        error: reason why there is no mask; None if there is one.
        made_with: digest of the concepts and the helper targets.
        concepts: name -> score, area and reason of each of several concepts, and the path of its mask if masks overlap.
        instances: concept (name), box (x0, y0, x1, y1), area and score of each connected part, if asked for.
        corrected: digest of the correction that became the mask; None for a mask that was found.
        dropped: number and pixels of the parts that were smaller than `min_area`; None if there were none.
        remarks: changes that were made to the picture when it was read, each as "kind: detail".
        remembered: names of the concepts for which a video remembers this frame.
        known: names of the concepts of which the target is a reference or a negative, so that their masks were known.
    """

    target: str
    mask: str | None = None
    score: float | None = None
    area: int | None = None
    reason: str | None = None
    seconds: float = 0.0
    error: str | None = None
    made_with: str | None = field(default=None)
    concepts: dict[str, dict[str, Any]] | None = None
    instances: list[dict[str, Any]] | None = None
    corrected: str | None = None
    dropped: dict[str, int] | None = None
    remarks: list[str] | None = None
    remembered: list[str] | None = None
    known: list[str] | None = None

    @property
    def is_doubtful(self) -> bool:
        """True if a mask with a low score was found."""
        return bool(self.area) and self.score is not None and self.score < DOUBTFUL

    def line(self) -> dict[str, Any]:
        """Return the line as JSON: the first seven values, and those of the rest that are not None."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for i, (name, value) in enumerate(values.items()) if i < 7 or value is not None}


def instance_entries(parts: "Sequence[Instance]", labels: "Sequence[Label]") -> list[dict[str, Any]]:
    """Return the connected parts of masks as `Result.instances` holds them."""
    return [
        {"concept": labels[p.concept].name, "box": list(p.box), "area": p.area, "score": round(p.score, 4)}
        for p in parts
    ]
