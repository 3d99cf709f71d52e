"""A run over frames in their order."""

import os
import re
from collections import defaultdict, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
from jaxtyping import Bool, UInt8

from insid3.batch.folder import last_lines
from insid3.batch.sources import Target
from insid3.batch.work import Loaded, Result, Work, Worker
from insid3.batch.writers import write_picture
from insid3.draw import overlay
from insid3.encoded import Encoded
from insid3.errors import ImageError
from insid3.images import read_image
from insid3.labels import LabelMap
from insid3.pipeline import INSID3
from insid3.video.clip import Clip
from insid3.video.memory import Bank, Memory

Picture = UInt8[np.ndarray, "H W 3"]


class Frames(Protocol):
    """Where frames come from.

    Attributes:
        targets: in the order in which they are shown.
        rate: frames per second of the source.
        length: when the last of them is no longer shown, in seconds.
        aspect: width of a pixel by its height.
        are_kept: frames are to be written to their targets' paths.
        remarks: what is to be said of the picture that was read last.
        note: what is to be said of the source.
    """

    targets: list[Target]
    rate: Fraction
    length: float
    aspect: Fraction
    are_kept: bool
    remarks: list[str]
    note: str

    def index(self, target: Target) -> int:
        """Its number in the source, from 0."""
        ...

    def time(self, target: Target) -> float:
        """In seconds."""
        ...

    def read(self, targets: Sequence[Target]) -> Iterator[tuple[Target, Picture | ImageError]]:
        """Some of them, in their order."""
        ...


class ClipFrames:
    """Frames of a video file, and what is missing of it at the end as one more target, which fails.

    Args:
        folder: where frames are kept as pictures, as far as they are marked; None: nowhere.
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
    """A sequence of pictures, in the order of `targets`."""

    are_kept, aspect, note = False, Fraction(1), ""  # they are files already

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
    """A key that sorts frame2 before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


class FrameWorker(Worker):
    """Does the work frame by frame, with or without a memory.

    Args:
        remembered: for which concepts earlier runs remembered a frame, by its target's name.
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
        """The frames to do; what was remembered between them is remembered again."""
        names = {target.name for target in todo}
        wanted = [target for target in self.frames.targets if target.name in names or target.name in self.remembered]
        most = self.memory.bank.most if self.memory else 0
        before = defaultdict[str, deque[Loaded]](lambda: deque(maxlen=most))  # of each concept
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

    def seen(self, loaded: Loaded, encoded: Encoded, masks: Sequence[Bool[np.ndarray, "H W"]]) -> list[str] | None:
        if self.memory is None:
            return None
        index = self.frames.index(loaded.target)
        return self.memory.keep(index, encoded, [mask[loaded.window] for mask in masks]) or None

    def _restore(self, before: Mapping[str, deque[Loaded]]) -> None:
        frames = {self.frames.index(one.target): one for shots in before.values() for one in shots}
        for index, one in sorted(frames.items()):
            assert self.memory is not None  # nothing is remembered without one
            encoded = self.model.encode(one.picture[one.window])
            masks = [mask[one.window] for mask in self.work.masks(one.target)]
            self.memory.restore(index, encoded, masks, self.remembered[one.target.name])


def in_order(
    model: INSID3, frames: Frames, bank: Bank | None, work: Work, todo: Sequence[Target]
) -> Generator[Result, None, None]:
    """An engine of a run, but for its first arguments."""
    names = {os.path.abspath(target.path): target.name for target in frames.targets}
    lines = {names.get(os.path.abspath(line["target"])): line for line in last_lines(work.output)} if bank else {}
    remembered = {str(name): line["remembered"] for name, line in lines.items() if line.get("remembered")}
    memory = Memory(model, work.concepts, bank) if bank else None
    worker = FrameWorker(model, work, frames, memory, remembered)
    yield from worker.results(worker.loaded(todo))


def marked(frames: Frames, work: Work) -> list[Target]:
    """The targets whose masks are there, in their order."""
    return [target for target in frames.targets if all(file.exists() for file in work.mask_files(target))]


def overlays(frames: Frames, work: Work) -> Iterator[tuple[float, Picture]]:
    """Frames that are marked, with their masks, as `film` wants them; times are in seconds from the first of them."""
    colours, begin = [label.colour for label in work.labels], None
    for target, picture in frames.read(marked(frames, work)):
        if not isinstance(picture, ImageError):
            time = frames.time(target)
            begin = time if begin is None else begin
            yield time - begin, overlay(picture, work.masks(target), colours, longest=1280)
