"""What is done to a target: read, marked, written. One `Worker` in this process, or several in others."""

import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from insid3.batch.learn import Correction
from insid3.batch.options import Options, indexed, placed
from insid3.batch.sources import Target
from insid3.batch.writers import write_heat, write_index, write_mask, write_overlay, write_scores
from insid3.concept import Concept
from insid3.encoded import Encoded
from insid3.errors import ImageError, SizeError
from insid3.images import read_image, read_values
from insid3.instances import Instance, split
from insid3.labels import Label, LabelMap
from insid3.pipeline import INSID3
from insid3.storage import writing
from insid3.together import Together

_DECODERS = 2  # threads; one picture more than these wait decoded


@dataclass(frozen=True)
class Result:
    """One line of results.jsonl. Paths: `target` as it was given, others relative to the output folder.

    Attributes:
        mask: one concept's, or the index of several; None with overlapping masks, see `concepts`.
        score: of several concepts the lowest of those that were found, or else the highest.
        area: marked pixels.
        reason: why nothing is marked, or an edge not refined as asked.
        seconds: reading, marking and writing.
        error: why there is no mask; None where there is one.
        made_with: digest of the concepts.
        concepts: of several: name -> score, area, reason, and the mask of its own if masks overlap.
        instances: connected parts, where asked for: concept (name), box (x0, y0, x1, y1), area, score.
        corrected: digest of the correction that the mask is; None where it was computed.
        remembered: concepts for which later frames of a video have this one as a further shot.
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
    remembered: list[str] | None = None

    def line(self) -> dict[str, Any]:
        """What is written of it: the first seven always, the rest where there is something to say."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for i, (name, value) in enumerate(values.items()) if i < 7 or value is not None}


@dataclass(frozen=True)
class Loaded:
    """A target in memory.

    Attributes:
        window: rows and columns that are looked at.
        ignored: what is not to be marked.
    """

    target: Target
    start: float
    picture: UInt8[np.ndarray, "H W 3"]
    window: tuple[slice, slice]
    ignored: Bool[np.ndarray, "H W"] | None


@dataclass(frozen=True, eq=False)
class Work:
    """What a run does to each of its targets; a value that other processes can be given.

    Attributes:
        concepts: those that targets are marked with.
        output: folder of the results.
        corrections: by the targets' names; they become their targets' results.
        made_with: digest of the concepts, and of the targets that help.
        together: targets that help, by name; None where none does.
    """

    concepts: Sequence[Concept]
    labels: Sequence[Label]
    options: Options
    output: Path
    corrections: Mapping[str, Correction]
    made_with: str
    together: Together | None = None

    @cached_property
    def slugs(self) -> list[str]:
        """The concepts' names in file names."""
        return slugs(self.labels)

    def file(self, target: Target, ending: str, concept: int | None = None) -> Path:
        apart = concept is not None and len(self.labels) > 1
        return self.output / f"{target.name}{f'.{self.slugs[concept]}' if apart else ''}{ending}"  # type: ignore[index]

    def mask_files(self, target: Target) -> list[Path]:
        """One, or with overlapping masks one for each concept."""
        each = range(len(self.labels)) if self.options.overlap == "all" else [None]
        return [self.file(target, ".png", i) for i in each]

    def masks(self, target: Target) -> list[Bool[np.ndarray, "H W"]]:
        """Each concept's, from the files."""
        values = [read_values(file, 2**40) for file in self.mask_files(target)]
        if len(values) == len(self.labels):
            return [value > 0 for value in values]
        return [values[0] == i + 1 for i in range(len(self.labels))]

    def files(self, target: Target) -> list[Path]:
        """All that a target's result consists of; a correction has neither heat nor scores."""
        options, each = self.options, range(len(self.labels))
        files = [*self.mask_files(target), *([self.file(target, "_overlay.jpg")] if options.overlays else [])]
        if target.name in self.corrections:
            return files
        return [
            *files,
            *(self.file(target, "_heat.jpg", i) for i in each if options.heat),
            *(self.file(target, f"_score.{options.scores}", i) for i in each if options.scores),
        ]


