"""A reference's own clusters (stage 3) as regions to build its mask of."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from insid3.concept import Concept
from insid3.frame import Frame
from insid3.pipeline import INSID3
from insid3.points import checked_points, parse_points
from insid3.stages.cluster import cluster


@dataclass(frozen=True)
class Pick:
    """A point (x, y) in pixels whose region belongs to the mask, or does not."""

    x: float
    y: float
    adds: bool = True

    def __str__(self) -> str:
        return f"{'+' if self.adds else '-'}{self.x:g},{self.y:g}"


def parse_picks(text: str) -> list[Pick]:
    """ "+417,180 -300,220", where a sign may be left out for a plus.

    Raises:
        ConfigError: something else.
    """
    return [Pick(*parse_points(word.lstrip("+-"))[0], adds=not word.startswith("-")) for word in text.split()]


@dataclass(frozen=True, eq=False)
class Regions:
    """Of one picture.

    Attributes:
        labels: (H, W) the region of each pixel; as coarse as patches.
    """

    labels: Int[np.ndarray, "H W"]

    @classmethod
    def of(cls, model: INSID3, concept: Concept, shot: int = 0) -> "Regions":
        """The clusters of a concept's picture; `model.but(tau=...)` makes them finer or coarser.

        Raises:
            ConceptError: the concept was made with another backbone, weights or size.
        """
        concept.accept(model.encoder, model.config.fit, model.config.size)
        size = concept.image_sizes[shot]
        frame = Frame.of(size, model.config, model.encoder.patch_size, tiled=False)
        labels = cluster(concept.tokens[shot].to(model.encoder.device), model.config.tau).cpu().numpy()
        rows, columns = (
            ((np.arange(pixels) + 0.5) * extent / pixels).astype(int)
            for pixels, extent in zip(size, frame.extent, strict=True)
        )
        return cls(labels.reshape(frame.grid)[np.ix_(rows, columns)])

    def mask(self, picks: Iterable[Pick]) -> Bool[np.ndarray, "H W"]:
        """All that the picks add, without what later ones take away.

        Raises:
            ConfigError: a point outside the picture.
        """
        chosen, (height, width) = np.zeros(self.labels.max() + 1, bool), self.labels.shape
        for pick in picks:
            ((x, y),) = checked_points([[pick.x, pick.y]], (height, width))
            chosen[self.labels[min(int(y), height - 1), min(int(x), width - 1)]] = pick.adds
        return chosen[self.labels]
