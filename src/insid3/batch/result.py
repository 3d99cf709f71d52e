"""What is known of a target after it was marked."""

from dataclasses import dataclass, field, fields
from typing import Any

DOUBTFUL = 0.5  # a mask with a lower score should be looked at: hardly any that is right has one (docs/annotate.md)


@dataclass(frozen=True)
class Result:
    """One line of results.jsonl. Paths: `target` as it was given, others relative to the output folder.

    Attributes:
        mask: one concept's, or the index of several; None with overlapping masks, see `concepts`.
        score: of several concepts the lowest of those that were found, or else the highest.
        area: marked pixels.
        reason: why nothing is marked, the mask is known, or an edge not refined as asked.
        seconds: that reading, encoding, marking and writing took for this picture; of pictures that were encoded
            together, a share.
        error: why there is no mask; None where there is one.
        made_with: digest of the concepts.
        concepts: of several: name -> score, area, reason, and the mask of its own if masks overlap.
        instances: connected parts, where asked for: concept (name), box (x0, y0, x1, y1), area, score.
        corrected: digest of the correction that the mask is; None where it was computed.
        dropped: parts that were smaller than `min_area`, and their pixels; None where none was.
        remarks: what was done to the picture to read it, each beginning with its kind and a colon.
        remembered: concepts for which later frames of a video have this one as a further shot.
        known: concepts whose mask was not found: the picture is one that they were made from.
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
        """Whether something was marked whose score is low."""
        return bool(self.area) and self.score is not None and self.score < DOUBTFUL

    def line(self) -> dict[str, Any]:
        """What is written of it: the first seven always, the rest where there is something to say."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for i, (name, value) in enumerate(values.items()) if i < 7 or value is not None}
