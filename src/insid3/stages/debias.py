"""Stage 1: remove the positional subspace (paper 3.1)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def positional_directions(tokens: Float[Tensor, "n c"]) -> Float[Tensor, "c d"]:
    """Orthonormal directions in which a picture without content varies, strongest first; the basis B is the first r.

    Args:
        tokens: unit tokens of a low-content picture.
    """
    centred = tokens - tokens.mean(0)
    return torch.linalg.svd(centred, full_matrices=False).Vh.T


def debias(tokens: Float[Tensor, "*s n c"], basis: Float[Tensor, "c r"]) -> Float[Tensor, "*s n c"]:
    """Unit tokens orthogonal to the basis: normalise(X - (X B) B^T) (paper 3.1)."""
    return F.normalize(tokens - (tokens @ basis) @ basis.T, dim=-1)
