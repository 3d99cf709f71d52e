"""The work on one target: read it, mark it, write its results. A `Worker` runs in this process or in another one."""

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

from insid3.batch.corrections import Correction
from insid3.batch.dust import Dropped, patch_area
from insid3.batch.names import slugs as slugs
from insid3.batch.options import Options, all_gone, indexed, placed
from insid3.batch.result import Result as Result
from insid3.batch.result import instance_entries
from insid3.batch.sources import Target
from insid3.batch.writers import write_heat, write_index, write_mask, write_overlay, write_scores
from insid3.concept import Concept, digest_among
from insid3.errors import ImageError, OutputError, SizeError
from insid3.features.encoded import Encoded
from insid3.imaging.components import Instance, split
from insid3.imaging.read import read_image, read_values
from insid3.label_map import Label, LabelMap, decide
from insid3.methods.base import as_known
from insid3.model import INSID3
from insid3.stages.chunked import is_out_of_memory
from insid3.storage import output_errors
from insid3.transductive import Together

_NAME_ERRORS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)  # raised by disks that refuse a file name
_DECODERS = 2  # threads


@dataclass(frozen=True)
class Loaded:
    """Hold a target in memory.

    Attributes:
        seconds: time that reading took.
        region: rows and columns to look at.
        ignored: pixels that are never marked.
        remarks: changes that were made to the picture when it was read.
        file: digest of the file, if a concept was made from a file of the same length (`concept.digest_among`).
    """

    target: Target
    seconds: float
    picture: UInt8[np.ndarray, "H W 3"]
    region: tuple[slice, slice]
    ignored: Bool[np.ndarray, "H W"] | None
    remarks: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True, eq=False)
