"""Stage 0: pictures become unit patch tokens, masks become patch masks."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from insid3.types import Encoder


def unit_tokens(encoder: Encoder, images: Float[Tensor, "b 3 R R"], *, float32: bool = False) -> Float[Tensor, "b n c"]:
    """Return the unit tokens of normalised pictures: the encoder's, each divided by its L2 norm.

    NaN where a token is not finite. `float32` is passed on to the encoder.
    """
    (tokens,) = encoder(images, float32=float32)
    return F.normalize(tokens.flatten(1, 2), dim=-1)


def normalise(
    pictures: UInt8[Tensor, "b H W 3"], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Float[Tensor, "b 3 H W"]:
    """Return the encoder's input for 8-bit RGB pictures: (pixels / 255 - mean) / std, (b, 3, H, W).

    Example:
        >>> normalise(torch.full((1, 1, 1, 3), 255, dtype=torch.uint8), (0.5, 0.5, 0.0), (0.5, 0.25, 1.0)).flatten()
        tensor([1., 2., 1.])
    """
    pixels = pictures.permute(0, 3, 1, 2).contiguous().float().div_(255)
    return pixels.sub_(pixels.new_tensor(mean).view(3, 1, 1)).div_(pixels.new_tensor(std).view(3, 1, 1))


def patch_mask(mask: Bool[Tensor, "R R"], patch_size: int) -> Bool[Tensor, "n"]:
    """Return the patches that belong to a mask, (n,), never none (published code).

    Patches of which the mask covers the centre; if none, those that nearest resizing hits; if none, the patch under the
    mask's centroid.

    Args:
        mask: (R, R), not empty: `imaging.resizing.resize_mask` keeps one pixel at least.
        patch_size: side of a patch in pixels.

    Example:
        >>> mask = torch.zeros(4, 4, dtype=torch.bool)
        >>> mask[:, 2:] = True
        >>> patch_mask(mask, patch_size=2)
        tensor([False,  True, False,  True])
    """
    grid = mask.shape[0] // patch_size
    pixels = mask[None, None].float()
    patches = F.interpolate(pixels, (grid, grid), mode="bilinear", align_corners=False)[0, 0] > 0.5
    if not patches.any():
        patches = F.interpolate(pixels, (grid, grid), mode="nearest")[0, 0] > 0.5
    if not patches.any():
        y, x = (int(index.float().mean()) // patch_size for index in torch.nonzero(mask, as_tuple=True))
        patches[y, x] = True
    return patches.flatten()
