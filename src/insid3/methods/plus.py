"""The preset "plus": all evidence in one soft field, cut last. Not in the paper (`docs/accuracy.md`)."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from insid3.concept import Concept
from insid3.config import Config
from insid3.features.cache import FeatureCache, Shots
from insid3.features.encoded import Encoded
from insid3.features.upsample import Zoom
from insid3.features.zoom import encode_part
from insid3.methods.base import as_result
from insid3.results import Segmentation
from insid3.stages.cluster import cluster, cluster_windows
from insid3.stages.localize import backward_votes, candidates, prototype
from insid3.stages.plus.evidence_field import (
    agreement,
    background_prototype,
    discriminant,
    min_max,
    region_evidence,
    soft_votes,
)
from insid3.stages.plus.smooth import neighbour_graphs, smooth


def segment(
    target: Encoded,
    concept: Concept,
    config: Config,
    cache: FeatureCache,
    *,
    partition: tuple[Callable[..., Tensor], float | int] | None = None,
) -> Segmentation:
    """Mark a concept in a target: gates and clusters of the paper become weights of one field.

    Args:
        partition: a function that clusters a window's tokens and its parameter, in the place of 3.2's linkage and tau.
    """
    # 3.1 Positional debiasing, 3.2 clustering, and the candidates of 3.3: as the paper has them.
    shots = cache.shots(concept, config)
    debiased = cache.debiased(target.tokens, config)
    how = partition or (cluster, config.tau)
    labels = cache.once(cluster_windows, target.tokens, *how)
    forward = debiased @ cache.once(prototype, shots.tokens, shots.masks)
    matches, beaten = cache.matches(debiased, shots)
    candidate = candidates(forward, backward_votes(matches, shots.masks, beaten), concept.shots)
    if not candidate.any():
        nothing = torch.full_like(forward, -1)
        why = "no patch resembles the concept more than its background"
        return as_result(
            target, concept, config, cache, nothing, forward, why, scores=nothing, labels=labels, candidate=candidate
        )

    # In the place of the seed (3.3) and of aggregation (3.4): the field, and a closer look at what is small.
    values = field(target, shots, labels, config, cache)
    zoom = None
    if config.closer and (part := encode_part(target, values, config, cache)):
        box, closer = part
        own = cache.once(cluster_windows, closer.tokens, *how)
        zoom = Zoom(box, closer.grid, field(closer, shots, own, config, cache)[None].cpu().numpy())
    why = f"no patch's field is above the threshold {config.threshold:g} (the best: {values.max():.2f})"

    # From patches to pixels: the field is enlarged, then cut.
    return as_result(
        target, concept, config, cache, values - config.threshold, forward, why, scores=values, labels=labels,
        candidate=candidate, cluster_scores=labels.bincount(values) / labels.bincount(), zoom=zoom,
    )  # fmt: skip


def field(
    target: Encoded, shots: Shots, labels: Int[Tensor, "n"], config: Config, cache: FeatureCache
) -> Float[Tensor, "n"]:
    """Return how surely each patch of a target belongs to the concept, in [0, 1]."""
    once, debiased = cache.once, cache.debiased(target.tokens, config)
    matches, beaten = cache.matches(debiased, shots)

    # Shots weigh by how well they agree. The field begins with the similarity to the concept, less that to the
    # background most like the concept, and the votes of the nearest patches.
    weights = once(agreement, shots.tokens, shots.masks, shots.found)
    concept = once(prototype, shots.tokens, shots.masks, weights)
    background = once(background_prototype, shots.tokens, shots.masks, weights, concept)
    similarity, votes = debiased @ concept, soft_votes(matches, shots.masks, weights, beaten)
    values = similarity - config.background * (debiased @ background) + config.votes * votes

    # Clusters speak for all of their patches.
    regions = region_evidence(values, (similarity > 0) & (votes >= 0.5), labels)
    values = min_max(values + config.regions * regions[labels])

    # The references' own linear discriminant, and what the target's patches have in common.
    if share := config.discriminant:
        direction = once(discriminant, shots.tokens, shots.masks, weights)
        values = min_max((1 - share) * values + share * min_max(debiased @ direction))
    return smooth(values, once(neighbour_graphs, target.tokens), config.smoothing) if config.smoothing else values
