"""Concepts over many targets; results appear one by one and a second run continues."""

import hashlib
import json
import os
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

import insid3
from insid3.batch.folder import Folder
from insid3.batch.formats.base import write_labels
from insid3.batch.learn import Correction
from insid3.batch.options import Options, indexed, placed
from insid3.batch.resume import earlier_lines
from insid3.batch.sources import Shard, Target
from insid3.batch.writers import write_heat, write_index, write_mask, write_overlay, write_scores
from insid3.concept import Concept
from insid3.encoded import Encoded
from insid3.errors import ImageError, OutputError
from insid3.images import read_image
from insid3.instances import Instance, split
from insid3.labels import Label, LabelMap, numbered
from insid3.pipeline import INSID3
from insid3.storage import append_line, write_text, writing

_DECODERS = 2  # threads; one picture more than these wait decoded


@dataclass(frozen=True)
class Result:
    """One line of results.jsonl. Paths: `target` as it was given, others relative to the output folder.

    Attributes:
        mask: one concept's, or the index of several; None with overlapping masks, see `concepts`.
        score: of several concepts the lowest of those that were found.
        area: marked pixels.
        reason: why nothing is marked, or an edge not refined as asked.
        seconds: reading, marking and writing.
        error: why there is no mask; None where there is one.
        made_with: digest of the concepts.
        concepts: of several: name -> score, area, reason, and the mask of its own if masks overlap.
        instances: connected parts, where asked for: concept (name), box (x0, y0, x1, y1), area, score.
        corrected: digest of the correction that the mask is; None where it was computed.
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

    def line(self) -> dict[str, Any]:
        """What is written of it: the first seven always, the rest where there is something to say."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for i, (name, value) in enumerate(values.items()) if i < 7 or value is not None}


@dataclass(frozen=True)
class _Loaded:
    target: Target
    start: float
    picture: UInt8[np.ndarray, "H W 3"]
    window: tuple[slice, slice]
    ignored: Bool[np.ndarray, "H W"] | None


