"""Stage 2: which target patches may show the concept (paper 3.3). All tokens are debiased."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from insid3.blocks import in_blocks
from insid3.types import Nearest


def prototype(
    reference: Iterable[Float[Tensor, "_ c"]],
    masks: Iterable[Bool[Tensor, "_"]],
    weights: Float[Tensor, "s"] | None = None,
) -> Float[Tensor, "c"]:
    """g: per shot the mean token under the mask, the mean of these, normalised. No mask may be empty.

    Args:
        weights: of the shots, of sum 1; all the same (published) if not given.
    """
    means = torch.stack([tokens[mask].mean(0) for tokens, mask in zip(reference, masks, strict=True)])
    return F.normalize(means.mean(0) if weights is None else weights @ means, dim=-1)


def nearest(queries: Float[Tensor, "q c"], keys: Float[Tensor, "n c"]) -> Nearest:
    """Both ways at once, in blocks, without the q x n matrix; the first of equals."""

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
    target: Float[Tensor, "n c"],
    reference: Iterable[Float[Tensor, "_ c"]],
    masks: Iterable[Bool[Tensor, "_"]],
    negatives: Float[Tensor, "m c"],
    nearest: Callable[[Tensor, Tensor], Nearest] = nearest,
) -> Int[Tensor, "n"]:
    """In how many shots each target patch's most similar patch lies under the mask.

    Negatives are further background of every shot; a tie goes to the shot.

    Args:
        nearest: in the place of the function of that name, one that keeps what it found.
    """
    votes = torch.zeros(len(target), dtype=torch.int64, device=target.device)
    beaten = nearest(target, negatives).similarity if len(negatives) else -torch.inf
    for tokens, mask in zip(reference, masks, strict=True):
        found = nearest(target, tokens)
        votes += mask[found.index] & (found.similarity >= beaten)
    return votes


def candidates(forward: Float[Tensor, "n"], votes: Int[Tensor, "n"], shots: int) -> Bool[Tensor, "n"]:
    """Patches that resemble the prototype and are voted for by at least half of the shots.

    The forward gate (published code, not in the paper) is f > 0, or the top tenth where nothing passes.
    """
    gate = forward > 0
    if not gate.any():
        gate = forward > torch.quantile(forward, 0.9)
    return gate & (votes >= -(-shots // 2))
