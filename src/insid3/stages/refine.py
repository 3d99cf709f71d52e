"""Stage 6: from patches to pixels."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def to_pixels(
    patches: Bool[Tensor, "h w"], patch_size: int, inner: tuple[int, int], size: tuple[int, int]
) -> Bool[Tensor, "H W"]:
    """Bilinear to the model's square, cut at 0.5, bilinear to the target's own size, cut at 0.5.

    Args:
        inner: (height, width) that the target takes up of the square; the rest is padding.
        size: (H, W).
    """
    square = (patches.shape[0] * patch_size, patches.shape[1] * patch_size)
    whole = _resized(patches.float(), square) > 0.5
    return _resized(whole[: inner[0], : inner[1]].float(), size) > 0.5


def blend_to_pixels(margins: Float[Tensor, "h w"], size: tuple[int, int]) -> Bool[Tensor, "H W"]:
    """Where blended margins of overlapping tiles (`aggregate.margins`), bilinear at (H, W) `size`, are above zero."""
    return _resized(margins, size) > 0


def _resized(values: Float[Tensor, "h w"], size: tuple[int, int]) -> Float[Tensor, "H W"]:
    return F.interpolate(values[None, None], size, mode="bilinear", align_corners=False)[0, 0]
