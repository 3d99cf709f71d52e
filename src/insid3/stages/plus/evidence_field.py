"""The rule "field", which replaces stages 2 to 5: evidence in place of gates. Not in the paper (`docs/accuracy.md`).

Each function gives one piece of evidence for each patch or cluster; the threshold is applied to their sum. All tokens
here are debiased unit tokens. In all functions `reference` holds the tokens of each shot, s tensors (n, c), and `masks`
the patches of the concept, s tensors (n,).
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
    """Return the prototype of what the concept is most easily mistaken for. Not in the paper.

    The mean of the background patches that resemble the concept most, less what they have in common with the concept.

    Args:
        weights: (s,), of the shots.
        concept: (c,), the concept's prototype g.
        share: of each shot's background patches, the most similar ones, that count.

    Returns:
        (c,), a unit vector orthogonal to `concept`; zeros where no shot has a background.

    Example:
        >>> reference, mask = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([True, False])
        >>> background_prototype([reference], [mask], torch.ones(1), concept=reference[0])
        tensor([0., 1.])
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
    """Return Fisher's linear discriminant between the patches of the concept and all others. Not in the paper.

    Unlike a prototype, the discriminant counts directions less that vary anyway. All patches of a shot count the same.

    Args:
        weights: (s,) of sum 1, of the shots.
        shrinkage: added to each eigenvalue of the covariance, in multiples of their mean.

    Returns:
        (c,), a unit vector; zeros where nothing tells concept and background apart, or no shot has a background.

    Example:
        >>> discriminant([torch.tensor([[0.8, 0.6], [-0.8, 0.6]])], [torch.tensor([True, False])], torch.ones(1))
        tensor([1., 0.])
    """
    shares = [weight / len(tokens) for tokens, weight in zip(reference, weights, strict=True)]
    mean = torch.stack([share * tokens.sum(0) for tokens, share in zip(reference, shares, strict=True)]).sum(0)
    covariance, between = mean.new_zeros(len(mean), len(mean)), torch.zeros_like(mean)
    for tokens, mask, share in zip(reference, masks, shares, strict=True):
        centred = tokens - mean
        covariance += share * centred.T @ centred
        between += share * centred[mask].sum(0)
    if between.norm() < 1e-6:  # only rounding errors would give the direction
        return torch.zeros_like(mean)
    covariance.diagonal().add_(shrinkage * covariance.diagonal().mean())
    found = torch.linalg.solve(covariance.cpu(), between.cpu())  # MPS has no solver
    return F.normalize(found, dim=-1).to(mean.device)


def agreement(
    reference: Iterable[Float[Tensor, "_ c"]], masks: Iterable[Bool[Tensor, "_"]], found: int = 0, drawn: float = 0.85
) -> Float[Tensor, "s"]:
    """Return the weights of the shots, (s,) of sum 1: a shot weighs less the less it agrees with the others.

    The weight is the fourth power of a shot's similarity to the other shots. Fewer than three shots weigh the same: of
    two that disagree either may be wrong. Found masks have no influence on drawn ones. Not in the paper.

    Args:
        found: how many shots, the last ones, have a mask that was found and not drawn.
        drawn: share of the weight that drawn shots keep at least where others were found.

    Example:
        >>> agreement([torch.eye(2)] * 2, [torch.tensor([True, False]), torch.tensor([False, True])])
        tensor([0.5000, 0.5000])
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


def region_evidence(
    field: Float[Tensor, "n"], candidates: Bool[Tensor, "n"], labels: Int[Tensor, "n"]
) -> Float[Tensor, "k"]:
    """Return the evidence of every cluster of the target, (k,) in [0, 1]. Not in the paper.

    The mean of the field over a cluster, times the share of its patches that are candidates; both scaled to [0, 1].

    Example:
        >>> field, candidates = torch.tensor([0.0, 1.0, 1.0]), torch.tensor([False, True, False])
        >>> region_evidence(field, candidates, labels=torch.tensor([0, 1, 1]))
        tensor([0., 1.])
    """
    sizes = labels.bincount().to(field.dtype)
    means, share = (
        torch.zeros_like(sizes).index_add_(0, labels, each.to(field.dtype)) / sizes for each in (field, candidates)
    )
    return min_max(min_max(means) * share)


def min_max(values: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Scale values to [0, 1], from the smallest to the largest; all 0 where they are the same.

    Example:
        >>> min_max(torch.tensor([1.0, 2.0, 3.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    low, high = values.aminmax()
    return (values - low) / (high - low).clamp(min=1e-6)


def soft_votes(
    matches: Sequence[Nearest],
    masks: Iterable[Bool[Tensor, "_"]],
    weights: Float[Tensor, "s"],
    beaten: Float[Tensor, "n"] | None,
    temperature: float = 0.1,
) -> Float[Tensor, "n"]:
    """Return V, each target patch's share of the shots whose most similar patch lies under the mask, (n,).

    A softmax lets a shot with a more similar patch count more. Not in the paper.

    Args:
        matches: of each shot, from `localize.nearest`; the target's patches are the queries.
        weights: (s,), of the shots.
        beaten: (n,), similarity to the negatives; a vote needs at least as much.
        temperature: of the softmax over shots.

    Example:
        >>> match = Nearest(torch.tensor([1.0, 0.5]), torch.tensor([0, 1]), torch.tensor([0, 1]))
        >>> soft_votes([match], [torch.tensor([True, False])], torch.ones(1), None)
        tensor([1., 0.])
    """
    similar = torch.stack([match.similarity for match in matches])
    votes = torch.stack([mask[match.index] for match, mask in zip(matches, masks, strict=True)])
    if beaten is not None:
        votes = votes & (similar >= beaten)
    return ((similar / temperature + weights.log()[:, None]).softmax(0) * votes).sum(0)
