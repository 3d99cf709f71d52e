"""In the place of stages 2 to 5, by name: one soft field instead of gates. Not in the paper (`docs/accuracy.md`).

All tokens are debiased. Every function adds one piece of evidence; the threshold comes last, on what they sum up to.
"""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from insid3.types import Nearest


def background_prototype(
    reference: Iterable[Float[Tensor, "_ c"]],
    masks: Iterable[Bool[Tensor, "_"]],
    weights: Float[Tensor, "s"],
    concept: Float[Tensor, "c"],
    share: float = 0.1,
) -> Float[Tensor, "c"]:
    """What the concept is most easily mistaken for: the background patches that resemble it most, without what they
    have in common with it.

    Args:
        weights: of the shots.
        concept: g, the concept's prototype.
        share: of each shot's background patches, those that count.

    Returns:
        A unit vector orthogonal to `concept`; zeros where no shot has a background.
    """
    total = torch.zeros_like(concept)
    for tokens, mask, weight in zip(reference, masks, weights, strict=True):
        background = tokens[~mask]
        if len(background):
            hardest = (background @ concept).topk(max(1, round(share * len(background)))).indices
            total += weight * background[hardest].mean(0)
    total = F.normalize(total, dim=-1)
    return F.normalize(total - (total @ concept) * concept, dim=-1)


def discriminant(
    reference: Sequence[Float[Tensor, "_ c"]],
    masks: Sequence[Bool[Tensor, "_"]],
    weights: Float[Tensor, "s"],
    shrinkage: float = 0.3,
) -> Float[Tensor, "c"]:
    """Fisher's linear discriminant between what is under the masks and all else, in closed form.

    Unlike prototypes it knows which directions vary anyway, and counts them less. All patches of a shot count the same.

    Args:
        weights: of the shots, of sum 1.
        shrinkage: added to each eigenvalue of the covariance, in multiples of their mean.

    Returns:
        A unit vector; zeros where nothing tells them apart, or no shot has a background.
    """
    shares = [weight / len(tokens) for tokens, weight in zip(reference, weights, strict=True)]
    mean = torch.stack([share * tokens.sum(0) for tokens, share in zip(reference, shares, strict=True)]).sum(0)
    covariance, between = mean.new_zeros(len(mean), len(mean)), torch.zeros_like(mean)
    for tokens, mask, share in zip(reference, masks, shares, strict=True):
        centred = tokens - mean
        covariance += share * centred.T @ centred
        between += share * centred[mask].sum(0)
    if between.norm() < 1e-6:  # a direction of rounding errors
        return torch.zeros_like(mean)
    covariance.diagonal().add_(shrinkage * covariance.diagonal().mean())
    found = torch.linalg.solve(covariance.cpu(), between.cpu())  # MPS has no solver
    return F.normalize(found, dim=-1).to(mean.device)


def agreement(
    reference: Iterable[Float[Tensor, "_ c"]], masks: Iterable[Bool[Tensor, "_"]], found: int = 0, drawn: float = 0.85
) -> Float[Tensor, "s"]:
    """Weights of the shots, of sum 1: the fourth power of a shot's similarity to what the others show.

    Fewer than three shots weigh the same: of two that disagree, nobody knows which one is wrong. What was found has no
    say in what was drawn.

    Args:
        found: how many of the last shots were found, not drawn.
        drawn: share of the weight that the others keep at least, where some were found.
    """
    means = F.normalize(
        torch.stack([tokens[mask].mean(0) for tokens, mask in zip(reference, masks, strict=True)]), dim=-1
    )
    own, rest = means[: len(means) - found], means[len(means) - found :]
    others = own.sum(0) - own if len(own) >= 3 else own

    def weights(shots: Tensor, others: Tensor) -> Tensor:
        each = (shots * F.normalize(others, dim=-1)).sum(1).clamp(min=1e-3) ** 4
        return each / each.sum()

    share = max(drawn, len(own) / len(means))
    return torch.cat([share * weights(own, others), (1 - share) * weights(rest, own.sum(0, keepdim=True))])


def regions(field: Float[Tensor, "n"], candidates: Bool[Tensor, "n"], labels: Int[Tensor, "n"]) -> Float[Tensor, "k"]:
    """Of every cluster of the target, in [0, 1]: its mean of the field times the share of its patches that are
    candidates.
    """
    sizes = labels.bincount().to(field.dtype)
    means, share = (
        torch.zeros_like(sizes).index_add_(0, labels, each.to(field.dtype)) / sizes for each in (field, candidates)
    )
    return spread(spread(means) * share)


def spread(values: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """From 0 at the least to 1 at the largest; 0 where all are the same."""
    low, high = values.aminmax()
    return (values - low) / (high - low).clamp(min=1e-6)


def soft_votes(
    matches: Sequence[Nearest],
    masks: Iterable[Bool[Tensor, "_"]],
    weights: Float[Tensor, "s"],
    beaten: Float[Tensor, "n"] | None,
    temperature: float = 0.1,
) -> Float[Tensor, "n"]:
    """V: the share of the shots whose most similar patch lies under the mask; the more similar that is, the more a
    shot has to say, patch by patch.

    Args:
        matches: of each shot, target patches being the queries.
        weights: of the shots.
        beaten: similarity to the negatives that a match has to reach.
    """
    similar = torch.stack([match.similarity for match in matches])
    votes = torch.stack([mask[match.index] for match, mask in zip(matches, masks, strict=True)])
    if beaten is not None:
        votes = votes & (similar >= beaten)
    return ((similar / temperature + weights.log()[:, None]).softmax(0) * votes).sum(0)
