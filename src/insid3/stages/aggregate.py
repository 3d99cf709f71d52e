"""Stage 5: scores of the clusters, and which clusters join the seed (paper 3.4)."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def cluster_scores(
    means: Float[Tensor, "k c"],
    forward: Float[Tensor, "n"],
    labels: Int[Tensor, "n"],
    candidates: Bool[Tensor, "n"],
    seed: int,
    combine: Callable[[Tensor, Tensor], Tensor] = torch.mul,
) -> Float[Tensor, "k"]:
    """Score every cluster: cross x intra x area (paper 3.4).

    cross is the mean similarity of a cluster's patches to the concept's prototype. intra is the similarity of the
    cluster's raw mean to the seed cluster's. area is the share of the cluster's patches that are candidates, and 1 for
    the seed (published code, not in the paper).

    Args:
        means: (k, c), normalised means of the clusters' raw tokens, u_k.
        forward: (n,), similarity of each debiased target token to the concept's prototype.
        labels: (n,), the cluster of each patch.
        candidates: (n,), the patches that stage 2 kept.
        seed: label of the seed cluster.
        combine: function of cross and intra; ablations replace their product.

    Example:
        >>> means, forward = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([0.9, 0.5, 0.5])
        >>> labels, candidates = torch.tensor([0, 1, 1]), torch.tensor([True, True, False])
        >>> cluster_scores(means, forward, labels, candidates, seed=0)  # the second: 0.5 x 0.6 x 1/2
        tensor([0.9000, 0.1500])
    """
    intra = means @ means[seed]
    sizes = labels.bincount(minlength=len(means)).to(forward.dtype)
    cross = torch.zeros_like(intra).index_add_(0, labels, forward) / sizes
    area = torch.zeros_like(intra).index_add_(0, labels, candidates.to(forward.dtype)) / sizes
    area[seed] = 1
    return combine(cross, intra) * area


def margins(scores: Float[Tensor, "k"], seed: int, threshold: float, keep_seed: bool) -> Float[Tensor, "k"]:
    """Return how far each cluster's score lies above the threshold, in units of the threshold, cut to [-1, 1].

    A cluster with a positive margin is kept. The cut makes tiles that agree weigh the same, however sure they are.

    Args:
        scores: (k,), of the clusters.
        seed: label of the seed cluster.
        keep_seed: keep the seed whatever its score, as the paper does; the published code may drop it.

    Example:
        >>> margins(torch.tensor([0.1, 0.3, 0.9]), seed=0, threshold=0.2, keep_seed=False)
        tensor([-0.5000,  0.5000,  1.0000])
    """
    above = ((scores - threshold) / max(abs(threshold), 1e-6)).clamp(-1, 1)
    if keep_seed:
        above[seed] = 1
    return above
