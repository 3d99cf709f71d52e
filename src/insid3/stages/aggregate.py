"""Stage 5: the clusters that belong to the seed (paper 3.4)."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def cluster_scores(
    means: Float[Tensor, "k c"],
    forward: Float[Tensor, "n"],
    labels: Int[Tensor, "n"],
    candidates: Bool[Tensor, "n"],
    seed: int,
    aggregation: Literal["cross-intra", "cross", "seed"] = "cross-intra",
) -> Float[Tensor, "k"]:
    """cross x intra x area of every cluster, or what the paper's ablation has in its place.

    intra: similarity of the raw mean to the seed's (eq. in 3.4); cross: mean similarity of the members to the concept's
    prototype; area: share of members that are candidates, 1 for the seed (published code, not in the paper).

    Args:
        means: normalised means of the clusters' raw tokens, u_k.
        forward: similarity of the debiased target tokens to the concept's prototype.
        aggregation: "cross" leaves out intra; "seed" lets no other cluster join, whatever the threshold.
    """
    if aggregation == "seed":
        alone = torch.full_like(means[:, 0], -torch.inf)
        alone[seed] = torch.inf
        return alone
    intra = means @ means[seed]
    sizes = labels.bincount(minlength=len(means)).to(forward.dtype)
    cross = torch.zeros_like(intra).index_add_(0, labels, forward) / sizes
    area = torch.zeros_like(intra).index_add_(0, labels, candidates.to(forward.dtype)) / sizes
    area[seed] = 1
    return cross * area if aggregation == "cross" else cross * intra * area


def margins(scores: Float[Tensor, "k"], seed: int, threshold: float, keep_seed: bool) -> Float[Tensor, "k"]:
    """How far every cluster is above the threshold, in units of it, cut to [-1, 1]: positive means kept.

    The published code applies the threshold to the seed as well, so nothing may remain; in the paper the seed always
    stays. The cut makes tiles that agree weigh the same, however sure they are.
    """
    above = ((scores - threshold) / max(abs(threshold), 1e-6)).clamp(-1, 1)
    if keep_seed:
        above[seed] = 1
    return above
