"""Runs over frames in their order: the sources of frames, and the worker with a memory."""

import os
import re
from collections import defaultdict, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
from jaxtyping import Bool

from insid3.batch.lines import last_lines
from insid3.batch.sources import Target
from insid3.batch.worker import Loaded, Result, Work, Worker
from insid3.batch.writers import write_picture
from insid3.errors import ImageError
from insid3.features.encoded import Encoded
from insid3.imaging.draw import overlay
from insid3.imaging.read import read_image
from insid3.label_map import LabelMap
from insid3.model import INSID3
from insid3.video.clip import Clip
from insid3.video.film import Picture
from insid3.video.memory import Memory, MemoryConfig


class Frames(Protocol):
    """A source of frames.

    Attributes:
        targets: frames as targets of a run, in the order in which they are shown.
        rate: frames per second of the source.
        length: time in seconds at which the last target ends.
        aspect: width of a pixel divided by its height.
        are_kept: whether marked frames are written to their targets' paths.
        remarks: remarks on the picture that was read last.
        note: remark on the source; may be "".
    """

    targets: list[Target]
    rate: Fraction
    length: float
    aspect: Fraction
    are_kept: bool
    remarks: list[str]
    note: str

    def index(self, target: Target) -> int:
        """Return the number of a target's frame in the source, from 0."""
        ...

    def time(self, target: Target) -> float:
        """Return the time of a target's frame in seconds."""
        ...

    def read(self, targets: Sequence[Target]) -> Iterator[tuple[Target, Picture | ImageError]]:
        """Yield the pictures of some targets, in their order; an error for a picture that cannot be read."""
        ...


class ClipFrames:
    """The frames of a video file. If frames are missing at the end, one more target stands for them and fails.

    Args:
        folder: folder to which marked frames are written as pictures; None: they are not written.
    """

    def __init__(self, clip: Clip, indices: Sequence[int], folder: Path | None = None) -> None:
        self.clip, self.rate, self.aspect, self.length = clip, clip.rate, clip.aspect, clip.length
        self.are_kept, self.remarks, held = folder is not None, list[str](), len(clip.moments)
        self.note = clip.note
        if len(indices) > 1 and (after := indices[-1] + indices[-1] - indices[-2]) < held:
            self.length = clip.moments[after].time
        elif len(indices) == 1 and indices[0] + 1 < held:
            self.length = clip.moments[indices[0] + 1].time

        def target(name: str) -> Target:
            return Target(folder / f"{name}.jpg" if folder else Path(f"{clip.path}#{name}"), name)

        self._index = {f"{index:06d}": index for index in indices if index < held}
        self.targets = [target(name) for name in self._index]
        if clip.is_cut_off and any(index >= held for index in indices):
            self.targets.append(Target(Path(f"{clip.path}#{held:06d}-{clip.expected - 1:06d}"), "missing"))
            self._index["missing"] = held

    def index(self, target: Target) -> int:
        return self._index[target.name]

    def time(self, target: Target) -> float:
        return self.clip.moments[self.index(target)].time

    def read(self, targets: Sequence[Target]) -> Iterator[tuple[Target, Picture | ImageError]]:
        by_index = {self.index(target): target for target in targets}
        held, missing = len(self.clip.moments), len(self.clip.moments) in by_index
        for index, picture in self.clip.pictures([index for index in by_index if index < held]):
            self.remarks.clear()
            if not isinstance(picture, ImageError) and picture.shape[:2] != self.clip.size:
                self.remarks.append(f"another size than the first frame's: {picture.shape[1]} x {picture.shape[0]}")
            yield by_index[index], picture
        if missing:
            yield by_index[held], ImageError(self.clip.missing())


class PictureFrames:
    """A sequence of pictures as frames, in the order of `targets`."""

    are_kept, aspect, note = False, Fraction(1), ""  # the frames are files already

    def __init__(
        self,
        targets: Sequence[Target],
        indices: Sequence[int],
        rate: Fraction,
        max_pixels: int,
        stretch: tuple[float, float] | str | None = None,
    ) -> None:
        self.targets, self.rate, self.remarks = [targets[i] for i in indices], rate, list[str]()
        self._max_pixels, self._stretch = max_pixels, stretch
        self._index = {targets[i].name: i for i in indices}
        step = indices[-1] - indices[-2] if len(indices) > 1 else 1
        self.length = float((indices[-1] + step) / rate)

    def index(self, target: Target) -> int:
        return self._index[target.name]

    def time(self, target: Target) -> float:
        return float(self.index(target) / self.rate)

    def read(self, targets: Sequence[Target]) -> Iterator[tuple[Target, Picture | ImageError]]:
        for target in targets:
            self.remarks.clear()
            try:
                yield target, read_image(target.path, self._max_pixels, stretch=self._stretch, told=self.remarks)
            except ImageError as error:
                yield target, error


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts frame2 before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