class Work:
    """Hold everything that a worker needs to know about a run; can be sent to other processes.

    Attributes:
        concepts: the concepts with which targets are marked.
        labels: name, id and colour of each concept.
        output: folder of the results.
        corrections: corrected masks by target name; each becomes the result of its target.
        made_with: digest of the concepts and the helper targets.
        together: the helper targets by name; None if targets do not help each other.
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
        """The names of the concepts in file names."""
        return slugs(self.labels)

    def file(self, target: Target, ending: str, concept: int | None = None) -> Path:
        """Return the path of one result file of a target; of the concept at an index if there are several."""
        apart = concept is not None and len(self.labels) > 1
        return self.output / f"{target.name}{f'.{self.slugs[concept]}' if apart else ''}{ending}"  # type: ignore[index]

    def mask_files(self, target: Target) -> list[Path]:
        """Return the path of the mask, or with overlapping masks one path for each concept."""
        each = range(len(self.labels)) if self.options.overlap == "all" else [None]
        return [self.file(target, ".png", i) for i in each]

    def masks(self, target: Target) -> list[Bool[np.ndarray, "H W"]]:
        """Read the mask of each concept from the result files."""
        values = [read_values(file, 2**40) for file in self.mask_files(target)]
        if len(values) == len(self.labels):
            return [value > 0 for value in values]
        return [values[0] == i + 1 for i in range(len(self.labels))]

    def files(self, target: Target) -> list[Path]:
        """Return the paths of all result files of a target; a correction has no heat map and no scores."""
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
    """Mark targets with one model, and write their results."""

    def __init__(self, model: INSID3, work: Work) -> None:
        self.model, self.work, self.labels = model, work, work.labels
        self.options = work.options.with_min_area(model.config.rule)

    def results(self, loaded: Iterable[Loaded | Result]) -> Iterator[Result]:
        """Yield the results of loaded targets as soon as their files are on disk.

        Args:
            loaded: targets in memory, and the results of targets that could not be read.

        Raises:
            OutputError: the output folder cannot be written to.
            SizeError: the encoder's square is too large for the memory, so that every target would fail.
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

    def mark_targets(self, targets: Iterable[Target]) -> Iterator[Result]:
        """Yield the results of targets on disk, which threads decode ahead."""
        with closing(self._read(targets)) as loaded:
            yield from self.results(loaded)

    def find_helpers(self, targets: Iterable[Target]) -> Together:
        """Encode and mark the helper targets; leave out those that cannot be read. Raises errors as `results` does."""
        with closing(self._read(targets)) as loaded:
            return Together.from_pool(self.model, self.work.concepts, self._encode_each(loaded))

    def _encode_each(self, loaded: Iterable[Loaded | Result]) -> Iterator[tuple[str, Encoded]]:
        for one in loaded:
            if isinstance(one, Loaded):
                try:
                    yield one.target.name, self.model.encode(one.picture[one.region])
                except MemoryError as error:
                    if self._stops(error):
                        raise

    def load(self, target: Target) -> Loaded | Result:
        """Read a target; return a result with the error if that fails."""
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
        """Return a picture as a loaded target; a result with the error if its region or its ignored mask is unfit."""
        try:
            region = self.options.region(picture.shape[:2], str(target.path))
            ignored = self.options.ignored(target.name, picture.shape[:2], self.model.config.max_pixels)
        except ImageError as error:
            return Result(str(target.path), error=str(error), seconds=_since(start))
        return Loaded(target, _since(start), picture, region, ignored, tuple(remarks), file)

    def label(self, target: Target, encoded: Encoded) -> LabelMap:
        """Mark all concepts in an encoded target."""
        concepts, together = self.work.concepts, self.work.together
        if together is not None:
            concepts = together.concepts_for(self.model, encoded, target.name)
        return self.model.label(encoded, concepts, overlap=self.options.overlap, margin=self.options.margin)

    def remember(self, loaded: Loaded, encoded: Encoded, masks: Sequence[Bool[np.ndarray, "H W"]]) -> list[str] | None:
        """Return the names of the concepts for which a subclass remembers the marked target."""
        return None

    def _read(self, targets: Iterable[Target]) -> Generator[Loaded | Result, None, None]:
        with ThreadPoolExecutor(_DECODERS) as threads:
            try:
                yield from _load_ahead(threads, self.load, targets, self.options.batch + _DECODERS + 1)
            finally:
                threads.shutdown(wait=True, cancel_futures=True)

    def _encoded(self, loaded: Sequence[Loaded]) -> list[Encoded | MemoryError]:
        """Encode targets at once, or one by one if memory is short; helper targets are already encoded."""
        pictures = {one.target.name: one.picture[one.region] for one in loaded}
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
        """Tell whether every other target would fail too: without tiles the encoder's square is the same for all."""
        is_of_picture = not isinstance(error, SizeError) or isinstance(error.__cause__, MemoryError)
        return self.model.config.tile is None and not is_of_picture

    def _attempted(self, loaded: Loaded, make: Callable[[], Result]) -> Result:
        """Return the result of a target, or a result with its error; raise errors that stop the whole run."""
        path, start = loaded.target.path, time.perf_counter()
        try:
            with output_errors():
                made = make()
            return replace(made, seconds=round(loaded.seconds + _since(start), 3))
        except ImageError as error:
            told = str(error)
        except OutputError as error:
            cause = error.__cause__
            if not (isinstance(cause, OSError) and cause.filename and cause.errno in _NAME_ERRORS):
                raise
            told = f"{path}: this disk takes no result called {loaded.target.name}: give the picture a shorter name"
        except (MemoryError, RuntimeError) as error:  # this picture may be larger than the others
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
        seen = loaded.picture[loaded.region].shape[:2]
        patch, dropped = patch_area(seen, self.model.config, self.model.encoder.patch_size), list[Dropped]()
        known = [one.is_known for one in found.results]
        masks = options.finish(found.masks, size, loaded.region, loaded.ignored, patch, dropped, known)
        parts: list[Instance] = []
        if options.instances:
            for i, (mask, one) in enumerate(zip(masks, found.results, strict=True)):
                scored = mask.any() and not one.is_known
                parts += split(mask, placed(one.similarity_at(), size, loaded.region, 0) if scored else None, i)
        self._write(loaded, masks, parts)
        for i, one in enumerate(found.results):
            if options.heat:
                heat = placed(one.similarity_at(), size, loaded.region, 0)
                write_heat(self.work.file(loaded.target, "_heat.jpg", i), loaded.picture, heat)
            if options.scores:
                scores = placed(one.scores, size, loaded.region, -1)
                write_scores(self.work.file(loaded.target, f"_score.{options.scores}", i), scores)
        made = self._result(loaded, found, masks, parts, dropped)
        return replace(made, remembered=self.remember(loaded, encoded, masks))

    def _known(self, loaded: Loaded, found: LabelMap) -> LabelMap:
        """Replace the mask of each concept of which the target is a reference or a negative."""
        size = loaded.picture.shape[:2]
        results = tuple(
            as_known(one, concept, loaded.file, size, loaded.region)
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
        return Result(
            target=str(loaded.target.path),
            mask=None if apart else f"{loaded.target.name}.png",
            score=min((entry["score"] for entry in present), default=max(entry["score"] for entry in told.values())),
            area=sum(entry["area"] for entry in told.values()),
            reason=next(iter(reasons.values()), None) if one else several,
            made_with=self.work.made_with,
            concepts=None if one else told,
            instances=instance_entries(parts, self.labels) if self.options.instances else None,
            corrected=corrected,
            dropped=sum(dropped, Dropped()).told(),
            remarks=list(loaded.remarks) or None,
            known=[label.name for label, one in zip(self.labels, found.results, strict=True) if one.is_known] or None
            if found is not None
            else None,
        )


def local(model: INSID3, work: Work, targets: Sequence[Target]) -> Generator[Result, None, None]:
    """Run the work in this process: an engine of a run once `model` is bound."""
    yield from Worker(model, work).mark_targets(targets)


def _load_ahead(
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
