"""Stage 2: which target patches may show the concept (paper 3.3). All tokens are debiased."""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from insid3.blocks import in_blocks


def prototype(reference: Iterable[Float[Tensor, "_ c"]], masks: Iterable[Bool[Tensor, "_"]]) -> Float[Tensor, "c"]:
    """g: per shot the mean token under the mask, the mean of these, normalised. No mask may be empty."""
    means = [tokens[mask].mean(0) for tokens, mask in zip(reference, masks, strict=True)]
    return F.normalize(torch.stack(means).mean(0), dim=-1)


def nearest(queries: Float[Tensor, "q c"], keys: Float[Tensor, "n c"]) -> tuple[Float[Tensor, "q"], Int[Tensor, "q"]]:
    """Each query's largest similarity to the keys and where it is; in blocks, without the q x n matrix."""
    best = in_blocks(queries, len(keys), lambda block: (block @ keys.T).max(1))
    return torch.cat([b.values for b in best]), torch.cat([b.indices for b in best])


Nearest = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def backward_votes(
    target: Float[Tensor, "n c"],
    reference: Iterable[Float[Tensor, "_ c"]],
    masks: Iterable[Bool[Tensor, "_"]],
    negatives: Float[Tensor, "m c"],
    nearest: Nearest = nearest,
) -> Int[Tensor, "n"]:
    """In how many shots each target patch's most similar patch lies under the mask.

    Negatives are further background of every shot; a tie goes to the shot.

    Args:
        nearest: in the place of the function of that name, one that keeps what it found.
    """
    votes = torch.zeros(len(target), dtype=torch.int64, device=target.device)
    beaten = nearest(target, negatives)[0] if len(negatives) else -torch.inf
    for tokens, mask in zip(reference, masks, strict=True):
        similarity, index = nearest(target, tokens)
        votes += mask[index] & (similarity >= beaten)
    return votes


def candidates(forward: Float[Tensor, "n"], votes: Int[Tensor, "n"], shots: int) -> Bool[Tensor, "n"]:
    """Patches that resemble the prototype and are voted for by at least half of the shots.

    The forward gate (published code, not in the paper) is f > 0, or the top tenth where nothing passes.
    """
    gate = forward > 0
    if not gate.any():
        gate = forward > torch.quantile(forward, 0.9)
    return gate & (votes >= -(-shots // 2))
