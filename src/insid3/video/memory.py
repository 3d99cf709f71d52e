"""What was seen before: a concept and a few confident earlier frames as further shots, found and not drawn."""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from insid3.concept import Concept
from insid3.encoded import Encoded, mask_patches
from insid3.errors import ConfigError
from insid3.labels import LabelMap
from insid3.pipeline import INSID3


@dataclass(frozen=True)
class Bank:
    """How many frames a memory holds, and which. Measured by `benchmarks/video.py`.

    Attributes:
        most: frames for each concept.
        least: score, against the concept as it was given, of a mask that is remembered; so that an error cannot feed on
            itself.
        gap: numbers of frames between two that are remembered, at least; neighbours tell nothing new.
    """

    most: int = 2
    least: float = 0.6
    gap: int = 12

    def __post_init__(self) -> None:
        if self.most < 1 or self.gap < 1 or not 0 <= self.least <= 1:
            raise ConfigError("a memory holds 1 frame or more, with a score in [0, 1] and a gap of 1 or more")


class Memory:
    """Marks frames in their order; memory and time for each do not grow with their number.

    >>> memory = Memory(model, [cat])
    >>> for index, picture in clip.pictures(range(0, 300, 5)):
    ...     encoded = model.encode(picture)
    ...     found = memory.label(encoded)
    ...     memory.keep(index, encoded, found.masks)
    """

    def __init__(self, model: INSID3, concepts: Sequence[Concept], bank: Bank | None = None) -> None:
        """Raises:
        ConfigError: tiles, of which no shot can be made.
        """
        if model.config.tile is not None:
            raise ConfigError("a memory needs frames that are seen whole: leave out tile (--tile) or the memory")
        self.model, self.concepts, self.bank = model, list(concepts), bank or Bank()
        self._shots = [deque[tuple[int, Concept]](maxlen=self.bank.most) for _ in self.concepts]
        self._extended = list(self.concepts)

    def label(self, encoded: Encoded, overlap: str = "best", margin: float = 0.05) -> LabelMap:
        """As `INSID3.label`, with what is remembered; masks are scored against the concepts as they were given."""
        return self.model.label(encoded, self._extended, overlap=overlap, margin=margin)

    def keep(self, index: int, encoded: Encoded, masks: Sequence[Bool[np.ndarray, "H W"]]) -> list[str]:
        """Remember a frame for those concepts whose mask is confident; their names."""
        names = []
        for concept, shots, mask in zip(self.concepts, self._shots, masks, strict=True):
            due = not shots or index - shots[-1][0] >= self.bank.gap
            if due and mask.any() and self._trust(concept, encoded, mask) >= self.bank.least:
                names.append(concept.name)
        self.restore(index, encoded, masks, names)
        return names

    def restore(
        self, index: int, encoded: Encoded, masks: Sequence[Bool[np.ndarray, "H W"]], names: Collection[str]
    ) -> None:
        """Remember a frame for the concepts of these names, as `keep` did that returned them."""
        for i, (concept, mask) in enumerate(zip(self.concepts, masks, strict=True)):
            if concept.name in names:
                shot = concept.shot_of(f"frame {index}", encoded.tokens[0], self._patches(mask), mask)
                self._shots[i].append((index, shot))
                given = replace(concept, given=concept.given or concept)  # what masks are scored against
                self._extended[i] = reduce(Concept.with_shots, (shot for _, shot in self._shots[i]), given)

    def _trust(self, concept: Concept, encoded: Encoded, mask: Bool[np.ndarray, "H W"]) -> float:
        return self.model.evidence(encoded, concept).trust(self._patches(mask), self.model.config.rule)

    def _patches(self, mask: Bool[np.ndarray, "H W"]) -> Bool[Tensor, "n"]:
        return mask_patches(mask, self.model.config, self.model.encoder)
