"""Stage 0: pictures to unit patch tokens, masks to patch masks."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from insid3.types import Encoder


def unit_tokens(encoder: Encoder, images: Float[Tensor, "b 3 R R"], *, float32: bool = False) -> Float[Tensor, "b n c"]:
    """Tokens of normalised images, each divided by its L2 norm; NaN where the encoder gave something not finite."""
    (tokens,) = encoder(images, float32=float32)
    return F.normalize(tokens.flatten(1, 2), dim=-1)


def normalise(
    pictures: UInt8[Tensor, "b H W 3"], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Float[Tensor, "b 3 H W"]:
    """8-bit RGB to the encoder's input."""
    pixels = pictures.permute(0, 3, 1, 2).contiguous().float().div_(255)
    return pixels.sub_(pixels.new_tensor(mean).view(3, 1, 1)).div_(pixels.new_tensor(std).view(3, 1, 1))


def patch_mask(mask: Bool[Tensor, "R R"], patch_size: int) -> Bool[Tensor, "n"]:
    """Which patches belong to the mask: those whose centre does; else any that nearest resizing hits; else the one
    under the centroid. Never empty.

    Args:
        mask: not empty (`images.resize_mask` sees to that).
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
