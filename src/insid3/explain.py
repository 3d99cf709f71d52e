"""The stages of one segmentation, to look at."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from insid3.concept import Concept
from insid3.features.encoded import Encoded
from insid3.imaging.opening import Source
from insid3.model import INSID3
from insid3.results import Segmentation
from insid3.stages.localize import prototype


@dataclass(frozen=True, eq=False)
class Inside:
    """The stages of one segmentation, on the target's patches.

    Attributes:
        result: the result of `INSID3.segment`; its `similarity`, `clusters` and `seed` belong here too.
        raw: (h, w) similarity to the concept's prototype without debiasing (the paper's Fig. 4, before).
        kept: (k,) which clusters are above the threshold; with rule="field" they make up most of the mask.
    """

    result: Segmentation
    raw: Float[np.ndarray, "h w"]
    kept: Bool[np.ndarray, "k"]

    @property
    def candidates(self) -> Bool[np.ndarray, "h w"]:
        """The (h, w) patches that may show the concept (stage 2)."""
        return self.result.candidates

    @property
    def scores(self) -> Float[np.ndarray, "k"]:
        """The (k,) scores of the clusters, which the threshold is compared with; empty without a candidate.

        With rule="field" each patch is compared by itself, and this is the mean of a cluster's patches.
        """
        return self.result.cluster_scores


def look_inside(model: INSID3, target: Source | Encoded, concept: Concept) -> Inside:
    """Segment a target and keep what the stages found on the way.

    Errors are those of `INSID3.segment`.

    >>> inside = look_inside(model, "target.jpg", cat)
    >>> inside.candidates.sum(), inside.kept.sum()
    """
    encoded = target if isinstance(target, Encoded) else model.encode(target)
    result, config = model.segment(encoded, concept), model.config
    shots = model.cache.shots(concept, config.but(rank=0))
    raw = encoded.tokens @ model.cache.once(prototype, shots.tokens, shots.masks)
    kept = result.cluster_scores > config.threshold
    if result.seed is not None:
        kept[result.seed] |= config.keep_seed
    return Inside(result, encoded.grid.blend(raw.cpu().numpy()), kept)
