"""Stage 3: fine-grained clustering of the target's raw tokens (paper 3.2)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

_BLOCK = 2**22  # similarities of one product (16 MB) ...
_ROWS = 512  # ... and its most rows: the larger a tile on the diagonal, the more pairs are computed twice
_STORED = 2048  # so many clusters keep their similarities (16 MB): adding rows up is cheaper than products
_EQUAL = 1 - 1e-6  # float32 cannot tell such similarities from 1
_NEVER = -2.0  # below every similarity


def cluster(tokens: Float[Tensor, "n c"], tau: float) -> Int[Tensor, "n"]:
    """Average-linkage clusters whose mutual mean cosine similarity is at most tau, numbered by their first patch.

    Tokens are unit vectors, so the mean similarity of two clusters is the product of their mean tokens. Average linkage
    is reducible: merging every reciprocal pair of nearest neighbours at once, round after round, gives the same
    partition as merging the closest pair each time; a cluster that has nothing above tau is finished and leaves the
    pool; and only clusters that merged or whose nearest neighbour did have to look again. Tokens equal to rounding
    merge without waiting to be reciprocal: no order among them exists, and a flat picture would take n rounds.
    Memory is O(n c).
    """
    n = len(tokens)
    first = torch.arange(n, device=tokens.device)  # of each patch: an earlier patch of its cluster, or itself
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


def cluster_means(tokens: Float[Tensor, "n c"], labels: Int[Tensor, "n"]) -> Float[Tensor, "k c"]:
    """Normalised mean token of every cluster."""
    sums = tokens.new_zeros(int(labels.max()) + 1, tokens.shape[1]).index_add_(0, labels, tokens)
    return F.normalize(sums, dim=-1)


def _pairs(best: Float[Tensor, "k"], near: Int[Tensor, "k"], tau: float) -> tuple[Int[Tensor, "m"], Int[Tensor, "m"]]:
    """The pairs to merge, lower index first; none if nothing is above tau."""
    index = torch.arange(len(near), device=near.device)
    a = ((near[near] == index) & (index < near) & (best > tau)).nonzero().flatten()
    if len(a):
        return a, near[a]
    a = best.argmax()[None]  # ties and rounding can leave clusters above tau without reciprocity: the lowest best pair
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
    """Go on to the end, in `first`, with stored similarities: a merged cluster's row is the weighted mean of two."""
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
    for i, j, tile in _tiles(means, len(means)):
        matrix[i:j, i:] = tile
        matrix[j:, i:j] = tile[:, j - i :].T
    return matrix


def _nearest_other(means: Float[Tensor, "k c"], rows: Int[Tensor, "q"]) -> tuple[Float[Tensor, "q"], Int[Tensor, "q"]]:
    """For each of `rows` the largest similarity to another cluster and the lowest index that has it."""
    k, q = len(means), len(rows)
    others = torch.ones(k, dtype=torch.bool, device=means.device)
    others[rows] = False
    order = torch.cat([rows, others.nonzero().flatten()])
    best, near = means.new_full((q,), _NEVER), torch.full_like(rows, k)

    def offer(start: int, stop: int, tile: Tensor, dim: int, offset: int) -> None:
        if start < stop and tile.shape[dim]:
            value, place = tile.max(dim)
            index, value_now, index_now = order[place + offset], best[start:stop], near[start:stop]
            better = (value > value_now) | ((value == value_now) & (index < index_now))
            value_now.copy_(value.where(better, value_now))
            index_now.copy_(index.where(better, index_now))

    for i, j, tile in _tiles(means[order], q):  # among `rows` a pair is computed once and counts in both directions
        offer(i, j, tile[:, : q - i], 1, i)
        offer(i, j, tile[:, q - i :], 1, q)
        offer(j, q, tile[:, j - i : q - i], 0, i)
    return best, near


def _tiles(means: Float[Tensor, "k c"], q: int) -> Iterator[tuple[int, int, Float[Tensor, "r m"]]]:
    """Similarities of rows i to j of the first q with everything from i on, bitwise symmetric, in one buffer."""
    step = max(1, min(_ROWS, _BLOCK // len(means)))
    buffer = means.new_empty(min(step, q) * len(means))
    for i in range(0, q, step):
        j = min(i + step, q)
        tile = buffer[: (j - i) * (len(means) - i)].view(j - i, -1)
        torch.mm(means[i:j], means[i:].T, out=tile)
        own = tile[:, : j - i]
        own.copy_(torch.maximum(own, own.T)).fill_diagonal_(_NEVER)
        yield i, j, tile
