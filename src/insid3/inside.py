"""How a mask came about: what every stage made of a target, to look at."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from insid3.concept import Concept
from insid3.encoded import Encoded
from insid3.images import Source
from insid3.pipeline import INSID3
from insid3.types import Segmentation


@dataclass(frozen=True, eq=False)
class Inside:
    """The stages of one segmentation, each on the target's patches.

    Attributes:
        result: what `INSID3.segment` gives; its `similarity`, `clusters` and `seed` belong here too.
        raw: (h, w) similarity to the concept's prototype without debiasing (the paper's Fig. 4, before).
        candidates: (h, w) which patches may show the concept (stage 2).
        scores: (k,) of each of `result.clusters`, what the threshold is compared with; empty without a candidate. With
            rule="field" the mean of its patches: each of them is compared by itself.
        kept: (k,) which clusters make the mask; likewise, or with rule="field" most of it.
    """

    result: Segmentation
    raw: Float[np.ndarray, "h w"]
    candidates: Bool[np.ndarray, "h w"]
    scores: Float[np.ndarray, "k"]
    kept: Bool[np.ndarray, "k"]


def look_inside(model: INSID3, target: Source | Encoded, concept: Concept) -> Inside:
    """Segment a target and keep what the stages found on the way.

    Raises: as `INSID3.segment`.
    """
    encoded = target if isinstance(target, Encoded) else model.encode(target)
    result, evidence, frame = model.segment(encoded, concept), model.evidence(encoded, concept), encoded.frame
    prototype = model.derived.reference(concept, model.config.but(rank=0)).prototype
    windows = len(frame.windows)
    scores, kept = np.zeros(0, np.float32), np.zeros(0, bool)
    if model.config.rule == "field" and evidence.candidate.any():
        labels = model.derived.labels(encoded, model.config)
        sizes = labels.bincount()
        scores = (labels.bincount(model.derived.field(evidence, model.config)) / sizes).cpu().numpy()
        kept = scores > model.config.threshold
    elif result.seed is not None:
        scored = model.derived.scored(evidence, model.config)
        scores = scored.scores.cpu().numpy()
        kept = scores > model.config.threshold
        kept[scored.seed] |= model.config.keep_seed
    return Inside(
        result=result,
        raw=frame.blend((encoded.tokens @ prototype).cpu().numpy()),
        candidates=frame.choose(evidence.candidate.view(windows, -1).cpu().numpy()),
        scores=scores,
        kept=kept,
    )
