"""In the place of stage 3, for comparison: spherical k-means. Not in the method."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def kmeans(tokens: Float[Tensor, "n c"], k: int, seed: int = 0, rounds: int = 100) -> Int[Tensor, "n"]:
    """At most k clusters of unit tokens, each patch with the most similar mean; numbered by their first patch.

    Starts from k-means++ (Arthur and Vassilvitskii 2007), whose draws are the same on every device.

    Args:
        seed: of these draws.
        rounds: at most; it ends when no label changes.
    """
    if k >= len(tokens):
        return torch.arange(len(tokens), device=tokens.device)
    chosen = _spread(tokens, k, seed)
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


def _spread(tokens: Float[Tensor, "n c"], k: int, seed: int) -> Int[Tensor, "k"]:
    """Patches far from each other: each is drawn with the squared distance to those before as its weight."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [int(torch.randint(len(tokens), (1,), generator=generator))]
    nearest = tokens @ tokens[chosen[0]]
    while len(chosen) < k:
        weights = (1 - nearest).clamp(min=0).cpu()
        weights[chosen] = 0
        if not weights.any():  # the rest equals what was chosen
            break
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        nearest = torch.maximum(nearest, tokens @ tokens[chosen[-1]])
    return torch.tensor(chosen, device=tokens.device)
