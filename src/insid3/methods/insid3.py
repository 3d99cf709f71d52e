"""The published method, INSID3 (paper, section 3): from an encoded target and a concept to a mask."""

from collections.abc import Callable

import torch
from torch import Tensor

from insid3.concept import Concept
from insid3.config import Config
from insid3.features.cache import FeatureCache
from insid3.features.encoded import Encoded
from insid3.methods.base import as_result
from insid3.results import Segmentation
from insid3.stages.aggregate import cluster_scores, margins
from insid3.stages.cluster import cluster, cluster_means, cluster_windows
from insid3.stages.localize import backward_votes, candidates, prototype, seed_cluster


def segment(
    target: Encoded,
    concept: Concept,
    config: Config,
    cache: FeatureCache,
    *,
    partition: tuple[Callable[..., Tensor], float | int] | None = None,
    scores_of: Callable[..., Tensor] = cluster_scores,
) -> Segmentation:
    """Mark a concept in a target with the stages of the paper, in its order.

    Args:
        partition: a function that clusters a window's tokens and its parameter, in the place of 3.2's linkage and tau.
        scores_of: a function that scores clusters, in the place of 3.4's (`methods/ablations.py` has both).
    """
    # 3.1 Positional debiasing: tokens to compare the target with other pictures.
    shots = cache.shots(concept, config)
    debiased = cache.debiased(target.tokens, config)

    # 3.2 Fine-grained clustering of the target's raw tokens.
    labels = cache.once(cluster_windows, target.tokens, *(partition or (cluster, config.tau)))

    # 3.3 Seed-cluster selection. Candidates resemble the concept's prototype g (forward), and the patch of a reference
    # nearest to each lies under the mask (backward); negatives are further background of every reference.
    g = cache.once(prototype, shots.tokens, shots.masks)
    forward = debiased @ g
    matches, beaten = cache.matches(debiased, shots)
    votes = backward_votes(matches, shots.masks, beaten)
    candidate = candidates(forward, votes, concept.shots)
    if not candidate.any():
        nothing = torch.full_like(forward, -1)
        why = "no patch resembles the concept more than its background"
        return as_result(
            target, concept, config, cache, nothing, forward, why, scores=nothing, labels=labels, candidate=candidate
        )
    seed = seed_cluster(cluster_means(debiased, labels), g, labels, candidate)

    # 3.4 Aggregation: the clusters that belong to the seed, by what their raw tokens have in common.
    means = cluster_means(target.tokens.flatten(0, 1), labels)
    scores = scores_of(means, forward, labels, candidate, seed)
    margin = margins(scores, seed, config.threshold, config.keep_seed)
    why = f"no cluster scores above the threshold {config.threshold:g} (the best: {scores.max():.2f})"

    # From patches to pixels.
    kept_scores = scores.index_fill(0, torch.tensor(seed, device=scores.device), 1) if config.keep_seed else scores
    return as_result(
        target, concept, config, cache, margin[labels], forward, why, scores=kept_scores[labels], labels=labels,
        seed=seed, candidate=candidate, cluster_scores=scores,
    )  # fmt: skip
