"""Stage 1: tokens without their positional subspace (paper 3.1)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def positional_directions(tokens: Float[Tensor, "n c"]) -> Float[Tensor, "c d"]:
    """Return the orthonormal directions in which tokens vary, strongest first; the first r are the basis B (paper 3.1).

    They are the right singular vectors of the centred tokens, found as eigenvectors of the c x c scatter matrix: only
    one product grows with the number of patches. float64, since squaring halves the digits; CPU, since not every
    device has float64.

    Args:
        tokens: (n, c), unit tokens of a low-content picture.

    Returns:
        (c, d), d = min(n, c).

    Example:
        >>> positional_directions(torch.tensor([[0.6, 0.8, 0.0], [-0.6, 0.8, 0.0], [0.0, 1.0, 0.0]]))[:, 0].abs()
        tensor([1., 0., 0.])
    """
    centred = (tokens - tokens.mean(0)).cpu().double()
    vectors = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)
    return vectors[:, : min(centred.shape)].to(tokens)


def debias(tokens: Float[Tensor, "*s n c"], basis: Float[Tensor, "c r"]) -> Float[Tensor, "*s n c"]:
    """Return unit tokens orthogonal to the basis: normalise(X - (X B) B^T) (paper 3.1).

    Example:
        >>> debias(torch.tensor([[0.8, 0.6, 0.0]]), basis=torch.tensor([[1.0], [0.0], [0.0]]))
        tensor([[0., 1., 0.]])
    """
    return F.normalize(tokens - (tokens @ basis) @ basis.T, dim=-1)
