"""Smoothing over a target's own patches: similar patches get similar values. Not in the paper (`docs/accuracy.md`).

The smoothed values z minimise sum a_i (z_i - s_i)^2 + lambda sum w_ij (z_i - z_j)^2 over the graph of mutual nearest
neighbours. The trust a_i is larger the farther s_i is from 1/2, so sure patches change less.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from insid3.stages.chunked import in_blocks

_ITERATIONS = 100  # of conjugate gradients at most; a few dozen suffice


class Graph(NamedTuple):
    """Pairs of neighbouring patches, each in both directions, with weights; the mean degree is 1."""

    start: Int[Tensor, "e"]
    end: Int[Tensor, "e"]
    weight: Float[Tensor, "e"]


def neighbour_graph(tokens: Float[Tensor, "n c"], neighbours: int = 20) -> Graph:
    """Return the graph of patches that are among each other's nearest neighbours. Not in the paper.

    A weight is the geometric mean of exp(-d / d_last) in both directions, where d is the cosine distance and d_last the
    distance to a patch's last neighbour. Memory is O(n c): similarities are computed in blocks.

    Args:
        tokens: (n, c), raw unit tokens of the target.
        neighbours: of each patch.

    Example:
        >>> graph = neighbour_graph(torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, -1.0]]), neighbours=1)
        >>> graph.start, graph.end
        (tensor([0, 1]), tensor([1, 0]))
    """
    n = len(tokens)
    k = min(neighbours, n - 1)

    def most_similar(block: Tensor) -> Any:
        return (block @ tokens.T).topk(k + 1)

    found = in_blocks(tokens, n, most_similar)
    distance = 1 - torch.cat([each.values for each in found])
    index = torch.cat([each.indices for each in found])
    own = index == torch.arange(n, device=tokens.device)[:, None]
    own[~own.any(1), -1] = True  # a patch with more than k copies need not be among its own most similar ones
    distance, index = distance[~own].view(n, k), index[~own].view(n, k)
    weight = torch.exp(-distance.clamp(min=0) / distance[:, -1:].clamp(min=1e-6)).flatten()
    start, end = torch.arange(n, device=tokens.device).repeat_interleave(k), index.flatten()
    there, order = (start * n + end).sort()
    back = end * n + start
    place = torch.searchsorted(there, back).clamp(max=len(there) - 1)
    mutual = there[place] == back
    weight = (weight * weight[order[place]]).sqrt()[mutual]
    return Graph(start[mutual], end[mutual], weight * n / weight.sum().clamp(min=1e-6))


def neighbour_graphs(windows: Float[Tensor, "w _ c"]) -> Graph:
    """Join the graphs of windows, (w, n / w, c), without edges between windows. Not in the paper."""
    each, n = [neighbour_graph(tokens) for tokens in windows], windows.shape[1]
    starts, ends = (torch.cat([graph[side] + i * n for i, graph in enumerate(each)]) for side in (0, 1))
    return Graph(starts, ends, torch.cat([graph.weight for graph in each]))


def smooth(values: Float[Tensor, "n"], graph: Graph, strength: float) -> Float[Tensor, "n"]:
    """Return the smoothed values z: (diag(a) + lambda (D - W)) z = a s. Not in the paper.

    a is 0.1 + |2 s - 1|, scaled to mean 1; D holds the degrees and W the weights of the graph.

    Args:
        values: (n,) in [0, 1], s.
        strength: lambda.

    Example:
        >>> graph = Graph(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.ones(2))
        >>> smooth(torch.tensor([0.0, 1.0]), graph, strength=0.5)
        tensor([0.2500, 0.7500])
    """
    trust = 0.1 + (2 * values - 1).abs()
    trust = trust / trust.mean()
    degree = torch.zeros_like(values).index_add_(0, graph.start, graph.weight)
    diagonal = trust + strength * degree

    def times(z: Tensor) -> Tensor:
        return diagonal * z - strength * torch.zeros_like(z).index_add_(0, graph.start, graph.weight * z[graph.end])

    z = values.clone()  # conjugate gradients, preconditioned by the diagonal
    residual = trust * values - times(z)
    direction = scaled = residual / diagonal
    energy, enough = residual @ scaled, 1e-10 * (trust * values).square().sum()
    for _ in range(_ITERATIONS):
        if residual @ residual <= enough:
            break
        ahead = times(direction)
        step = energy / (direction @ ahead)
        z, residual = z + step * direction, residual - step * ahead
        scaled = residual / diagonal
        energy, before = residual @ scaled, energy
        direction = scaled + energy / before * direction
    return z
