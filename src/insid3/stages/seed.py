"""Stage 4: the seed cluster (paper 3.3)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def seed_cluster(
    prototypes: Float[Tensor, "k c"],
    concept: Float[Tensor, "c"],
    labels: Int[Tensor, "n"],
    candidates: Bool[Tensor, "n"],
) -> int:
    """Among clusters that hold a candidate, the one whose debiased prototype is most similar to the concept's.

    Args:
        prototypes: normalised means of the clusters' debiased tokens, q_k.
        concept: the concept's prototype, g.
        candidates: not empty.
    """
    similarity = prototypes @ concept
    eligible = torch.zeros_like(similarity, dtype=torch.bool)
    eligible[labels[candidates]] = True
    return int(similarity.masked_fill(~eligible, -torch.inf).argmax())
