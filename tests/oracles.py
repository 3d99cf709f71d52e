"""The method straight from its equations, in slow loops and float64: what the stages are compared with."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray


def unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def prototype(reference: Array, masks: Array) -> Array:
    """g: mean over shots of the mean token under the mask, normalised."""
    means = []
    for tokens, mask in zip(reference, masks, strict=True):
        inside = [token for token, marked in zip(tokens, mask, strict=True) if marked]
        means.append(sum(inside) / len(inside))
    return unit(sum(means) / len(means))


def votes(target: Array, reference: Array, masks: Array, negatives: Array) -> list[int]:
    """In how many shots the most similar patch of all, negatives included, lies under the mask."""
    counts = []
    for token in target:
        count = 0
        for tokens, mask in zip(reference, masks, strict=True):
            similarities = [token @ other for other in [*tokens, *negatives]]
            winner = similarities.index(max(similarities))
            count += winner < len(mask) and bool(mask[winner])
        counts.append(count)
    return counts


def candidates(forward: Array, counts: Sequence[int], shots: int) -> list[bool]:
    gate = [f > 0 for f in forward]
    if not any(gate):
        ranked, position = sorted(forward), 0.9 * (len(forward) - 1)
        low, share = int(position), position - int(position)
        cut = ranked[low] + share * (ranked[min(low + 1, len(ranked) - 1)] - ranked[low])
        gate = [f > cut for f in forward]
    return [passed and count >= math.ceil(shots / 2) for passed, count in zip(gate, counts, strict=True)]


def upgma(tokens: Array, tau: float, start: Sequence[int] | None = None) -> tuple[list[int], float]:
    """Average linkage: merge the closest pair, one at a time, while its mean similarity is above tau.

    Tokens with the same value in `start` are together from the beginning.

    Returns labels, and how close the run came to being undecided: the smallest gap between the best pair and the next,
    or between the best pair and tau.
    """
    similarity = tokens @ tokens.T
    values = list(range(len(tokens)) if start is None else start)
    clusters = [[i for i, other in enumerate(values) if other == value] for value in dict.fromkeys(values)]
    closest_call = math.inf
    while len(clusters) > 1:
        linkage = {
            (a, b): float(np.mean([similarity[i, j] for i in clusters[a] for j in clusters[b]]))
            for a in range(len(clusters))
            for b in range(a + 1, len(clusters))
        }
        best, *others = sorted(linkage.values(), reverse=True)
        closest_call = min([closest_call, abs(best - tau), *(best - other for other in others[:1] if best > tau)])
        if best <= tau:
            break
        a, b = next(pair for pair, value in linkage.items() if value == best)
        clusters[a] += clusters.pop(b)
    labels = [0] * len(tokens)
    for label, members in enumerate(sorted(clusters, key=min)):
        for member in members:
            labels[member] = label
    return labels, closest_call


def means(tokens: Array, labels: Sequence[int]) -> Array:
    """Normalised mean token of every cluster."""
    return np.stack(
        [
            unit(np.mean([t for t, label in zip(tokens, labels, strict=True) if label == k], axis=0))
            for k in range(max(labels) + 1)
        ]
    )


def seed(prototypes: Array, concept: Array, labels: Sequence[int], marked: Sequence[bool]) -> int:
    eligible = {label for label, candidate in zip(labels, marked, strict=True) if candidate}
    return max(sorted(eligible), key=lambda k: float(prototypes[k] @ concept))


def cluster_scores(u: Array, forward: Array, labels: Sequence[int], marked: Sequence[bool], seed: int) -> list[float]:
    scores = []
    for k in range(len(u)):
        members = [i for i, label in enumerate(labels) if label == k]
        cross = sum(forward[i] for i in members) / len(members)
        area = 1.0 if k == seed else sum(marked[i] for i in members) / len(members)
        scores.append(float(cross * (u[seed] @ u[k]) * area))
    return scores


def soft_argmax(similarity: Array, grid: tuple[int, int], sigma: float, temperature: float) -> tuple[float, float]:
    """Expected (x, y) of one similarity map under a Gaussian window around its maximum."""
    places = [(x, y) for y in range(grid[0]) for x in range(grid[1])]
    peak = places[int(np.argmax(similarity))]
    weights = [
        math.exp(s * math.exp(-((x - peak[0]) ** 2 + (y - peak[1]) ** 2) / (2 * sigma**2)) / temperature)
        for s, (x, y) in zip(similarity, places, strict=True)
    ]
    total = sum(weights)
    return tuple(sum(w * place[axis] for w, place in zip(weights, places, strict=True)) / total for axis in (0, 1))  # type: ignore[return-value]


def bilinear(values: Array, size: tuple[int, int]) -> Array:
    """Resize by interpolating between pixel centres; outside the outermost centres the edge value holds."""

    def neighbours(i: int, have: int, want: int) -> tuple[int, int, float]:
        place = min(max((i + 0.5) * have / want - 0.5, 0), have - 1)
        low = min(int(place), have - 1)
        return low, min(low + 1, have - 1), place - low

    out = np.empty(size)
    for y in range(size[0]):
        top, bottom, down = neighbours(y, values.shape[0], size[0])
        for x in range(size[1]):
            left, right, across = neighbours(x, values.shape[1], size[1])
            upper = (1 - across) * values[top, left] + across * values[top, right]
            lower = (1 - across) * values[bottom, left] + across * values[bottom, right]
            out[y, x] = (1 - down) * upper + down * lower
    return out


def partition(labels: ArrayLike) -> set[frozenset[int]]:
    """Clusterings are compared as partitions: which patches go together, whatever the number of their cluster."""
    flat = np.ravel(labels)
    return {frozenset(np.flatnonzero(flat == label).tolist()) for label in np.unique(flat)}


def neighbour_graph(tokens: Array, neighbours: int) -> Array:
    """The dense weights of `stages/smooth.py`: of mutual neighbours the geometric mean, of mean degree 1."""
    n = len(tokens)
    distance = 1 - tokens @ tokens.T
    np.fill_diagonal(distance, np.inf)
    one_way = np.zeros((n, n))
    for i in range(n):
        nearest = np.argsort(distance[i], kind="stable")[:neighbours]
        one_way[i, nearest] = np.exp(-distance[i, nearest] / distance[i, nearest[-1]])
    weights = np.sqrt(one_way * one_way.T)
    return weights / weights.sum(1).mean()


def smooth(values: Array, weights: Array, strength: float) -> Array:
    """z of (diag(a) + lambda (D - W)) z = a s."""
    trust = 0.1 + np.abs(2 * values - 1)
    trust /= trust.mean()
    laplacian = np.diag(weights.sum(1)) - weights
    return np.linalg.solve(np.diag(trust) + strength * laplacian, trust * values)
