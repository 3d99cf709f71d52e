"""What is done to a target: read, marked, written. One `Worker` in this process, or several in others."""

import errno
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from insid3.batch.dust import Dropped, patch_area
from insid3.batch.learn import Correction
from insid3.batch.names import slugs as slugs
from insid3.batch.options import Options, all_gone, indexed, placed
from insid3.batch.result import Result as Result
from insid3.batch.sources import Target
from insid3.batch.writers import write_heat, write_index, write_mask, write_overlay, write_scores
from insid3.blocks import is_out_of_memory
from insid3.concept import Concept
from insid3.encoded import Encoded
from insid3.errors import ImageError, OutputError, SizeError
from insid3.images import read_image, read_values
from insid3.instances import Instance, split
from insid3.known import as_known, digest_among
from insid3.labels import Label, LabelMap, decide
from insid3.pipeline import INSID3
from insid3.storage import saying
from insid3.together import Together

_OF_NAMES = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)  # a disk's errors about what a file is called
_DECODERS = 2  # threads; one picture more than these wait decoded


@dataclass(frozen=True)
class Loaded:
    """A target in memory.

    Attributes:
        seconds: that reading took.
        window: rows and columns that are looked at.
        ignored: what is not to be marked.
        remarks: what was done to the picture to read it.
        file: what tells its file from others, if a concept was made from one of that length (`known.digest_among`).
    """

    target: Target
    seconds: float
    picture: UInt8[np.ndarray, "H W 3"]
    window: tuple[slice, slice]
    ignored: Bool[np.ndarray, "H W"] | None
    remarks: tuple[str, ...] = ()
    file: str = ""


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
        self.model, self.work, self.labels = model, work, work.labels
        self.options = work.options.decided(model.config.rule)

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
            start = time.perf_counter()
            encoded = iter(self._encoded(readable))
            share = (time.perf_counter() - start) / max(len(readable), 1)
            for one in group:
                if isinstance(one, Result):
                    yield one
                elif correction := corrections.get(one.target.name):
                    yield self._attempted(one, partial(self._corrected, one, correction))
                else:
                    mine = replace(one, seconds=one.seconds + share)
                    yield self._attempted(mine, partial(self._marked, mine, next(encoded)))

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
            return Together.of(self.model, self.work.concepts, self._seen(loaded))

    def _seen(self, loaded: Iterable[Loaded | Result]) -> Iterator[tuple[str, Encoded]]:
        for one in loaded:
            if isinstance(one, Loaded):
                try:
                    yield one.target.name, self.model.encode(one.picture[one.window])
                except MemoryError as error:
                    if self._stops(error):
                        raise

    def load(self, target: Target) -> Loaded | Result:
        start, told = time.perf_counter(), list[str]()
        try:
            config = self.model.config
            picture = read_image(target.path, config.max_pixels, stretch=config.stretch, told=told)
            return self.prepared(target, picture, start, told, digest_among(target.path, self.work.concepts))
        except ImageError as error:
            return Result(str(target.path), error=str(error), seconds=_since(start))

    def prepared(
        self,
        target: Target,
        picture: UInt8[np.ndarray, "H W 3"],
        start: float,
        remarks: Sequence[str] = (),
        file: str = "",
    ) -> Loaded | Result:
        try:
            window = self.options.window(picture.shape[:2], str(target.path))
            ignored = self.options.ignored(target.name, picture.shape[:2], self.model.config.max_pixels)
        except ImageError as error:
            return Result(str(target.path), error=str(error), seconds=_since(start))
        return Loaded(target, _since(start), picture, window, ignored, tuple(remarks), file)

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

    def _encoded(self, loaded: Sequence[Loaded]) -> list[Encoded | MemoryError]:
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
        except MemoryError as error:
            if self._stops(error):
                raise
            return [error] if len(loaded) == 1 else [self._encoded([one])[0] for one in loaded]

    def _stops(self, error: MemoryError) -> bool:
        """Whether every other target would fail too: the encoder's square is the same for all that are seen whole."""
        is_of_picture = not isinstance(error, SizeError) or isinstance(error.__cause__, MemoryError)
        return self.model.config.tile is None and not is_of_picture

    def _attempted(self, loaded: Loaded, make: Callable[[], Result]) -> Result:
        """A target's result, or why there is none; what stops the whole run is raised."""
        path, start = loaded.target.path, time.perf_counter()
        try:
            with saying():
                made = make()
            return replace(made, seconds=round(loaded.seconds + _since(start), 3))
        except ImageError as error:
            told = str(error)
        except OutputError as error:
            cause = error.__cause__
            if not (isinstance(cause, OSError) and cause.filename and cause.errno in _OF_NAMES):
                raise
            told = f"{path}: this disk takes no result called {loaded.target.name}: give the picture a shorter name"
        except (MemoryError, RuntimeError) as error:  # of a picture that is larger than others
            if not is_out_of_memory(error):
                raise
            more = str(error) if isinstance(error, SizeError) else "it needs more memory than there is: shrink it"
            told = f"{path}: {more}"
        return Result(str(path), error=told, seconds=round(loaded.seconds + _since(start), 3))

    def _marked(self, loaded: Loaded, encoded: Encoded | MemoryError) -> Result:
        if isinstance(encoded, MemoryError):
            raise encoded
        options, size = self.options, loaded.picture.shape[:2]
        found = self._known(loaded, self.label(loaded.target, encoded))
        seen = loaded.picture[loaded.window].shape[:2]
        patch, dropped = patch_area(seen, self.model.config, self.model.encoder.patch_size), list[Dropped]()
        known = [one.is_known for one in found.results]
        masks = options.finish(found.masks, size, loaded.window, loaded.ignored, patch, dropped, known)
        parts: list[Instance] = []
        if options.instances:
            for i, (mask, one) in enumerate(zip(masks, found.results, strict=True)):
                scored = mask.any() and not one.is_known
                parts += split(mask, placed(one.similarity_at(), size, loaded.window, 0) if scored else None, i)
        self._write(loaded, masks, parts)
        for i, one in enumerate(found.results):
            if options.heat:
                heat = placed(one.similarity_at(), size, loaded.window, 0)
                write_heat(self.work.file(loaded.target, "_heat.jpg", i), loaded.picture, heat)
            if options.scores:
                scores = placed(one.scores, size, loaded.window, -1)
                write_scores(self.work.file(loaded.target, f"_score.{options.scores}", i), scores)
        made = self._result(loaded, found, masks, parts, dropped)
        return replace(made, remembered=self.seen(loaded, encoded, masks))

    def _known(self, loaded: Loaded, found: LabelMap) -> LabelMap:
        """With the masks that are known where the target is a picture of the concepts."""
        size = loaded.picture.shape[:2]
        results = tuple(
            as_known(one, concept, loaded.file, size, loaded.window)
            for one, concept in zip(found.results, self.work.concepts, strict=True)
        )
        if not any(one.is_known for one in results):
            return found
        return replace(found, results=results, index=decide(results, self.options.margin))

    def _corrected(self, loaded: Loaded, correction: Correction) -> Result:
        masks = correction.masks(loaded.picture.shape[:2], self.labels, self.model.config.max_pixels)
        parts = [p for i, mask in enumerate(masks) for p in split(mask, None, i)] if self.options.instances else []
        self._write(loaded, masks, parts)
        return self._result(loaded, None, masks, parts, [Dropped()] * len(masks), correction.digest)

    def _write(self, loaded: Loaded, masks: Sequence[Bool[np.ndarray, "H W"]], parts: Sequence[Instance]) -> None:
        colours = [label.colour for label in self.labels]
        if len(masks) > 1 and self.options.overlap == "best":
            write_index(self.work.file(loaded.target, ".png"), indexed(masks), colours)
        else:
            for i, mask in enumerate(masks):
                write_mask(self.work.file(loaded.target, ".png", i), mask)
        if self.options.overlays:
            boxes, overlay = [part.box for part in parts], self.work.file(loaded.target, "_overlay.jpg")
            write_overlay(overlay, loaded.picture, masks, colours, boxes)

    def _result(
        self,
        loaded: Loaded,
        found: LabelMap | None,
        masks: Sequence[Bool[np.ndarray, "H W"]],
        parts: Sequence[Instance],
        dropped: Sequence[Dropped],
        corrected: str | None = None,
    ) -> Result:
        one, apart = len(masks) == 1, len(masks) > 1 and self.options.overlap == "all"
        told: dict[str, dict[str, Any]] = {}
        for i, (label, mask, dust) in enumerate(zip(self.labels, masks, dropped, strict=True)):
            area, reason, score = int(mask.sum()), None if mask.any() else "not in the correction", float(mask.any())
            if found is not None:
                score, reason = found.results[i].score, found.results[i].reason
                if not area and found.results[i].is_known:
                    score = 0.0
                elif not area and (dust or not reason):
                    score, reason = 0.0, all_gone(dust, self.options)
            told[label.name] = {"score": round(score, 4), "area": area, "reason": reason}
            if dust:
                told[label.name]["dropped"] = dust.told()
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
            made_with=self.work.made_with,
            concepts=None if one else told,
            instances=instances if self.options.instances else None,
            corrected=corrected,
            dropped=sum(dropped, Dropped()).told(),
            remarks=list(loaded.remarks) or None,
            known=[label.name for label, one in zip(self.labels, found.results, strict=True) if one.is_known] or None
            if found is not None
            else None,
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
