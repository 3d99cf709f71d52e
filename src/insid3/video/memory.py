"""The memory of a video run: a few confident earlier frames as further shots of a concept, found and not drawn."""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from insid3.concept import Concept
from insid3.errors import ConfigError
from insid3.features.encoded import Encoded, mask_patches
from insid3.label_map import LabelMap
from insid3.methods.base import presence_of
from insid3.model import INSID3


@dataclass(frozen=True)
class MemoryConfig:
    """The settings of a memory, measured by `benchmarks/video.py`.

    >>> memory = Memory(model, [cat], MemoryConfig(most=4, gap=25))

    Attributes:
        most: largest number of remembered frames for each concept.
        least: least score of a mask that is remembered. The score is measured against the concept's own examples, so
            that an error in the memory cannot confirm itself.
        gap: least distance of two remembered frames, in frames; neighbouring frames tell nothing new.
    """

    most: int = 2
    least: float = 0.6
    gap: int = 12

    def __post_init__(self) -> None:
        if self.most < 1 or self.gap < 1 or not 0 <= self.least <= 1:
            raise ConfigError("a memory holds 1 frame or more, with a score in [0, 1] and a gap of 1 or more")


class Memory:
    """Mark frames in their order; memory and time of a frame do not grow with the number of frames.

    >>> memory = Memory(model, [cat])
    >>> for index, picture in clip.pictures(range(0, 300, 5)):
    ...     encoded = model.encode(picture)
    ...     found = memory.label(encoded)
    ...     memory.keep(index, encoded, found.masks)
    """

    def __init__(self, model: INSID3, concepts: Sequence[Concept], settings: MemoryConfig | None = None) -> None:
        """Raises:
        ConfigError: `tile` is set; a frame that is seen in tiles cannot be a shot.
        """
        if model.config.tile is not None:
            raise ConfigError("a memory needs frames that are seen whole: leave out tile (--tile) or the memory")
        self.model, self.concepts, self.settings = model, list(concepts), settings or MemoryConfig()
        self._shots = [deque[tuple[int, Concept]](maxlen=self.settings.most) for _ in self.concepts]
        self._extended = list(self.concepts)

    def label(self, encoded: Encoded, overlap: str = "best", margin: float = 0.05) -> LabelMap:
        """Label a frame as `INSID3.label` does, with remembered frames as shots that do not take part in scores."""
        return self.model.label(encoded, self._extended, overlap=overlap, margin=margin)

    def keep(self, index: int, encoded: Encoded, masks: Sequence[Bool[np.ndarray, "H W"]]) -> list[str]:
        """Remember a frame for the concepts whose mask is confident, and return the names of these concepts."""
        names = []
        for concept, shots, mask in zip(self.concepts, self._shots, masks, strict=True):
            due = not shots or index - shots[-1][0] >= self.settings.gap
            if due and mask.any() and self._trust(concept, encoded, mask) >= self.settings.least:
                names.append(concept.name)
        self.restore(index, encoded, masks, names)
        return names

    def restore(
        self, index: int, encoded: Encoded, masks: Sequence[Bool[np.ndarray, "H W"]], names: Collection[str]
    ) -> None:
        """Remember a frame for the concepts of these names, which an earlier `keep` returned."""
        for i, (concept, mask) in enumerate(zip(self.concepts, masks, strict=True)):
            if concept.name in names:
                shot = concept.shot_of(f"frame {index}", encoded.tokens[0], self._patches(mask), mask)
                self._shots[i].append((index, shot))
                drawn = replace(concept, drawn=concept.drawn or concept)  # masks are scored against the drawn examples
                self._extended[i] = reduce(Concept.with_shots, (shot for _, shot in self._shots[i]), drawn)

    def _trust(self, concept: Concept, encoded: Encoded, mask: Bool[np.ndarray, "H W"]) -> float:
        self.model.check(concept)
        return presence_of(encoded, concept, self._patches(mask), self.model.config, self.model.cache)

    def _patches(self, mask: Bool[np.ndarray, "H W"]) -> Bool[Tensor, "n"]:
        return mask_patches(mask, self.model.config, self.model.encoder)
