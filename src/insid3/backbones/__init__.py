"""Frozen encoders, loaded by name."""

import warnings
from typing import TYPE_CHECKING, Any

from insid3.backbones.registry import REGISTRY, Backbone, find
from insid3.checks.numbers import told
from insid3.config import Defaults
from insid3.errors import ConfigError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import torch

    from insid3.backbones.origin import Origin
    from insid3.backbones.timm_vit import TorchEncoder
    from insid3.types import Encoder

__all__ = ["REGISTRY", "Backbone", "find", "load_encoder", "uncalibrated"]


def load_encoder(
    backbone: str,
    *,
    weights: "str | os.PathLike[str] | None" = None,
    device: str = "auto",
    dtype: str = "auto",
    engine: str = "auto",
    local_files_only: bool = False,
) -> "Encoder":
    """Load the encoder of a backbone.

    Args:
        backbone: a name that `insid3 backbones` lists, or "timm:NAME" for another ViT with patch tokens.
        weights: file or folder to read instead of the hub: Meta's .pth, or .safetensors with timm's or transformers'
            names, in one file or in shards. The encoder's `origin` says which weights these are.
        device: a device of torch, or "auto": CUDA, else MPS, else the CPU.
        dtype: "float32", "bfloat16", "float16", or "auto": bfloat16 on GPUs that compute in it, else float32.
        engine: "torch", "openvino" (CPUs only, extra "openvino"), or "auto": OpenVINO where it is installed and can run
            the model.
        local_files_only: use downloaded weights only, and never ask the hub.

    Raises:
        ConfigError: backbone, device, dtype or engine are unknown, or the engine cannot run the backbone.
        WeightsError: the weights are missing, damaged or of another architecture.
        SizeError: the weights do not fit into memory.
        MissingExtraError: the packages of the embedded backbone or of the engine are not installed.

    Example:
        >>> encoder = load_encoder("dinov2-vits14")  # doctest: +SKIP
    """
    from insid3.backbones import embedded, timm_vit

    found = find(backbone)
    where, how = timm_vit.resolve(device, dtype)
    build = _builder(engine)
    if found.source == "embedded":
        return embedded.load(found, weights, where, how, build)
    return timm_vit.load(found, weights, where, how, local_files_only, build)


def _builder(engine: str) -> "Callable[..., TorchEncoder]":
    """Return the function that makes an encoder of a timm model."""
    if engine not in ("auto", "torch", "openvino"):
        raise ConfigError(f"engine must be auto, torch or openvino, got {told(engine)}")

    def build(
        model: Any,
        name: str,
        weights_hash: str,
        device: "torch.device",
        dtype: "torch.dtype",
        origin: "Origin | None" = None,
    ) -> "TorchEncoder":
        from insid3.backbones import openvino_vit, timm_vit

        why_not = openvino_vit.obstacle(model, device, dtype)
        if engine == "openvino" and why_not is not None:
            raise ConfigError(f"engine 'openvino' cannot be used: {why_not}. Use engine='torch' (--engine torch)")
        fast = engine == "openvino" or (engine == "auto" and why_not is None and openvino_vit.is_installed())
        made = openvino_vit.OpenVinoEncoder if fast else timm_vit.TorchEncoder
        return made(model, name, weights_hash, device, dtype, origin)

    return build


def uncalibrated(encoder: "Encoder") -> Defaults:
    """Return settings for a ViT that nobody has calibrated, with a warning.

    The size is about 518 px, the rank a twelfth of the channels; tau and alpha are the paper's.
    """
    warnings.warn(
        f"{encoder.name} is not calibrated for this method: compare settings on pictures of your own "
        "(size, rank, tau, threshold)",
        stacklevel=3,
    )
    size = round(518 / encoder.patch_size) * encoder.patch_size
    return Defaults(size, encoder.channels // 12, 0.6)
