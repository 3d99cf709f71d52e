"""The published method with one stage left out or replaced, for the paper's ablations and for comparison."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from insid3.concept import Concept
from insid3.config import Config
from insid3.features.cache import FeatureCache
from insid3.features.encoded import Encoded
from insid3.methods import insid3, plus
from insid3.results import Segmentation
from insid3.stages.aggregate import cluster_scores
from insid3.stages.kmeans import kmeans


def cross_alone(cross: Tensor, intra: Tensor) -> Tensor:
    """Leave out the similarity to the seed, as the paper's ablation does."""
    return cross


def seed_alone(*values: Any) -> Tensor:
    """Score the seed above every threshold and all other clusters below, as the paper's ablation does.

    Args:
        values: the arguments of `cluster_scores`.
    """
    means, seed = values[0], values[-1]
    return torch.full_like(means[:, 0], -torch.inf).index_fill_(0, torch.tensor(seed, device=means.device), torch.inf)


_SCORES: dict[str, Callable[..., Tensor]] = {
    "cross-intra": cluster_scores,
    "cross": partial(cluster_scores, combine=cross_alone),
    "seed": seed_alone,
}


def is_ablation(config: Config) -> bool:
    """Return whether the settings replace a stage."""
    return config.kmeans is not None or config.aggregation != "cross-intra"


def segment(target: Encoded, concept: Concept, config: Config, cache: FeatureCache) -> Segmentation:
    """Mark a concept with k-means in the place of average linkage (`kmeans`), or other scores (`aggregation`)."""
    partition = None if config.kmeans is None else (kmeans, config.kmeans)
    if config.rule == "field":
        return plus.segment(target, concept, config, cache, partition=partition)
    scores_of = _SCORES[config.aggregation]
    return insid3.segment(target, concept, config, cache, partition=partition, scores_of=scores_of)
