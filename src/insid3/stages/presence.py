"""The score of a mask: four measures of whether the concept is there, and their weighted mean. Not in the paper."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from insid3.types import Nearest

#: Weights of affinity, plainness, round trip and kinship, by the rule that made the mask; from `benchmarks/score.py`.
WEIGHTS = {"clusters": (1.0, 0.25, 0.1, 0.0), "field": (1.0, 0.25, 0.0, 0.25)}


def presence(
    kept: Bool[Tensor, "n"],
    candidate: Bool[Tensor, "n"],
    matches: Sequence[Nearest],
    reference: Iterable[Float[Tensor, "_ c"]],
    masks: Sequence[Bool[Tensor, "_"]],
    target: Float[Tensor, "n c"],
    rule: Literal["clusters", "field"] = "clusters",
) -> float:
    """Return the score of a mask, the weighted mean of its four `measures`, in [0, 1]; 0.0 for an empty mask.

    The score is low where the concept is absent or its mask poor: `benchmarks/score.py` measures how low. Not in the
    paper.

    Args:
        kept, candidate, matches, reference, masks, target: the arguments of `measures`.
        rule: the rule that made the mask, which chooses the weights.
    """
    if not kept.any():
        return 0.0
    values, weights = measures(kept, candidate, matches, reference, masks, target), WEIGHTS[rule]
    return sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)


def measures(
    kept: Bool[Tensor, "n"],
    candidate: Bool[Tensor, "n"],
    matches: Sequence[Nearest],
    reference: Iterable[Float[Tensor, "_ c"]],
    masks: Sequence[Bool[Tensor, "_"]],
    target: Float[Tensor, "n c"],
) -> tuple[float, float, float, float]:
    """Return affinity of the mask's candidates, plainness, round trip and kinship, each in [0, 1]. Not in the paper.

    Args:
        kept: (n,), the target's patches in the mask.
        candidate: (n,), the target's patches that stage 2 kept.
        matches: of each shot, from `localize.nearest`; the target's patches are the queries.
        reference: s tensors (n, c), debiased unit tokens of each shot.
        masks: s tensors (n,), the patches of each shot that show the concept.
        target: (n, c), debiased unit tokens of the target.

    Example:
        >>> match = Nearest(torch.tensor([1.0, 0.5]), torch.tensor([0, 1]), torch.tensor([0, 1]))
        >>> reference, mask, candidate = torch.eye(2), torch.tensor([True, False]), torch.tensor([True, False])
        >>> measures(mask, candidate, [match], [reference], [mask], torch.eye(2))
        (1.0, 1.0, 1.0, 0.5)
    """
    reference = list(reference)
    return (
        affinity(kept & candidate, matches, masks),
        plainness(reference, masks),
        round_trip(kept, matches, masks),
        kinship(target, reference, masks),
    )


def affinity(patches: Bool[Tensor, "n"], matches: Sequence[Nearest], masks: Sequence[Bool[Tensor, "_"]]) -> float:
    """Return the mean similarity of patches to the concept's most similar patches; 0.0 without patches.

    Each patch takes the best shot. Not in the paper.
    """
    if not patches.any():
        return 0.0
    best = torch.zeros_like(matches[0].similarity)
    for match, mask in zip(matches, masks, strict=True):
        best = torch.where(mask[match.index], match.similarity, 0).maximum(best)
    return float(best[patches].mean().clamp(0, 1))


def plainness(reference: Iterable[Float[Tensor, "_ c"]], masks: Sequence[Bool[Tensor, "_"]]) -> float:
    """Return the mean similarity of a reference's background patches to each other, averaged over shots.

    Plainness makes concepts comparable: a cluttered scene resembles any scene, so affinities to it are worth less. Not
    in the paper.
    """
    each = [tokens[~mask].sum(0) / (~mask).sum().clamp(min=1) for tokens, mask in zip(reference, masks, strict=True)]
    return float(torch.stack([mean.square().sum() for mean in each]).mean().clamp(0, 1))


def round_trip(kept: Bool[Tensor, "n"], matches: Sequence[Nearest], masks: Sequence[Bool[Tensor, "_"]]) -> float:
    """Return the IoU of a shot's mask and those of its patches whose most similar target patch is kept.

    The mean over shots. Not in the paper.
    """
    each = []
    for match, mask in zip(matches, masks, strict=True):
        home = kept[match.back]
        each.append((home & mask).sum() / (home | mask).sum())
    return float(torch.stack(each).mean())


def kinship(
    target: Float[Tensor, "n c"], reference: Iterable[Float[Tensor, "_ c"]], masks: Sequence[Bool[Tensor, "_"]]
) -> float:
    """Return the mean similarity of all patches of the target to all patches of the concept, averaged over shots.

    All patches of the target count, since things occur in scenes of their kind. Not in the paper.
    """
    mean = target.mean(0)
    each = [tokens[mask].mean(0) @ mean for tokens, mask in zip(reference, masks, strict=True)]
    return float(torch.stack(each).mean().clamp(0, 1))
