"""Stage 1: remove the positional subspace (paper 3.1)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def positional_directions(tokens: Float[Tensor, "n c"]) -> Float[Tensor, "c d"]:
    """Orthonormal directions in which a picture without content varies, strongest first; the basis B is the first r.

    The right singular vectors of the centred tokens, as eigenvectors of their c x c scatter matrix: the cost does not
    grow with the number of patches beyond one product. In float64, since squaring halves the digits; on the CPU, since
    not every device has float64.

    Args:
        tokens: unit tokens of a low-content picture.
    """
    centred = (tokens - tokens.mean(0)).cpu().double()
    vectors = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)
    return vectors[:, : min(centred.shape)].to(tokens)


def debias(tokens: Float[Tensor, "*s n c"], basis: Float[Tensor, "c r"]) -> Float[Tensor, "*s n c"]:
    """Unit tokens orthogonal to the basis: normalise(X - (X B) B^T) (paper 3.1)."""
    return F.normalize(tokens - (tokens @ basis) @ basis.T, dim=-1)
