"""Spherical k-means, which comparisons run instead of stage 3. Not part of the method."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def kmeans(tokens: Float[Tensor, "n c"], k: int, seed: int = 0, rounds: int = 100) -> Int[Tensor, "n"]:
    """Cluster unit tokens into at most k clusters and return each patch's label (paper's ablation).

    Each patch joins the most similar mean. Labels count the clusters by their first patch. k-means++ (Arthur and
    Vassilvitskii 2007) chooses the first means, by draws that are the same on every device.

    Args:
        tokens: (n, c), raw unit tokens of the target.
        k: number of clusters.
        seed: of the draws.
        rounds: at most; the algorithm ends when no label changes.

    Example:
        >>> kmeans(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]), k=2)
        tensor([0, 1, 0])
    """
    if k >= len(tokens):
        return torch.arange(len(tokens), device=tokens.device)
    chosen = _far_apart(tokens, k, seed)
    centres, labels = tokens[chosen], torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
    for _ in range(rounds):
        before, labels = labels, (tokens @ centres.T).argmax(1)
        if labels.equal(before):
            break
        sums = torch.zeros_like(centres).index_add_(0, labels, tokens)
        centres = torch.where(sums.any(1, keepdim=True), F.normalize(sums, dim=-1), centres)
    first = labels.new_full((len(centres),), len(labels))
    first.scatter_reduce_(0, labels, torch.arange(len(labels), device=labels.device), "amin")
    return first.argsort().argsort()[labels]


def _far_apart(tokens: Float[Tensor, "n c"], k: int, seed: int) -> Int[Tensor, "k"]:
    """Draw patches far from each other, each with its squared distance to those drawn before as its weight."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [int(torch.randint(len(tokens), (1,), generator=generator))]
    similarity = tokens @ tokens[chosen[0]]
    while len(chosen) < k:
        weights = (1 - similarity).clamp(min=0).cpu()
        weights[chosen] = 0
        if not weights.any():  # every other patch equals a chosen one
            break
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        similarity = torch.maximum(similarity, tokens @ tokens[chosen[-1]])
    return torch.tensor(chosen, device=tokens.device)
