"""Export of an encoder as one ONNX file, for use with other runtimes.

The file accepts any picture size: all that depends on the grid of patches is computed inside the graph. timm's own code
would freeze the size of the traced picture (RoPE), or needs antialiased resizing, which few runtimes have (position
tables). So this module writes both with elementary operations.
"""

import io
import json
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from insid3 import __version__
from insid3.backbones.finite import damaged_tensor
from insid3.backbones.registry import find
from insid3.backbones.timm_vit import TorchEncoder
from insid3.config import Config
from insid3.errors import ConfigError, MissingExtraError, WeightsError
from insid3.storage import write_bytes
from insid3.types import Encoder

try:
    import onnx
except ImportError as error:
    raise MissingExtraError("writing ONNX files", "export") from error

_OPSET = 17  # the first with LayerNormalization; fewer runtimes read newer ones, which are of no use here
_LIMIT = 2**31 - 2**24  # bytes of weights at most: an ONNX file ends at 2 GiB, and the graph needs some of them


def export(encoder: Encoder, basis: Float[Tensor, "c r"], config: Config, path: Path) -> None:
    """Write an encoder and its debiasing as an ONNX file, in float32, whatever dtype and engine the encoder uses.

    Inputs: `image` (batch, 3, height, width), normalised; `basis` (channels, rank), which may be left out.
    Outputs: `tokens` and `debiased`, each (batch, patches, channels) of unit length, patches in row-major order.
    Height and width are any multiples of the patch size. The file's metadata hold all that a caller must know.

    Args:
        encoder: a ViT built like DINOv2 or DINOv3.
        basis: (c, r), the positional basis; default of the input `basis`.
        config: settings of which size, rank and kind of basis are written into the metadata.
        path: the file to write.

    Raises:
        ConfigError: the encoder is of another kind, or too large for an ONNX file.
        WeightsError: weights or basis are not finite.
        OutputError: the file cannot be written.
    """
    model = _exportable(encoder)
    size = sum(tensor.numel() for tensor in [*model.parameters(), basis]) * 4
    if size > _LIMIT:
        raise ConfigError(
            f"{encoder.name} has {size / 2**30:.1f} GiB of weights, and an ONNX file ends at 2 GiB: use a smaller one"
        )
    if (damaged := damaged_tensor(model)) is not None or not torch.isfinite(basis).all():
        raise WeightsError(
            f"{encoder.name} cannot be exported: {damaged or 'its positional basis'} holds NaN or infinity. Take other "
            "weights (--weights)"
        )
    default = onnx.numpy_helper.from_array(basis.float().cpu().contiguous().numpy(), "basis")
    facts = _facts(encoder, config)
    content = onnx.load_model_from_string(_trace(_Graph(model), basis.to(encoder.device), encoder.patch_size))
    content.producer_name, content.producer_version = "insid3", __version__
    content.graph.initializer.append(default)  # has the name of an input, so becomes the input's default
    for output in content.graph.output:
        output.type.tensor_type.shape.dim[2].dim_value = encoder.channels
    onnx.helper.set_model_props(content, facts)
    whole = content.SerializeToString()
    onnx.checker.check_model(whole, full_check=True)
    write_bytes(path, whole)


def _exportable(encoder: Encoder) -> Any:
    """Return the encoder's timm model, after a check that it makes tokens as DINOv2 or DINOv3 do."""
    from timm.layers.patch_embed import PatchEmbed
    from timm.layers.pos_embed_sincos import RotaryEmbeddingDinoV3
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    model: Any = encoder._model if isinstance(encoder, TorchEncoder) else None
    known = type(model) is VisionTransformer or (type(model) is Eva and type(model.rope) is RotaryEmbeddingDinoV3)
    if not known or type(model.patch_embed) is not PatchEmbed:
        raise ConfigError(f"{encoder.name} cannot be exported: only ViTs built like DINOv2 or DINOv3 can")
    return model