class Worker:
    """Does the work with one model, target by target."""

    def __init__(self, model: INSID3, work: Work) -> None:
        self.model, self.work, self.labels, self.options = model, work, work.labels, work.options

    def results(self, loaded: Iterable[Loaded | Result]) -> Iterator[Result]:
        """Of targets in memory, and of those that could not be read; a result's files are on disk when it comes.

        Raises:
            OutputError: the folder cannot be written to.
            SizeError: the encoder's square is too large for the memory, and so for every target.
        """
        left = iter(loaded)
        while group := list(islice(left, self.options.batch)):
            corrections = self.work.corrections
            readable = [one for one in group if isinstance(one, Loaded) and one.target.name not in corrections]
            encoded = iter(self._encoded(readable))
            for one in group:
                if isinstance(one, Result):
                    yield one
                elif correction := corrections.get(one.target.name):
                    yield self._corrected(one, correction)
                else:
                    yield self._attempted(one, next(encoded))

    def of(self, targets: Iterable[Target]) -> Iterator[Result]:
        """Of targets on disk; threads decode ahead."""
        with closing(self._read(targets)) as loaded:
            yield from self.results(loaded)

    def meet(self, pool: Iterable[Target]) -> Together:
        """Look at the targets that may help; those that cannot be read are left out.

        Raises:
            SizeError: as `results`.
        """
        with closing(self._read(pool)) as loaded:
            seen = (one for one in loaded if isinstance(one, Loaded))
            encoded = ((one.target.name, self.model.encode(one.picture[one.window])) for one in seen)
            return Together.of(self.model, self.work.concepts, encoded)

    def load(self, target: Target) -> Loaded | Result:
        start = time.perf_counter()
        try:
            picture = read_image(target.path, self.model.config.max_pixels)
            return self.prepared(target, picture, start)
        except ImageError as error:
            return Result(str(target.path), error=str(error), seconds=_since(start))

    def prepared(self, target: Target, picture: UInt8[np.ndarray, "H W 3"], start: float) -> Loaded | Result:
        try:
            window = self.options.window(picture.shape[:2], str(target.path))
            ignored = self.options.ignored(target.name, picture.shape[:2], self.model.config.max_pixels)
        except ImageError as error:
            return Result(str(target.path), error=str(error), seconds=_since(start))
        return Loaded(target, start, picture, window, ignored)

    def label(self, target: Target, encoded: Encoded) -> LabelMap:
        concepts, together = self.work.concepts, self.work.together
        if together is not None:
            concepts = together.concepts_for(self.model, encoded, target.name)
        return self.model.label(encoded, concepts, overlap=self.options.overlap, margin=self.options.margin)

    def seen(self, loaded: Loaded, encoded: Encoded, masks: Sequence[Bool[np.ndarray, "H W"]]) -> list[str] | None:
        """What becomes of a target after it is marked; the concepts for which it is remembered."""
        return None

    def _read(self, targets: Iterable[Target]) -> Generator[Loaded | Result, None, None]:
        with ThreadPoolExecutor(_DECODERS) as threads:
            try:
                yield from _ahead(threads, self.load, targets, self.options.batch + _DECODERS + 1)
            finally:
                threads.shutdown(wait=True, cancel_futures=True)

    def _encoded(self, loaded: Sequence[Loaded]) -> list[Encoded | SizeError]:
        """All at once, or one by one where they are too much; not again what is in the pool."""
        pictures = {one.target.name: one.picture[one.window] for one in loaded}
        known: dict[str, Encoded] = {}
        if together := self.work.together:
            asked = {name: together.encoded(name, picture, self.model.config) for name, picture in pictures.items()}
            known = {name: encoded for name, encoded in asked.items() if encoded is not None}
        new = [name for name in pictures if name not in known]
        try:
            known |= zip(new, self.model.encode_many([pictures[name] for name in new]) if new else (), strict=True)
            return [known[name] for name in pictures]
        except SizeError as error:
            if self.model.config.tile is None:
                raise
            return [error] if len(loaded) == 1 else [self._encoded([one])[0] for one in loaded]

    def _attempted(self, loaded: Loaded, encoded: Encoded | SizeError) -> Result:
        try:
            if isinstance(encoded, SizeError):
                raise encoded
            return self._marked(loaded, encoded)
        except SizeError as error:  # of a picture that is larger than others
            return Result(str(loaded.target.path), error=f"{loaded.target.path}: {error}", seconds=_since(loaded.start))

    def _marked(self, loaded: Loaded, encoded: Encoded) -> Result:
        options, size = self.options, loaded.picture.shape[:2]
        found = self.label(loaded.target, encoded)
        masks = options.finish(found.masks, size, loaded.window, loaded.ignored)
        parts: list[Instance] = []
        if options.instances:
            for i, (mask, result) in enumerate(zip(masks, found.results, strict=True)):
                parts += split(mask, placed(result.similarity_at(), size, loaded.window, 0) if mask.any() else None, i)
        self._write(loaded, masks, parts)
        for i, result in enumerate(found.results):
            if options.heat:
                heat = placed(result.similarity_at(), size, loaded.window, 0)
                writing(partial(write_heat, self.work.file(loaded.target, "_heat.jpg", i), loaded.picture, heat))
            if options.scores:
                scores = placed(result.scores, size, loaded.window, -1)
                file = self.work.file(loaded.target, f"_score.{options.scores}", i)
                writing(partial(write_scores, file, scores))
        return replace(self._result(loaded, found, masks, parts), remembered=self.seen(loaded, encoded, masks))

    def _corrected(self, loaded: Loaded, correction: Correction) -> Result:
        start = time.perf_counter()
        try:
            masks = correction.masks(loaded.picture.shape[:2], self.labels, self.model.config.max_pixels)
        except ImageError as error:
            return Result(str(loaded.target.path), error=str(error), seconds=_since(start))
        parts = [p for i, mask in enumerate(masks) for p in split(mask, None, i)] if self.options.instances else []
        self._write(loaded, masks, parts)
        return self._result(loaded, None, masks, parts, correction.digest)

    def _write(self, loaded: Loaded, masks: Sequence[Bool[np.ndarray, "H W"]], parts: Sequence[Instance]) -> None:
        colours = [label.colour for label in self.labels]
        if len(masks) > 1 and self.options.overlap == "best":
            writing(partial(write_index, self.work.file(loaded.target, ".png"), indexed(masks), colours))
        else:
            for i, mask in enumerate(masks):
                writing(partial(write_mask, self.work.file(loaded.target, ".png", i), mask))
        if self.options.overlays:
            boxes, overlay = [part.box for part in parts], self.work.file(loaded.target, "_overlay.jpg")
            writing(partial(write_overlay, overlay, loaded.picture, masks, colours, boxes))

    def _result(
        self,
        loaded: Loaded,
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
                file = self.work.file(loaded.target, ".png", i)
                told[label.name]["mask"] = file.relative_to(self.work.output).as_posix()
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
            score=min((entry["score"] for entry in present), default=max(entry["score"] for entry in told.values())),
            area=sum(entry["area"] for entry in told.values()),
            reason=next(iter(reasons.values()), None) if one else several,
            seconds=_since(loaded.start),
            made_with=self.work.made_with,
            concepts=None if one else told,
            instances=instances if self.options.instances else None,
            corrected=corrected,
        )


def local(model: INSID3, work: Work, targets: Sequence[Target]) -> Generator[Result, None, None]:
    """An engine of a run, but for its first argument: this process."""
    yield from Worker(model, work).of(targets)


def _ahead(
    threads: ThreadPoolExecutor, load: Callable[[Target], Loaded | Result], targets: Iterable[Target], most: int
) -> Iterator[Loaded | Result]:
    left, ahead = iter(targets), deque[Future[Loaded | Result]]()
    while True:
        ahead.extend(threads.submit(load, target) for target in islice(left, most - len(ahead)))
        if not ahead:
            return
        yield ahead.popleft().result()


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
