"""Stage 3: fine-grained clustering of the target's raw tokens (paper 3.2)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

_BLOCK = 2**24  # similarities held at once (64 MB)


def cluster(tokens: Float[Tensor, "n c"], tau: float) -> Int[Tensor, "n"]:
    """Average-linkage clusters whose mutual mean cosine similarity is at most tau, numbered by their first patch.

    Tokens are unit vectors, so the mean similarity of two clusters is the product of their mean tokens. Average linkage
    is reducible: merging every reciprocal pair of nearest neighbours at once, round after round, gives the same
    partition as merging the closest pair each time, and after a round only clusters that merged or whose nearest
    neighbour did have to look again. Memory is O(n c).
    """
    n = len(tokens)
    sums, sizes = tokens.clone(), tokens.new_ones(n)
    labels = torch.arange(n, device=tokens.device)
    if n == 1:
        return labels
    best, near = _nearest_other(sums, labels)
    while True:
        k = len(sums)
        index = torch.arange(k, device=tokens.device)
        first = (near[near] == index) & (index < near) & (best > tau)
        if not first.any():
            # Rounding or exact ties can leave a pair above tau without reciprocity: take the lowest such pair.
            above = torch.nonzero(best > tau).flatten()
            if not len(above):
                break
            first[above[0]] = True
        a = index[first]
        b = near[a]
        a, b = torch.minimum(a, b), torch.maximum(a, b)
        sums[a] += sums[b]
        sizes[a] += sizes[b]

        gone = torch.zeros(k, dtype=torch.bool, device=tokens.device)
        touched = gone.clone()
        gone[b] = True
        touched[a] = touched[b] = True
        target = index.clone()
        target[b] = a
        renumber = (~gone).cumsum(0) - 1
        labels = renumber[target[labels]]

        stale = (touched | touched[near])[~gone]
        sums, sizes = sums[~gone], sizes[~gone]
        best, near = best[~gone], renumber[near[~gone]]
        if len(sums) == 1:
            break
        means = sums / sizes[:, None]
        rows = torch.nonzero(stale).flatten()
        best[rows], near[rows] = _nearest_other(means, rows)
    return labels


def cluster_means(tokens: Float[Tensor, "n c"], labels: Int[Tensor, "n"]) -> Float[Tensor, "k c"]:
    """Normalised mean token of every cluster."""
    sums = tokens.new_zeros(int(labels.max()) + 1, tokens.shape[1]).index_add_(0, labels, tokens)
    return F.normalize(sums, dim=-1)


def _nearest_other(means: Float[Tensor, "k c"], rows: Int[Tensor, "q"]) -> tuple[Float[Tensor, "q"], Int[Tensor, "q"]]:
    """For each of `rows` the largest similarity to another cluster and the lowest index that has it."""
    best, near = [], []
    for block in rows.split(max(1, _BLOCK // len(means))):
        similarity = means[block] @ means.T
        similarity[torch.arange(len(block), device=means.device), block] = -torch.inf
        value, index = similarity.max(1)
        best.append(value)
        near.append(index)
    return torch.cat(best), torch.cat(near)