class FrameWorker(Worker):
    """A worker that marks frame by frame, with or without a memory.

    Args:
        remembered: names of the concepts for which an earlier run remembered a frame, by the name of its target.
    """

    def __init__(
        self,
        model: INSID3,
        work: Work,
        frames: Frames,
        memory: Memory | None = None,
        remembered: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(model, work)
        self.frames, self.memory, self.remembered = frames, memory, remembered or {}

    def loaded(self, todo: Sequence[Target]) -> Iterator[Loaded | Result]:
        """Yield the frames to mark; frames between them that an earlier run remembered are remembered again."""
        names = {target.name for target in todo}
        wanted = [target for target in self.frames.targets if target.name in names or target.name in self.remembered]
        most = self.memory.settings.most if self.memory else 0
        before = defaultdict[str, deque[Loaded]](lambda: deque(maxlen=most))  # for each concept
        start = perf_counter()
        for target, picture in self.frames.read(wanted):
            if isinstance(picture, ImageError):
                one: Loaded | Result = Result(str(target.path), error=str(picture))
            else:
                one = self.prepared(target, picture, start, self.frames.remarks)
            if target.name in names:
                self._restore(before)
                before.clear()
                if self.frames.are_kept and isinstance(one, Loaded):
                    write_picture(target.path, one.picture)
                yield one
                start = perf_counter()
            elif isinstance(one, Loaded):
                for concept in self.remembered[target.name]:
                    before[concept].append(one)

    def label(self, target: Target, encoded: Encoded) -> LabelMap:
        if self.memory is None:
            return super().label(target, encoded)
        return self.memory.label(encoded, self.options.overlap, self.options.margin)

    def remember(self, loaded: Loaded, encoded: Encoded, masks: Sequence[Bool[np.ndarray, "H W"]]) -> list[str] | None:
        if self.memory is None:
            return None
        index = self.frames.index(loaded.target)
        return self.memory.keep(index, encoded, [mask[loaded.region] for mask in masks]) or None

    def _restore(self, before: Mapping[str, deque[Loaded]]) -> None:
        frames = {self.frames.index(one.target): one for shots in before.values() for one in shots}
        for index, one in sorted(frames.items()):
            assert self.memory is not None  # without a memory no frame is remembered
            encoded = self.model.encode(one.picture[one.region])
            masks = [mask[one.region] for mask in self.work.masks(one.target)]
            self.memory.restore(index, encoded, masks, self.remembered[one.target.name])


def mark_in_order(
    model: INSID3, frames: Frames, settings: MemoryConfig | None, work: Work, todo: Sequence[Target]
) -> Generator[Result, None, None]:
    """Mark frames in their order; with the first three arguments bound, this is the engine of a `Run`.

    Args:
        settings: settings of the memory; None: frames are marked without a memory.
    """
    names = {os.path.abspath(target.path): target.name for target in frames.targets}
    lines = {names.get(os.path.abspath(line["target"])): line for line in last_lines(work.output)} if settings else {}
    remembered = {str(name): line["remembered"] for name, line in lines.items() if line.get("remembered")}
    memory = Memory(model, work.concepts, settings) if settings else None
    worker = FrameWorker(model, work, frames, memory, remembered)
    yield from worker.results(worker.loaded(todo))


def marked(frames: Frames, work: Work) -> list[Target]:
    """Return the targets whose masks are on disk, in their order."""
    return [target for target in frames.targets if all(file.exists() for file in work.mask_files(target))]


def overlays(frames: Frames, work: Work) -> Iterator[tuple[float, Picture]]:
    """Yield the marked frames with their masks drawn in, and their times in seconds from the first, for `film`."""
    colours, begin = [label.colour for label in work.labels], None
    for target, picture in frames.read(marked(frames, work)):
        if not isinstance(picture, ImageError):
            time = frames.time(target)
            begin = time if begin is None else begin
            yield time - begin, overlay(picture, work.masks(target), colours, longest=1280)
