"""Stage 3: fine-grained clustering of the target's raw tokens (paper 3.2)."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

_BLOCK = 2**22  # similarities in one product at most (16 MB)
_ROWS = 512  # of one product at most: the larger a block on the diagonal, the more pairs are computed twice
_STORED = 2048  # clusters at most whose similarities are all stored (16 MB): adding rows is cheaper than products
_EQUAL = 1 - 1e-6  # float32 cannot tell such similarities from 1
_NEVER = -2.0  # below every similarity


def cluster(tokens: Float[Tensor, "n c"], tau: float) -> Int[Tensor, "n"]:
    """Cluster unit tokens by average linkage and return each patch's label (paper 3.2).

    No two clusters have a mean cosine similarity above tau. Labels count the clusters by their first patch.

    Tokens are unit vectors, so the mean similarity of two clusters is the product of their mean tokens. Average linkage
    is reducible: merging all reciprocal nearest neighbours at once, round after round, gives the same partition as
    merging the closest pair each time. A cluster with nothing above tau is finished and leaves the pool. Only clusters
    that merged, or whose nearest neighbour did, have to search again. Tokens that are equal but for rounding merge
    without being reciprocal: they have no order, and a picture of one colour would take n rounds. Memory is O(n c).

    Args:
        tokens: (n, c), raw unit tokens of the target.
        tau: least mean similarity, exclusive, at which two clusters merge.

    Example:
        >>> cluster(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]), tau=0.7)
        tensor([0, 1, 0])
    """
    n = len(tokens)
    first = torch.arange(n, device=tokens.device)  # an earlier patch of each patch's cluster, or the patch itself
    pool, sums, sizes = first, tokens, tokens.new_ones(n)
    best, near, stale = tokens.new_empty(n), first.clone(), first
    while tau < 1 and len(pool) > 1:
        means, index = sums / sizes[:, None], torch.arange(len(pool), device=tokens.device)
        stored = _similarities(means) if len(pool) <= _STORED else None
        if stored is not None:
            best, near = stored.max(1)
        else:
            best[stale], near[stale] = _nearest_other(means, stale)
        equal = (best > max(tau, _EQUAL)) & (near < index)
        if equal.any():
            target = torch.where(equal, near, index)
            while not target.equal(further := target[target]):
                target = further
            b = equal.nonzero().flatten()
            a = target[b]
        elif stored is not None:
            _merge_stored(stored, best, near, sizes, pool, first, tau)
            break
        else:
            a, b = _pairs(best, near, tau)
        if not len(a):
            break
        first[pool[b]] = pool[a]
        keep, merged = best > tau, torch.zeros_like(equal)
        keep[a], keep[b], merged[a] = True, False, True  # a pair stays even if rounding puts one side at tau
        kept, number = keep.nonzero().flatten(), keep.cumsum(0) - 1
        stale = (merged | (merged | ~keep)[near])[kept].nonzero().flatten()
        sums, sizes = sums.index_add(0, a, sums[b])[kept], sizes.index_add(0, a, sizes[b])[kept]
        pool, best, near = pool[kept], best[kept], number[near[kept]]
    while not first.equal(further := first[first]):
        first = further
    return first.unique(return_inverse=True)[1]


def cluster_windows(
    windows: Float[Tensor, "w _ c"], partition: Callable[[Tensor, Any], Tensor], number: float | int
) -> Int[Tensor, "n"]:
    """Cluster each window of a target by itself and return all labels; no two windows share one.

    Args:
        windows: (w, n / w, c), raw unit tokens.
        partition: `cluster` or `kmeans`.
        number: second argument of `partition`: tau or the number of clusters.

    Example:
        >>> cluster_windows(torch.eye(2).expand(2, 2, 2), cluster, 0.6)
        tensor([0, 1, 2, 3])
    """
    labels, clusters = [], 0
    for tokens in windows:
        labels.append(partition(tokens, number) + clusters)
        clusters = int(labels[-1].max()) + 1
    return torch.cat(labels)


def cluster_means(tokens: Float[Tensor, "n c"], labels: Int[Tensor, "n"]) -> Float[Tensor, "k c"]:
    """Return the normalised mean token of every cluster, (k, c).

    Example:
        >>> cluster_means(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1, 1]))
        tensor([[1., 0.],
                [0., 1.]])
    """
    sums = tokens.new_zeros(int(labels.max()) + 1, tokens.shape[1]).index_add_(0, labels, tokens)
    return F.normalize(sums, dim=-1)


def _pairs(best: Float[Tensor, "k"], near: Int[Tensor, "k"], tau: float) -> tuple[Int[Tensor, "m"], Int[Tensor, "m"]]:
    """Return the pairs of clusters to merge, lower index first; none if no similarity is above tau."""
    index = torch.arange(len(near), device=near.device)
    a = ((near[near] == index) & (index < near) & (best > tau)).nonzero().flatten()
    if len(a):
        return a, near[a]
    a = best.argmax()[None]  # ties and rounding can leave no reciprocal pair above tau: take the best, lowest index
    a = a[best[a] > tau]
    return torch.minimum(a, near[a]), torch.maximum(a, near[a])


def _merge_stored(
    matrix: Float[Tensor, "k k"],
    best: Float[Tensor, "k"],
    near: Int[Tensor, "k"],
    sizes: Float[Tensor, "k"],
    pool: Int[Tensor, "k"],
    first: Int[Tensor, "n"],
    tau: float,
) -> None:
    """Merge to the end with stored similarities and write the result into `first`.

    The row of a merged cluster is the weighted mean of two rows.
    """
    left = len(pool)
    while True:
        a, b = _pairs(best, near, tau)
        if not len(a):
            break
        left -= len(a)
        first[pool[b]] = pool[a]
        added = sizes[b]
        sizes.index_add_(0, a, added)
        share = added / sizes[a]
        rows = matrix.index_select(0, a).lerp_(matrix.index_select(0, b), share[:, None])
        block = rows.index_select(1, a).lerp_(rows.index_select(1, b), share)
        rows.index_copy_(1, a, torch.maximum(block, block.T))  # rounding must not depend on the direction
        if left < 0.7 * len(pool):
            keep = best > tau
            keep[b] = False
            kept = keep.nonzero().flatten()
            left, pool, sizes, a = len(kept), pool[kept], sizes[kept], (keep.cumsum(0) - 1)[a]
            matrix, rows = matrix.index_select(0, kept).index_select(1, kept), rows.index_select(1, kept)
            b = b[:0]
        matrix.index_copy_(0, a, rows).index_copy_(1, a, rows.T).fill_diagonal_(_NEVER)
        matrix.index_fill_(0, b, _NEVER).index_fill_(1, b, _NEVER)
        best, near = matrix.max(1)


def _similarities(means: Float[Tensor, "k c"]) -> Float[Tensor, "k k"]:
    matrix = means.new_empty(len(means), len(means))
    for i, j, block in _blocks(means, len(means)):
        matrix[i:j, i:] = block
        matrix[j:, i:j] = block[:, j - i :].T
    return matrix


def _nearest_other(means: Float[Tensor, "k c"], rows: Int[Tensor, "q"]) -> tuple[Float[Tensor, "q"], Int[Tensor, "q"]]:
    """Return each row's largest similarity to another cluster, and the lowest index of such a cluster."""
    k, q = len(means), len(rows)
    others = torch.ones(k, dtype=torch.bool, device=means.device)
    others[rows] = False
    order = torch.cat([rows, others.nonzero().flatten()])
    best, near = means.new_full((q,), _NEVER), torch.full_like(rows, k)

    def offer(start: int, stop: int, block: Tensor, dim: int, offset: int) -> None:
        if start < stop and block.shape[dim]:
            value, place = block.max(dim)
            index, value_now, index_now = order[place + offset], best[start:stop], near[start:stop]
            better = (value > value_now) | ((value == value_now) & (index < index_now))
            value_now.copy_(value.where(better, value_now))
            index_now.copy_(index.where(better, index_now))

    for i, j, block in _blocks(means[order], q):  # a pair of `rows` is computed once and counts in both directions
        offer(i, j, block[:, : q - i], 1, i)
        offer(i, j, block[:, q - i :], 1, q)
        offer(j, q, block[:, j - i : q - i], 0, i)
    return best, near


def _blocks(means: Float[Tensor, "k c"], q: int) -> Iterator[tuple[int, int, Float[Tensor, "r m"]]]:
    """Yield i, j and the similarities of clusters i to j, of the first q, with all clusters from i on.

    The similarities are bitwise symmetric. Each block overwrites the one before.
    """
    step = max(1, min(_ROWS, _BLOCK // len(means)))
    buffer = means.new_empty(min(step, q) * len(means))
    for i in range(0, q, step):
        j = min(i + step, q)
        block = buffer[: (j - i) * (len(means) - i)].view(j - i, -1)
        torch.mm(means[i:j], means[i:].T, out=block)
        own = block[:, : j - i]
        own.copy_(torch.maximum(own, own.T)).fill_diagonal_(_NEVER)
        yield i, j, block
