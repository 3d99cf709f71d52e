"""Regions of a reference, its clusters (stage 3), from which a person builds the mask."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from insid3.concept import Concept
from insid3.features.patch_grid import PatchGrid
from insid3.imaging.points import checked_points, parse_points
from insid3.model import INSID3
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
    """Read picks from text such as "+417,180 -300,220"; no sign means plus.

    Raises:
        ConfigError: the text is something else.
    """
    return [Pick(*parse_points(word.lstrip("+-"))[0], adds=not word.startswith("-")) for word in text.split()]


@dataclass(frozen=True, eq=False)
class Regions:
    """Hold the regions of one picture.

    Attributes:
        labels: (H, W) the region of each pixel, as coarse as patches.
    """

    labels: Int[np.ndarray, "H W"]

    @classmethod
    def from_concept(cls, model: INSID3, concept: Concept, shot: int = 0) -> "Regions":
        """Take the clusters of a concept's picture as regions; `model.but(tau=...)` makes them finer or coarser.

        Raises:
            ConceptError: the concept was made with another backbone, weights or size.
        """
        concept.accept(model.encoder, model.config.fit, model.config.size)
        size = concept.image_sizes[shot]
        grid = PatchGrid.from_settings(size, model.config, model.encoder.patch_size, tiled=False)
        labels = cluster(concept.tokens[shot].to(model.encoder.device), model.config.tau).cpu().numpy()
        rows, columns = (
            ((np.arange(pixels) + 0.5) * extent / pixels).astype(int)
            for pixels, extent in zip(size, grid.extent, strict=True)
        )
        return cls(labels.reshape(grid.shape)[np.ix_(rows, columns)])

    def mask(self, picks: Iterable[Pick]) -> Bool[np.ndarray, "H W"]:
        """Return the mask of all regions that picks add, less the regions that later picks take away.

        Raises:
            ConfigError: a point lies outside the picture.
        """
        chosen, (height, width) = np.zeros(self.labels.max() + 1, bool), self.labels.shape
        for pick in picks:
            ((x, y),) = checked_points([[pick.x, pick.y]], (height, width))
            chosen[self.labels[min(int(y), height - 1), min(int(x), width - 1)]] = pick.adds
        return chosen[self.labels]
