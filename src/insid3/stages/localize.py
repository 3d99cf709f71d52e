"""Stages 2 and 4: the candidates and the seed cluster (paper 3.3). All tokens here are debiased unit tokens."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from insid3.stages.chunked import in_blocks
from insid3.types import Nearest


def prototype(
    reference: Iterable[Float[Tensor, "_ c"]],
    masks: Iterable[Bool[Tensor, "_"]],
    weights: Float[Tensor, "s"] | None = None,
) -> Float[Tensor, "c"]:
    """Return the concept's prototype g: the normalised mean of the shots' mean tokens under their masks (paper 3.3).

    Args:
        reference: s tensors (n, c), the tokens of each shot.
        masks: s tensors (n,), the patches of the concept; none is empty.
        weights: (s,) of sum 1, how much each shot counts; without them all count the same, as published.

    Example:
        >>> prototype([torch.tensor([[0.0, 1.0], [1.0, 0.0]])], [torch.tensor([False, True])])
        tensor([1., 0.])
    """
    means = torch.stack([tokens[mask].mean(0) for tokens, mask in zip(reference, masks, strict=True)])
    return F.normalize(means.mean(0) if weights is None else weights @ means, dim=-1)


def nearest(queries: Float[Tensor, "q c"], keys: Float[Tensor, "n c"]) -> Nearest:
    """Find the most similar key of every query, and the most similar query of every key; among equals the first.

    Products are computed in blocks: the q x n matrix is never held.

    Example:
        >>> found = nearest(torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.eye(2))
        >>> found.similarity, found.index, found.back
        (tensor([1.0000, 0.8000]), tensor([0, 1]), tensor([0, 1]))
    """

    def both(block: Tensor) -> tuple[Any, Any]:
        products = block @ keys.T
        return products.max(1), products.max(0)

    found = in_blocks(queries, len(keys), both)
    best, back, start = found[0][1].values, found[0][1].indices, len(found[0][0].values)
    for rows, columns in found[1:]:
        better = columns.values > best
        best, back = torch.where(better, columns.values, best), torch.where(better, columns.indices + start, back)
        start += len(rows.values)
    return Nearest(torch.cat([rows.values for rows, _ in found]), torch.cat([rows.indices for rows, _ in found]), back)


def backward_votes(
    matches: Sequence[Nearest], masks: Iterable[Bool[Tensor, "_"]], beaten: Float[Tensor, "n"] | None = None
) -> Int[Tensor, "n"]:
    """Count, for each target patch, the shots whose most similar patch lies under the mask, (n,) (paper 3.3).

    Args:
        matches: of each shot, from `nearest`; the target's patches are the queries.
        masks: s tensors (n,), the patches of the concept in each shot.
        beaten: (n,), similarity to the negatives, which are background of every shot; a vote needs at least as much
            (not in the paper).

    Example:
        >>> match = nearest(torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.eye(2))
        >>> backward_votes([match], [torch.tensor([True, False])])
        tensor([1, 0])
    """
    votes = torch.zeros_like(matches[0].index)
    for match, mask in zip(matches, masks, strict=True):
        hits = mask[match.index]
        votes += hits if beaten is None else hits & (match.similarity >= beaten)
    return votes


def candidates(forward: Float[Tensor, "n"], votes: Int[Tensor, "n"], shots: int) -> Bool[Tensor, "n"]:
    """Return the patches that resemble the prototype and have the votes of half of the shots or more (paper 3.3).

    The gate on `forward` is f > 0, or the top tenth where nothing passes (published code, not in the paper).

    Args:
        forward: (n,), similarity of each target patch to the concept's prototype.
        votes: (n,), from `backward_votes`.
        shots: s, their number.

    Example:
        >>> candidates(torch.tensor([0.4, 0.3, -0.2]), votes=torch.tensor([1, 0, 1]), shots=1)
        tensor([ True, False, False])
    """
    gate = forward > 0
    if not gate.any():
        gate = forward > torch.quantile(forward, 0.9)
    return gate & (votes >= -(-shots // 2))


def seed_cluster(
    prototypes: Float[Tensor, "k c"],
    concept: Float[Tensor, "c"],
    labels: Int[Tensor, "n"],
    candidates: Bool[Tensor, "n"],
) -> int:
    """Return the label of the seed cluster: of those with a candidate, the most similar to the concept (paper 3.3).

    Args:
        prototypes: (k, c), normalised means of the clusters' debiased tokens, q_k.
        concept: (c,), the concept's prototype, g.
        labels: (n,), the cluster of each patch.
        candidates: (n,), at least one.

    Example:
        >>> candidates = torch.tensor([False, True, True])
        >>> seed_cluster(torch.eye(2), torch.tensor([0.8, 0.6]), labels=torch.tensor([0, 1, 1]), candidates=candidates)
        1
    """
    similarity = prototypes @ concept
    eligible = torch.zeros_like(similarity, dtype=torch.bool)
    eligible[labels[candidates]] = True
    return int(similarity.masked_fill(~eligible, -torch.inf).argmax())
