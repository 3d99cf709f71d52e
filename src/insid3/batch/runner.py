"""One concept over many targets; results appear one by one and a second run continues."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import insid3
from insid3.batch.sources import Target
from insid3.batch.writers import write_mask, write_overlay
from insid3.concept import Concept
from insid3.config import Config
from insid3.errors import ImageError, OutputError
from insid3.images import read_image
from insid3.pipeline import INSID3
from insid3.storage import append_line, differences, flat, read_lines, write_lines, write_text, writing

# An older version's run.json lacks newer settings, whose defaults do what it did.
_DEFAULTS = {f"config.{field.name}": field.default for field in fields(Config) if field.default is not MISSING}


@dataclass(frozen=True)
class Result:
    """One line of results.jsonl. Paths: `target` as it was given, `mask` relative to the output folder.

    Attributes:
        area: pixels of the mask.
        reason: why it is empty, or its edge not refined as asked.
        seconds: reading, marking and writing.
        error: why there is no mask; None where there is one.
    """

    target: str
    mask: str | None = None
    score: float | None = None
    area: int | None = None
    reason: str | None = None
    seconds: float = 0.0
    error: str | None = None


class Run:
    """An output folder: the settings it was made with, what is done, and what is still to do."""

    def __init__(
        self,
        model: INSID3,
        concept: Concept,
        targets: Sequence[Target],
        output: Path,
        *,
        overlays: bool = True,
        overwrite: bool = False,
    ) -> None:
        """Check concept and folder before anything runs.

        Raises:
            ConceptError: the model cannot use the concept.
            OutputError: it holds results of other settings, another concept, or files of somebody else.
        """
        model.check(concept)
        self.model, self.concept, self.output, self.overlays = model, concept, output, overlays
        self._settings_file, self._results_file = output / "run.json", output / "results.jsonl"
        settings = {
            "insid3": insid3.__version__,
            "concept": {"name": concept.name, "digest": concept.digest, "sources": concept.sources},
            "backbone": model.encoder.name,
            "weights_hash": model.encoder.weights_hash,
            "engine": getattr(model.encoder, "engine", ""),
            "dtype": str(getattr(model.encoder, "dtype", "")).removeprefix("torch."),
            "config": model.config.as_dict(),
            "folder": os.getcwd(),  # where relative targets in the results begin
        }
        if overwrite:
            writing(lambda: self._results_file.unlink(missing_ok=True))
        lines = [] if overwrite else self._lines_of(settings, targets)
        done = {os.path.abspath(line["target"]) for line in lines if line["error"] is None}
        self.todo = [t for t in targets if os.path.abspath(t.path) not in done or not self._whole(t)]
        self.done_before = len(targets) - len(self.todo)
        again = {os.path.abspath(target.path) for target in self.todo}
        kept = [line for line in lines if os.path.abspath(line["target"]) not in again]
        if lines:
            write_lines(self._results_file, kept)
        write_text(self._settings_file, json.dumps(settings, indent=1))

    def __iter__(self) -> Iterator[Result]:
        """Work through `todo`, yielding each result after its files and its line are on disk.

        Raises:
            OutputError: the folder cannot be written to; what is done is kept.
        """
        for target in self.todo:
            result = self._one(target)
            writing(partial(append_line, self._results_file, asdict(result)))
            yield result

    def _one(self, target: Target) -> Result:
        start = time.perf_counter()
        try:
            picture = read_image(target.path, self.model.config.max_pixels)
        except ImageError as error:
            return Result(str(target.path), error=str(error), seconds=round(time.perf_counter() - start, 3))
        found = self.model.segment(picture, self.concept)
        mask, overlay = self._files(target)
        writing(lambda: write_mask(mask, found.mask))
        if self.overlays:
            writing(lambda: write_overlay(overlay, picture, found.mask))
        return Result(
            target=str(target.path),
            mask=mask.relative_to(self.output).as_posix(),
            score=round(found.score, 4),
            area=int(found.mask.sum()),
            reason=found.reason,
            seconds=round(time.perf_counter() - start, 3),
        )

    def _files(self, target: Target) -> tuple[Path, Path]:
        return self.output / f"{target.name}.png", self.output / f"{target.name}_overlay.jpg"

    def _whole(self, target: Target) -> bool:
        mask, overlay = self._files(target)
        return mask.exists() and (overlay.exists() or not self.overlays)

    def _lines_of(self, settings: dict[str, Any], targets: Sequence[Target]) -> list[dict[str, Any]]:
        """The results of an earlier run with the same settings, a target's last one each, with targets as seen from
        here; a last line that was cut off does not count.

        Raises:
            OutputError: results of other settings or pictures, or files that are not this program's.
        """
        if not self._settings_file.exists():
            taken = [file for t in targets for file in (*self._files(t), self._results_file) if file.exists()]
            if taken:
                raise OutputError(
                    f"{taken[0]} exists and is not from insid3: use another output folder, or --overwrite to replace it"
                )
            return []
        try:
            theirs = json.loads(self._settings_file.read_text("utf-8"))
            before = _DEFAULTS | flat(theirs)
            last = {line["target"]: line for line in read_lines(self._results_file)}
            lines = [{**line, "mask": line["mask"], "error": line["error"]} for line in last.values()]
            folder = str(before.get("folder", os.getcwd()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{self.output} holds run.json or results.jsonl that cannot be read ({error!r}): use --overwrite or "
                "another output folder"
            ) from error
        ignored = ("insid3", "concept.name", "concept.sources", "config.max_pixels", "folder")
        if different := differences(before, flat(settings), ignored):
            raise OutputError(
                f"{self.output} holds results of another run ({', '.join(different)}): "
                "use another output folder, or --overwrite"
            )
        if folder != os.getcwd():
            lines = [{**line, "target": os.path.join(folder, line["target"])} for line in lines]
        owners = {line["mask"]: line["target"] for line in lines if line["mask"]}
        for target in targets:
            mask = f"{target.name}.png"
            if mask in owners and Path(owners[mask]).resolve() != target.path.resolve():
                raise OutputError(
                    f"{self.output / mask} holds the result of {owners[mask]}, {target.path} would replace it: "
                    "use another output folder, or --overwrite"
                )
        return lines
