"""Keypoints by debiased tokens (paper, supplement): a kernel soft-argmax over similarity maps."""

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
    """Return the expected (x, y) of each query on the patch grid, and its similarity to every target patch.

    A Gaussian around its maximum weights each similarity map; a softmax makes probabilities of the product.

    Args:
        queries: (p, c), debiased unit tokens of the reference at its points.
        target: (n, c), debiased unit tokens of the target.
        grid: (h, w) of the target.
        sigma: of the Gaussian, in patches.
        temperature: of the softmax.

    Example:
        >>> match(torch.tensor([[0.0, 1.0]]), torch.eye(2), grid=(1, 2))[0].round()
        tensor([[1., 0.]])
    """
    similarity = queries @ target.T
    index = torch.arange(len(target), device=target.device)
    xy = torch.stack([index % grid[1], index // grid[1]], -1).to(target.dtype)
    peak = xy[similarity.argmax(1)]
    window = torch.exp(-(xy[None] - peak[:, None]).square().sum(-1) / (2 * sigma**2))
    return torch.softmax(similarity * window / temperature, 1) @ xy, similarity
