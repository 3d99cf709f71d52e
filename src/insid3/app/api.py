"""The page's two answers for programs, by name; for gradio's own client or anything that speaks HTTP."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from insid3.app.answers import told
from insid3.app.session import Session
from insid3.app.sessions import Sessions
from insid3.batch.writers import write_mask
from insid3.errors import ConfigError, Insid3Error
from insid3.model import INSID3
from insid3.storage import writing

AT_ONCE = 8  #: questions in hand, which take turns at the model picture by picture
MOST_SIZE = 1540  #: pixels a side of the encoder's square that a program may ask for
Segmented = tuple[list[str], list[dict[str, Any]]]


def add_api(sessions: "Sessions[Session]") -> None:
    """Add /segment and /match to the page in whose context this is called."""

    @told
    def segment(
        reference: str,
        mask: str,
        targets: list[str],
        request: gr.Request,
        size: float | None = None,
        tau: float | None = None,
        threshold: float | None = None,
    ) -> Segmented:
        """Mark in the targets what the mask marks in the reference. Returns the masks, PNG files with 255 where the
        concept is, and a list that tells of each target: its name, mask (the place among the files, or null), score,
        area in pixels, reason (why it is empty), error (why the target could not be used).
        """
        session = sessions.of(request.session_hash)
        given = {"size": None if size is None else int(size), "tau": tau, "threshold": threshold}
        files = [session.files.own(Path(file)) for file in (reference, mask)]
        return segment_files(session, files[0], files[1], [*map(Path, targets)], **given)

    @told
    def match(reference: str, target: str, points_json: str, request: gr.Request) -> list[dict[str, Any]]:
        """Find points of the reference, "[[x, y], ...]" in its pixels, in the target. Returns a list that tells
        of each: point, x and y in pixels of the target, similarity.
        """
        session = sessions.of(request.session_hash)
        return match_files(session, session.files.own(Path(reference)), session.files.own(Path(target)), points_json)

    with gr.Group(visible=False):
        pictures = [gr.File(label="reference"), gr.File(label="mask"), gr.File(label="targets", file_count="multiple")]
        numbers = [gr.Number(label=label, value=None) for label in ("size", "tau", "threshold")]
        masks, rows = gr.File(label="masks", file_count="multiple"), gr.JSON(label="results")
        gr.Button("segment").click(segment, [*pictures, *numbers], [masks, rows], api_name="segment")
        pair, points = [gr.File(label="reference"), gr.File(label="target")], gr.Textbox(label="points_json")
        gr.Button("match").click(match, [*pair, points], gr.JSON(label="matches"), api_name="match")


def segment_files(session: Session, reference: Path, mask: Path, targets: list[Path], **settings: Any) -> Segmented:
    """The files of the masks, and a line for each target; one that cannot be used is told of and the rest goes on.

    Raises:
        ImageError, MaskError: the reference or its mask cannot be used.
        ConfigError: a setting that does not exist or fit.
    """
    model: INSID3 = session.model.but(**settings)
    if model.config.size > max(MOST_SIZE, session.model.config.size):
        raise ConfigError(f"size {model.config.size} is more than this server allows ({MOST_SIZE})")
    features, same = session.features, model.config.size == session.model.config.size
    with features.using(mask), features.using(reference):
        concept = model.redraw(features.whole(reference), mask) if same else model.concept(reference, mask)
    # A client may have all its questions in hand at once: none may delete the masks of another.
    folder, files, rows = session.files.fresh("masks", keep=2 * AT_ONCE), [], []
    for i, given in enumerate(targets):
        row: dict[str, Any] = {"target": given.name, "mask": None}
        row |= {"score": None, "area": 0, "reason": None, "error": None}
        try:
            path = session.files.own(given)
            with features.using(path):
                result = model.segment(features.seen(path).encoded if same else path, concept)
            file = folder / f"{i:03d}_{path.stem}.png"
            writing(partial(write_mask, file, result.mask))
            files.append(str(file))
            row |= {"mask": len(files) - 1, "score": round(result.score, 4), "area": int(result.mask.sum())}
            row["reason"] = result.reason
        except Insid3Error as error:
            row["error"] = str(error)
        rows.append(row)
    return files, rows


def match_files(session: Session, reference: Path, target: Path, points_json: str) -> list[dict[str, Any]]:
    """Of each point where it is in the target.

    Raises:
        ImageError: a picture cannot be used.
        ConfigError: points of another form, or outside the reference.
    """
    try:
        points = json.loads(points_json)
    except ValueError as error:
        raise ConfigError(f"points_json must look like [[417, 180], [300, 220]] ({error})") from error
    features = session.features
    with features.using(reference):
        concept = features.reference(reference).concept
    with features.using(target):
        found = session.model.match(features.seen_to_match(target).encoded, concept, points)
    return [
        {"point": point, "x": round(float(x), 2), "y": round(float(y), 2), "similarity": round(float(similarity), 4)}
        for point, (x, y), similarity in zip(points, found.xy, found.similarity, strict=True)
    ]