class Run:
    """An output folder: the settings it was made with, what is done, and what is still to do."""

    def __init__(
        self,
        model: INSID3,
        concepts: Concept | Sequence[Concept],
        targets: Sequence[Target],
        output: Path,
        options: Options | None = None,
        *,
        overwrite: bool = False,
        shard: Shard | None = None,
        corrections: Mapping[str, Correction] | None = None,
        learned: Sequence[Concept] | None = None,
    ) -> None:
        """Check concepts and folder before anything runs, and lock the folder until the last target or `close`.

        Args:
            targets: of all shards.
            corrections: by the targets' names; they become their targets' results.
            learned: the concepts with the corrections as further shots; the others' targets are marked with these.

        Raises:
            ConceptError: the model cannot use a concept.
            ConfigError: two concepts have the same name or id.
            OutputError: it holds results of other settings, other concepts, or files of somebody else; or another run
                is at work on it.
        """
        given = [concepts] if isinstance(concepts, Concept) else list(concepts)
        self.model, self.output, self.options = model, output, options or Options()
        self.concepts = list(learned or given)
        for concept in (*given, *self.concepts):
            model.check(concept)
        self.labels = numbered(given)
        self.slugs = slugs(self.labels)
        self.corrections = corrections or {}
        self.stop = False  #: set it to end after the target in hand
        mine = shard.of(targets) if shard else targets
        if shard:  # they may begin in different folders
            mine = [Target(Path(os.path.abspath(target.path)), target.name) for target in mine]
        self._check_names(targets)
        self._untaught, self._made_with = _digest(given), _digest(self.concepts)
        settings = self._settings_of(given)
        self.folder = Folder(output, shard)
        try:
            if overwrite:
                writing(partial(self.folder.results.unlink, missing_ok=True))
            lines = [] if overwrite else earlier_lines(self.folder, settings, targets, self._files)
            done = {os.path.abspath(line["target"]) for line in lines if self._is_done(line)}
            self.todo = [t for t in mine if os.path.abspath(t.path) not in done or not self._whole(t)]
            self.done_before = len(mine) - len(self.todo)
            again = {os.path.abspath(target.path) for target in self.todo}
            if shard is None and self.folder.results.exists():  # without failures, and a line that was cut off
                self.folder.keep(line for line in lines if os.path.abspath(line["target"]) not in again)
            write_text(self.folder.settings, json.dumps(settings, indent=1))
            write_labels(output, self.labels)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others at the folder."""
        self.folder.close()

    def __iter__(self) -> Iterator[Result]:
        """Work through `todo`, yielding each result after its files and its line are on disk.

        Raises:
            OutputError: the folder cannot be written to; what is done is kept.
        """
        try:
            with ThreadPoolExecutor(_DECODERS) as threads:
                try:
                    yield from self._results(threads)
                finally:
                    threads.shutdown(wait=True, cancel_futures=True)
        finally:
            self.close()

    def _results(self, threads: ThreadPoolExecutor) -> Iterator[Result]:
        left, ahead = iter(self.todo), deque[Future[_Loaded | Result]]()
        while not self.stop:
            wanted = self.options.batch + _DECODERS + 1 - len(ahead)
            ahead.extend(threads.submit(self._load, target) for target in islice(left, wanted))
            if not ahead:
                return
            group = [ahead.popleft().result() for _ in range(min(self.options.batch, len(ahead)))]
            readable = [one for one in group if isinstance(one, _Loaded) and one.target.name not in self.corrections]
            encoded = iter(self.model.encode_many([one.picture[one.window] for one in readable]) if readable else [])
            for one in group:
                if self.stop:
                    return
                if isinstance(one, _Loaded):
                    correction = self.corrections.get(one.target.name)
                    one = self._corrected(one, correction) if correction else self._marked(one, next(encoded))
                writing(partial(append_line, self.folder.results, one.line()))
                yield one

    def _load(self, target: Target) -> _Loaded | Result:
        start = time.perf_counter()
        try:
            picture = read_image(target.path, self.model.config.max_pixels)
            window = self.options.window(picture.shape[:2], str(target.path))
            ignored = self.options.ignored(target.name, picture.shape[:2], self.model.config.max_pixels)
        except ImageError as error:
            return Result(str(target.path), error=str(error), seconds=_since(start))
        return _Loaded(target, start, picture, window, ignored)

    def _marked(self, loaded: _Loaded, encoded: Encoded) -> Result:
        options, size = self.options, loaded.picture.shape[:2]
        found = self.model.label(encoded, self.concepts, overlap=options.overlap, margin=options.margin)
        masks = options.finish(found.masks, size, loaded.window, loaded.ignored)
        parts: list[Instance] = []
        if options.instances:
            for i, (mask, result) in enumerate(zip(masks, found.results, strict=True)):
                parts += split(mask, placed(result.similarity_at(), size, loaded.window, 0) if mask.any() else None, i)
        self._write(loaded, masks, parts)
        for i, result in enumerate(found.results):
            if options.heat:
                heat = placed(result.similarity_at(), size, loaded.window, 0)
                writing(partial(write_heat, self._file(loaded.target, "_heat.jpg", i), loaded.picture, heat))
            if options.scores:
                scores = placed(result.scores, size, loaded.window, -1)
                file = self._file(loaded.target, f"_score.{options.scores}", i)
                writing(partial(write_scores, file, scores))
        return self._result(loaded, found, masks, parts)

    def _corrected(self, loaded: _Loaded, correction: Correction) -> Result:
        start = time.perf_counter()
        try:
            masks = correction.masks(loaded.picture.shape[:2], self.labels, self.model.config.max_pixels)
        except ImageError as error:
            return Result(str(loaded.target.path), error=str(error), seconds=_since(start))
        parts = (
            [part for i, mask in enumerate(masks) for part in split(mask, None, i)] if self.options.instances else []
        )
        self._write(loaded, masks, parts)
        return self._result(loaded, None, masks, parts, correction.digest)

    def _write(self, loaded: _Loaded, masks: Sequence[Bool[np.ndarray, "H W"]], parts: Sequence[Instance]) -> None:
        colours = [label.colour for label in self.labels]
        if len(masks) > 1 and self.options.overlap == "best":
            writing(partial(write_index, self._file(loaded.target, ".png"), indexed(masks), colours))
        else:
            for i, mask in enumerate(masks):
                writing(partial(write_mask, self._file(loaded.target, ".png", i), mask))
        if self.options.overlays:
            boxes, overlay = [part.box for part in parts], self._file(loaded.target, "_overlay.jpg")
            writing(partial(write_overlay, overlay, loaded.picture, masks, colours, boxes))

    def _result(
        self,
        loaded: _Loaded,
        found: LabelMap | None,
        masks: Sequence[Bool[np.ndarray, "H W"]],
        parts: Sequence[Instance],
        corrected: str | None = None,
    ) -> Result:
        one, apart = len(masks) == 1, len(masks) > 1 and self.options.overlap == "all"
        told: dict[str, dict[str, Any]] = {}
        for i, (label, mask) in enumerate(zip(self.labels, masks, strict=True)):
            area, reason, score = int(mask.sum()), None if mask.any() else "not in the correction", float(mask.any())
            if found is not None:
                score, reason = found.results[i].score, found.results[i].reason
                if not area and not reason:
                    score, reason = 0.0, "all that was found is another concept's, too small or ignored"
            told[label.name] = {"score": round(score, 4), "area": area, "reason": reason}
            if apart:
                told[label.name]["mask"] = self._file(loaded.target, ".png", i).relative_to(self.output).as_posix()
        present = [entry for entry in told.values() if entry["area"]]
        reasons = {name: entry["reason"] for name, entry in told.items() if entry["reason"]}
        several = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) if not present else None
        instances = [
            {"concept": self.labels[p.concept].name, "box": list(p.box), "area": p.area, "score": round(p.score, 4)}
            for p in parts
        ]
        return Result(
            target=str(loaded.target.path),
            mask=None if apart else f"{loaded.target.name}.png",
            score=min((entry["score"] for entry in present), default=0.0),
            area=sum(entry["area"] for entry in told.values()),
            reason=next(iter(reasons.values()), None) if one else several,
            seconds=_since(loaded.start),
            made_with=self._made_with,
            concepts=None if one else told,
            instances=instances if self.options.instances else None,
            corrected=corrected,
        )

    def _file(self, target: Target, ending: str, concept: int | None = None) -> Path:
        apart = concept is not None and len(self.labels) > 1
        return self.output / f"{target.name}{f'.{self.slugs[concept]}' if apart else ''}{ending}"  # type: ignore[index]

    def _files(self, target: Target) -> list[Path]:
        """All that a target's result consists of; a correction has neither heat nor scores."""
        options, each = self.options, range(len(self.labels))
        masks = each if options.overlap == "all" else [None]
        files = [
            *(self._file(target, ".png", i) for i in masks),
            *([self._file(target, "_overlay.jpg")] if options.overlays else []),
        ]
        if target.name in self.corrections:
            return files
        return [
            *files,
            *(self._file(target, "_heat.jpg", i) for i in each if options.heat),
            *(self._file(target, f"_score.{options.scores}", i) for i in each if options.scores),
        ]

    def _whole(self, target: Target) -> bool:
        return all(file.exists() for file in self._files(target))

    def _is_done(self, line: Mapping[str, Any]) -> bool:
        if line["error"] is not None:
            return False
        correction = self.corrections.get(self._names.get(os.path.abspath(line["target"]), ""))
        if correction is not None or line.get("corrected"):
            return correction is not None and line.get("corrected") == correction.digest
        return line.get("made_with", self._untaught) == self._made_with  # older versions could not learn

    def _check_names(self, targets: Sequence[Target]) -> None:
        self._names = {os.path.abspath(target.path): target.name for target in targets}
        names = set(self._names.values())
        if len(self.labels) == 1 and self.options.scores != "png":
            return  # nothing but the masks is called .png
        for target in targets:
            for file in self._files(target):
                other = file.relative_to(self.output).with_suffix("").as_posix()
                if file.suffix == ".png" and other != target.name and other in names:
                    raise OutputError(f"{file} would be a result of {target.path} and the mask of the target {other!r}")

    def _settings_of(self, given: Sequence[Concept]) -> dict[str, Any]:
        encoder, one = self.model.encoder, len(given) == 1
        told = [{"name": c.name, "digest": c.digest, "sources": c.sources} for c in given]
        return {
            "insid3": insid3.__version__,
            "concept": told[0] if one else {key: [entry[key] for entry in told] for key in told[0]},
            "backbone": encoder.name,
            "weights_hash": encoder.weights_hash,
            "engine": getattr(encoder, "engine", ""),
            "dtype": str(getattr(encoder, "dtype", "")).removeprefix("torch."),
            "config": self.model.config.as_dict(),
            "options": self.options.as_settings(),
            "scores": self.options.scores,
            "corrections": len(self.corrections),
            "folder": os.getcwd(),  # where relative targets in the results begin
        }


def _digest(concepts: Sequence[Concept]) -> str:
    return hashlib.sha256("".join(concept.digest for concept in concepts).encode()).hexdigest()[:16]


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)


def slugs(labels: Sequence[Label]) -> list[str]:
    """Names as parts of file names, no two alike."""
    found: list[str] = []
    for i, label in enumerate(labels):
        slug = re.sub(r"[^\w-]+", "_", label.name) or "_"
        while slug.casefold() in {other.casefold() for other in found}:
            slug += f"_{i + 1}"
        found.append(slug)
    return found
