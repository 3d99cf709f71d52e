"""Values that follow what a target's own patches have in common. Not in the paper (`docs/accuracy.md`).

Patches that look alike get similar values: the least of sum a_i (z_i - s_i)^2 + lambda sum w_ij (z_i - z_j)^2 over the
graph of mutual nearest neighbours, with patches that are sure of their value (far from 1/2) giving way less.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from insid3.blocks import in_blocks

_ITERATIONS = 100  # of conjugate gradients, at most; a few dozen suffice


class Graph(NamedTuple):
    """Pairs of patches, each in both directions, and their weights; the mean degree is 1."""

    start: Int[Tensor, "e"]
    end: Int[Tensor, "e"]
    weight: Float[Tensor, "e"]


def neighbour_graph(tokens: Float[Tensor, "n c"], neighbours: int = 20) -> Graph:
    """Of the patches that are among each other's nearest: exp(-d / d_last), the geometric mean of both directions.

    d is the cosine distance of raw tokens, d_last that to the last neighbour. Memory is O(n c): similarities are
    computed in blocks.
    """
    n = len(tokens)
    k = min(neighbours, n - 1)

    def nearest(block: Tensor) -> Any:
        return (block @ tokens.T).topk(k + 1)

    found = in_blocks(tokens, n, nearest)
    distance = 1 - torch.cat([each.values for each in found])
    index = torch.cat([each.indices for each in found])
    own = index == torch.arange(n, device=tokens.device)[:, None]
    own[~own.any(1), -1] = True  # of more than k copies of a patch it need not be among the first itself
    distance, index = distance[~own].view(n, k), index[~own].view(n, k)
    weight = torch.exp(-distance.clamp(min=0) / distance[:, -1:].clamp(min=1e-6)).flatten()
    start, end = torch.arange(n, device=tokens.device).repeat_interleave(k), index.flatten()
    there, order = (start * n + end).sort()
    back = end * n + start
    place = torch.searchsorted(there, back).clamp(max=len(there) - 1)
    mutual = there[place] == back
    weight = (weight * weight[order[place]]).sqrt()[mutual]
    return Graph(start[mutual], end[mutual], weight * n / weight.sum().clamp(min=1e-6))


def smooth(values: Float[Tensor, "n"], graph: Graph, strength: float) -> Float[Tensor, "n"]:
    """The solution z of (diag(a) + lambda (D - W)) z = a s with a = 0.1 + |2 s - 1|, scaled to mean 1.

    Args:
        values: s, in [0, 1].
        strength: lambda.
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
