"""Stage 6: from patches to pixels."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def to_square(patches: Float[Tensor, "h w"], patch_size: int, inner: tuple[int, int]) -> Float[Tensor, "h2 w2"]:
    """Bilinear to the square that the encoder sees, without its padding.

    Args:
        inner: (height, width) that the target takes up of the square.
    """
    square = resized(patches, (patches.shape[0] * patch_size, patches.shape[1] * patch_size))
    return square[: inner[0], : inner[1]]


def resized(values: Float[Tensor, "h w"], size: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Bilinear, between the centres of pixels."""
    return F.interpolate(values[None, None], size, mode="bilinear", align_corners=False)[0, 0]
