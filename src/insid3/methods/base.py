"""The common ground of all methods: their signature, and their end, where patches become a result with a score."""

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from insid3.concept import Concept
from insid3.config import Config
from insid3.features.cache import FeatureCache
from insid3.features.encoded import Encoded
from insid3.features.upsample import PatchScores, Zoom, to_mask
from insid3.results import Segmentation
from insid3.stages.localize import backward_votes, candidates, prototype
from insid3.stages.presence import presence

DRAWN = "the picture is a reference: the mask is the one that was drawn"
ABSENT = "the picture is a negative: it was given as one without the concept"


class Method(Protocol):
    """Mark a concept in an encoded target.

    Args:
        target: the target's tokens, and where its patches are.
        concept: references with masks, made by the same encoder.
        config: the model's settings.
        cache: keeps what is computed once; its `encoder` made the tokens.

    Returns:
        A mask of the target's size, with its score and, where it is empty, the reason (`methods/result.py`).
    """

    def __call__(self, target: Encoded, concept: Concept, config: Config, cache: FeatureCache) -> Segmentation: ...


def as_result(
    target: Encoded,
    concept: Concept,
    config: Config,
    cache: FeatureCache,
    margin: Float[Tensor, "n"],
    forward: Float[Tensor, "n"],
    otherwise: str,
    *,
    scores: Float[Tensor, "n"] | None = None,
    labels: Int[Tensor, "n"] | None = None,
    seed: int | None = None,
    candidate: Bool[Tensor, "n"] | None = None,
    cluster_scores: Float[Tensor, "k"] | None = None,
    zoom: Zoom | None = None,
) -> Segmentation:
    """Turn what a method found in the patches of all windows into a result (stage 6).

    Args:
        margin: above 0 where a patch belongs to the mask.
        forward: similarity of each patch to the concept's prototype.
        otherwise: why there is nothing, where that is so.
        scores: what a threshold is compared with; `margin` above `threshold` if not given.
        labels: the cluster of each patch; None if the method forms none.
        seed: the seed cluster.
        candidate: the patches that may show the concept; those of the mask if not given.
        cluster_scores: what the threshold is compared with, cluster by cluster.
        zoom: scores of a part that was looked at again.
    """
    soft, grid, kept = margin + config.threshold if scores is None else scores, target.grid, margin > 0
    score = presence_of(target, concept, kept, config, cache)
    if kept.any() and score < config.min_score:
        otherwise = f"the score {score:.2f} is below the least that counts, {config.min_score:g}"
        margin, soft, zoom = torch.full_like(margin, -1), torch.full_like(margin, -1), None

    def per_window(values: Tensor) -> np.ndarray:
        return values.view(len(grid.windows), -1).cpu().numpy()

    above, patch_size = zoom and zoom._replace(values=zoom.values - config.threshold), cache.encoder.patch_size
    mask, reason = to_mask(per_window(margin), grid, target.picture, patch_size, config, above)
    if not mask.any():
        reason = otherwise if (margin <= 0).all() else "the marked patches are smaller than a pixel of the target"
    return Segmentation(
        mask=mask,
        score=score,
        similarity=grid.blend(per_window(forward)),
        seed=seed,
        reason=reason,
        clusters=np.full(grid.shape, -1) if labels is None else grid.choose(per_window(labels)),
        candidates=grid.choose(per_window(kept if candidate is None else candidate)),
        cluster_scores=np.zeros(0, np.float32) if cluster_scores is None else cluster_scores.cpu().numpy(),
        patch_scores=PatchScores(per_window(soft), grid, patch_size, config, zoom),
        source=target.source,
    )


def presence_of(
    target: Encoded, concept: Concept, kept: Bool[Tensor, "n"], config: Config, cache: FeatureCache
) -> float:
    """Return how surely these patches show the concept, in [0, 1], measured against the shots that a person drew."""
    concept = concept.drawn or concept
    shots, debiased = cache.shots(concept, config), cache.debiased(target.tokens, config)
    matches, beaten = cache.matches(debiased, shots)
    votes = backward_votes(matches, shots.masks, beaten)
    candidate = candidates(debiased @ cache.once(prototype, shots.tokens, shots.masks), votes, concept.shots)
    return presence(kept, candidate, matches, shots.tokens, shots.masks, debiased, config.rule)


def as_known(
    found: Segmentation,
    concept: Concept,
    digest: str,
    size: tuple[int, int] | None = None,
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> Segmentation:
    """Return the known result of a picture that the concept was made from; `found` for any other picture.

    A reference has the mask that was drawn in it, a negative an empty mask. The heat map stays as it was found.

    Args:
        digest: of the picture's file, by `digest_of`.
        size: the picture's (height, width); the size of the mask that was found if not given.
        window: the rows and columns that were looked at.
    """
    if not digest:
        return found
    shots = zip(concept.files, concept.masks, strict=False)  # without masks it is good for matching only
    masks = [mask for file, mask in shots if file == digest and mask.shape == (size or found.mask.shape)]
    if not masks and digest not in concept.negative_files:
        return found
    mask = np.logical_or.reduce(masks)[window] if masks else np.zeros_like(found.mask)
    reason = DRAWN if masks else ABSENT
    return replace(found, mask=mask, score=float(mask.any()), seed=None, reason=reason, is_known=True)
