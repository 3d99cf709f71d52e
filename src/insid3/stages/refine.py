"""Stage 6: from patches to pixels."""

import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor


def to_pixels(patches: Bool[Tensor, "h w"], side: int, size: tuple[int, int]) -> Bool[Tensor, "H W"]:
    """Bilinear to the model's square, cut at 0.5, bilinear to the target's own size, cut at 0.5.

    Args:
        side: R.
        size: (H, W).
    """
    for shape in ((side, side), size):
        patches = F.interpolate(patches[None, None].float(), shape, mode="bilinear", align_corners=False)[0, 0] > 0.5
    return patches