def _facts(encoder: Encoder, config: Config) -> dict[str, str]:
    facts = {
        "backbone": encoder.name,
        "weights_hash": encoder.weights_hash,
        "licence": find(encoder.name).licence,
        "patch_size": encoder.patch_size,
        "mean": encoder.mean,
        "std": encoder.std,
        "size": config.size,
        "rank": config.rank,
        "basis": config.basis,
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}


def _trace(graph: nn.Module, basis: Tensor, patch_size: int) -> bytes:
    file = io.BytesIO()
    image = torch.zeros(2, 3, 3 * patch_size, 5 * patch_size, device=basis.device)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the newer exporter needs one more package
        torch.onnx.export(
            graph.eval(),
            (image, basis),
            file,  # type: ignore[arg-type]  # accepted, though not annotated
            input_names=["image", "basis"],
            output_names=["tokens", "debiased"],
            dynamic_axes={
                "image": {0: "batch", 2: "height", 3: "width"},
                "basis": {1: "rank"},
                "tokens": {0: "batch", 1: "patches"},
                "debiased": {0: "batch", 1: "patches"},
            },
            opset_version=_OPSET,
            dynamo=False,
        )
    return file.getvalue()


class _Graph(nn.Module):
    """`TorchEncoder`, `stages.encode.unit_tokens` and `stages.debias.debias` as one function that can be traced.

    While the graph is traced, every size is a tensor, so no shape is checked or used as a number.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
        model = self.model
        patches = model.patch_embed.proj(image)
        h, w = patches.shape[2:]
        patches = model.patch_embed.norm(patches.flatten(2).transpose(1, 2))
        prefix = torch.cat([patches[:1, :0], *(t for t in (model.cls_token, model.reg_token) if t is not None)], 1)
        if model.pos_embed is not None:
            own = 0 if model.no_embed_class else model.num_prefix_tokens
            prefix = prefix + model.pos_embed[:, :own] if own else prefix
            patches = patches + _resampled(model.pos_embed[0, own:], model.patch_embed.grid_size, h, w)
        x = model.norm_pre(torch.cat([prefix.expand(patches.shape[0], -1, -1), patches], 1))
        rope = {"rope": _rope(model.rope, h, w)} if getattr(model, "rope", None) is not None else {}
        for block in model.blocks:
            x = block(x, **rope)
        tokens = F.normalize(model.norm(x)[:, model.num_prefix_tokens :], dim=-1)
        return tokens, F.normalize(tokens - (tokens @ basis) @ basis.T, dim=-1)


def _resampled(table: Tensor, grid: tuple[int, int], h: Any, w: Any) -> Tensor:
    """Resample a position table to (h * w, c) as timm's `resample_abs_pos_embed` does: bicubic, antialiased."""
    rows = (_bicubic(table, grid[0], h) @ table.reshape(grid[0], -1)).reshape(h, grid[1], -1)
    return (_bicubic(table, grid[1], w) @ rows).flatten(0, 1)


def _bicubic(table: Tensor, old: int, new: Any) -> Tensor:
    """Return each new entry's weights of the old entries, (new, old), as torch's bicubic resizing computes them."""
    scale = table.new_full((), old) / new
    distance = (_centres(table, old) - _centres(table, new)[:, None] * scale).abs()
    x = distance / scale.clamp(min=1)  # the kernel grows as the table shrinks
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2  # Keys' kernel with a = -0.5
    weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    return weights / weights.sum(1, keepdim=True)


def _rope(rope: Any, h: Any, w: Any) -> Tensor:
    """Return sines, then cosines, (h * w, 2 * d), as timm's `RotaryEmbeddingDinoV3.get_embed` does."""
    y, x = (_centres(rope.periods, count) / count * 2 - 1 for count in (h, w))
    places = torch.stack([y[:, None].expand(-1, w), x[None].expand(h, -1)], -1).flatten(0, 1)
    angles = (2 * torch.pi * places[..., None] / rope.periods).flatten(1).repeat(1, 2)
    return torch.cat([angles.sin(), angles.cos()], 1)


def _centres(like: Tensor, count: Any) -> Tensor:
    return torch.arange(count, dtype=torch.float32, device=like.device) + 0.5
