"""Is the concept there, and can its mask be trusted? Four measures and their weighted mean. Not in the paper."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from insid3.types import Nearest

#: Of affinity, plainness, round trip and kinship, by the rule that made the mask; chosen by `benchmarks/score.py`.
WEIGHTS = {"clusters": (1.0, 0.25, 0.1, 0.0), "field": (1.0, 0.25, 0.0, 0.25)}


def score(
    kept: Bool[Tensor, "n"],
    candidate: Bool[Tensor, "n"],
    matches: Sequence[Nearest],
    reference: Iterable[Float[Tensor, "_ c"]],
    masks: Sequence[Bool[Tensor, "_"]],
    target: Float[Tensor, "n c"],
    rule: Literal["clusters", "field"] = "clusters",
) -> float:
    """The weighted mean of the four measures below, in [0, 1]; 0.0 without kept patches.

    Low where the concept is absent or its mask poor; how low is measured by `benchmarks/score.py`.

    Args: as `measures`; `rule` is what made the mask.
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
    """Affinity of the mask's candidates, plainness, round trip, kinship; each in [0, 1].

    Args:
        kept: patches of the mask.
        candidate: patches that stage 2 left.
        matches: of each shot, target patches being the queries.
        reference: debiased tokens of each shot.
        masks: which of them show the concept.
        target: debiased tokens of the target.
    """
    reference = list(reference)
    return (
        affinity(kept & candidate, matches, masks),
        plainness(reference, masks),
        round_trip(kept, matches, masks),
        kinship(target, reference, masks),
    )


def affinity(patches: Bool[Tensor, "n"], matches: Sequence[Nearest], masks: Sequence[Bool[Tensor, "_"]]) -> float:
    """How similar these patches are to the concept's most similar ones, in the best shot; 0.0 without patches."""
    if not patches.any():
        return 0.0
    best = torch.zeros_like(matches[0].similarity)
    for match, mask in zip(matches, masks, strict=True):
        best = torch.where(mask[match.index], match.similarity, 0).maximum(best)
    return float(best[patches].mean().clamp(0, 1))


def plainness(reference: Iterable[Float[Tensor, "_ c"]], masks: Sequence[Bool[Tensor, "_"]]) -> float:
    """Mean similarity of a reference's background patches to each other: makes concepts comparable.

    What lies in a cluttered scene finds something similar anywhere, so that its affinities are worth less.
    """
    each = [tokens[~mask].sum(0) / (~mask).sum().clamp(min=1) for tokens, mask in zip(reference, masks, strict=True)]
    return float(torch.stack([mean.square().sum() for mean in each]).mean().clamp(0, 1))


def round_trip(kept: Bool[Tensor, "n"], matches: Sequence[Nearest], masks: Sequence[Bool[Tensor, "_"]]) -> float:
    """IoU of a shot's mask and its patches whose most similar target patch is kept; the shots' mean."""
    each = []
    for match, mask in zip(matches, masks, strict=True):
        home = kept[match.back]
        each.append((home & mask).sum() / (home | mask).sum())
    return float(torch.stack(each).mean())


def kinship(
    target: Float[Tensor, "n c"], reference: Iterable[Float[Tensor, "_ c"]], masks: Sequence[Bool[Tensor, "_"]]
) -> float:
    """Mean similarity of all patches of the target, whatever they show, to all of the concept's: things occur in scenes
    of their kind. The shots' mean.
    """
    mean = target.mean(0)
    each = [tokens[mask].mean(0) @ mean for tokens, mask in zip(reference, masks, strict=True)]
    return float(torch.stack(each).mean().clamp(0, 1))
