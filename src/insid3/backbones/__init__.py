"""Frozen encoders by name."""

import warnings
from typing import TYPE_CHECKING

from insid3.backbones.registry import REGISTRY, Backbone, find
from insid3.config import Defaults

if TYPE_CHECKING:
    import os

    from insid3.types import Encoder

__all__ = ["REGISTRY", "Backbone", "find", "load_encoder", "uncalibrated"]


def load_encoder(
    backbone: str,
    *,
    weights: "str | os.PathLike[str] | None" = None,
    device: str = "auto",
    dtype: str = "auto",
    local_files_only: bool = False,
) -> "Encoder":
    """The encoder of that name, in memory and ready.

    Args:
        backbone: a name that `insid3 backbones` lists, or "timm:NAME" for another patch-token ViT.
        weights: file to read instead of the hub: Meta's .pth, or .safetensors with timm's or transformers' keys.
        device: "auto" takes CUDA, then MPS, then the CPU.
        dtype: "float32", "bfloat16", "float16", or "auto": float32 on CPUs, half precision on accelerators.
        local_files_only: never ask the hub, use what has been downloaded before.

    Raises:
        ConfigError: unknown backbone, device or dtype.
        WeightsError: the weights are missing, damaged or of another architecture.
        MissingExtraError: the embedded backbone's packages are not installed.
    """
    from insid3.backbones import embedded, timm_vit

    found = find(backbone)
    where, how = timm_vit.resolve(device, dtype)
    if found.source == "embedded":
        return embedded.load(found, weights, where, how)
    return timm_vit.load(found, weights, where, how, local_files_only)


def uncalibrated(encoder: "Encoder") -> Defaults:
    """Settings for a ViT that nobody has tuned: about 518 px, a twelfth of the channels, the paper's tau and alpha."""
    warnings.warn(
        f"{encoder.name} is not calibrated for this method: compare settings on pictures of your own "
        "(size, rank, tau, threshold)",
        stacklevel=3,
    )
    size = round(518 / encoder.patch_size) * encoder.patch_size
    return Defaults(size, encoder.channels // 12, 0.6)
