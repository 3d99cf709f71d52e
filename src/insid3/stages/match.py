"""Keypoints by the same debiased features (paper, supplement): kernel soft-argmax over similarity maps."""

import torch
from jaxtyping import Float
from torch import Tensor


def match(
    queries: Float[Tensor, "p c"],
    target: Float[Tensor, "n c"],
    grid: tuple[int, int],
    sigma: float = 7.0,
    temperature: float = 0.04,
) -> tuple[Float[Tensor, "p 2"], Float[Tensor, "p n"]]:
    """Expected (x, y) of each query on the patch grid, and its similarity to every target patch.

    Each map is weighted by a Gaussian around its maximum, then turned into probabilities by a softmax.

    Args:
        grid: (h, w).
        sigma: of the Gaussian, in patches.
        temperature: of the softmax.
    """
    similarity = queries @ target.T
    index = torch.arange(len(target), device=target.device)
    xy = torch.stack([index % grid[1], index // grid[1]], -1).to(target.dtype)
    peak = xy[similarity.argmax(1)]
    window = torch.exp(-(xy[None] - peak[:, None]).square().sum(-1) / (2 * sigma**2))
    return torch.softmax(similarity * window / temperature, 1) @ xy, similarity
