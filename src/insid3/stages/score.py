"""How far a mask can be trusted."""

from torch import Tensor


def score(likeness: float, debiased: Tensor, kept: Tensor, closest: Tensor, reference: Tensor, masks: Tensor) -> float:
    return float(min(max(likeness, 0), 1))
