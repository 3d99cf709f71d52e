"""ViTs of timm: DINOv3 with Meta's, timm's or transformers' weights, and any other with patch tokens."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor

from insid3.backbones import checkpoint
from insid3.backbones.checkpoint import State
from insid3.backbones.registry import Backbone
from insid3.errors import ConfigError, WeightsError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_WITHOUT_HUB = (
    "Without the hub: backbone='dinov2-vits14' (extra \"embedded\") needs no download, "
    "and weights=FILE (--weights) takes a file that you copied here."
)


class TorchEncoder:
    """A timm ViT in torch; see `types.Encoder`.

    With a half-precision dtype products run under autocast; norms, RoPE tables and the residual stream stay float32.
    """

    engine = "torch"

    def __init__(self, model: Any, name: str, weights_hash: str, device: torch.device, dtype: torch.dtype) -> None:
        self.name, self.weights_hash, self.device, self.dtype = name, weights_hash, device, dtype
        self.patch_size: int = model.patch_embed.patch_size[0]
        self.channels: int = model.embed_dim
        self.mean: tuple[float, float, float] = model.pretrained_cfg["mean"]
        self.std: tuple[float, float, float] = model.pretrained_cfg["std"]
        self._model = model.eval().requires_grad_(False).to(device)

    def __call__(
        self, images: Float[Tensor, "b 3 R R2"], layers: Sequence[int] = (-1,), *, float32: bool = False
    ) -> tuple[Float[Tensor, "b h w c"], ...]:
        blocks = [range(len(self._model.blocks))[layer] for layer in layers]
        indices = sorted({*blocks})
        dtype = torch.float32 if float32 else self.dtype
        with torch.no_grad():
            maps = self._tokens(images.to(self.device, torch.float32), indices, dtype)
        by_block = dict(zip(indices, maps, strict=True))
        grid = [side // self.patch_size for side in images.shape[2:]]
        return tuple(by_block[block].float().unflatten(1, grid) for block in blocks)

    def _tokens(
        self, images: Float[Tensor, "b 3 R R2"], indices: list[int], dtype: torch.dtype
    ) -> Sequence[Float[Tensor, "b n c"]]:
        """Patch tokens after each of these blocks and the final norm."""
        half = dtype != torch.float32
        with torch.autocast(self.device.type, dtype if half else None, enabled=half):
            return self._model.forward_intermediates(
                images, indices=indices, norm=True, stop_early=True, output_fmt="NLC", intermediates_only=True
            )


def resolve(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """What "auto" stands for here, and whether the rest exists.

    Raises:
        ConfigError: no such device or dtype.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        where = torch.device(device)
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device {device!r} cannot be used here: try device='auto' or 'cpu' (--device)") from error
    if dtype == "auto":
        if where.type == "cpu":
            return where, torch.float32
        bfloat16 = where.type == "cuda" and torch.cuda.is_bf16_supported()
        return where, torch.bfloat16 if bfloat16 else torch.float16
    if dtype not in _DTYPES:
        raise ConfigError(f"dtype must be auto, {', '.join(_DTYPES)}, got {dtype!r}")
    return where, _DTYPES[dtype]


def load(
    backbone: Backbone,
    weights: str | os.PathLike[str] | None,
    device: torch.device,
    dtype: torch.dtype,
    local_files_only: bool,
    build: Callable[..., TorchEncoder],
) -> TorchEncoder:
    """The encoder with weights from the file, or else from the hub.

    Raises:
        WeightsError: see `checkpoint.read`; also weights of another architecture, and a hub that cannot be reached.
    """
    architecture = backbone.architecture
    if backbone.source == "timm" and architecture not in timm.list_models() + timm.list_pretrained():
        raise ConfigError(f"timm has no model {architecture!r}: see timm.list_models('vit_*')")
    path = Path(weights) if weights is not None else download(backbone, local_files_only)
    state = checkpoint.read(path)
    periods = None
    if backbone.source == "dinov3":
        try:
            state, periods = dinov3_state(state, path)
        except KeyError as error:
            raise WeightsError(f"weights {path} are not those of {backbone.name}: tensor {error} is missing") from error
        if "blocks.0.attn.q_bias" not in state:
            architecture = architecture.removesuffix("_qkvb")
        elif not architecture.endswith("_qkvb"):
            state = {name: value for name, value in state.items() if not name.endswith((".q_bias", ".v_bias"))}
    model = create(architecture, state, f"weights {path} are not those of {backbone.name}")
    if backbone.source == "dinov3":
        # The published files hold the RoPE periods rounded to bfloat16; other formats leave them out.
        model.rope.periods.copy_(model.rope.periods.bfloat16() if periods is None else periods)
    return build(model, backbone.name, checkpoint.fingerprint(state), device, dtype)


def create(architecture: str, state: State, wrong: str, **arguments: Any) -> Any:
    """A timm ViT that holds exactly these tensors; `wrong` begins the message when they do not fit.

    The model is laid out without memory and takes the tensors as they are: weights that lie in a mapped file are read
    when they are first used, and nothing is initialised only to be overwritten.
    """
    try:
        with torch.device("meta"):
            model = timm.create_model(architecture, num_classes=0, dynamic_img_size=True, **arguments)
    except TypeError as error:
        raise ConfigError(f"timm:{architecture} is not a ViT with patch tokens that takes any picture size") from error
    if not hasattr(model, "forward_intermediates") or not hasattr(model, "patch_embed"):
        raise ConfigError(f"timm:{architecture} has no patch tokens to read")
    expected = model.state_dict()
    state = {name: value for name, value in state.items() if not name.startswith(("head.", "head_dist.", "fc_norm."))}
    for name, value in expected.items():
        if name not in state:
            raise WeightsError(f"{wrong}: tensor {name} is missing")
        if state[name].shape != value.shape:
            raise WeightsError(f"{wrong}: {name} has shape {_shape(state[name])}, expected {_shape(value)}")
    if extra := sorted(state.keys() - expected.keys()):
        raise WeightsError(
            f"{wrong}: unexpected tensor {extra[0]}" + (f" and {len(extra) - 1} more" if extra[1:] else "")
        )
    model.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    for module in model.modules():  # what no checkpoint holds: RoPE tables, the key's fixed zero bias
        if laid_out := [name for name, buffer in module.named_buffers(recurse=False) if buffer.is_meta]:
            for name in laid_out:
                setattr(module, name, torch.empty_like(getattr(module, name), device="cpu"))
            module.init_non_persistent_buffers()
    return model


def download(backbone: Backbone, local_files_only: bool) -> Path:
    """The weights file of the hub, from its cache when it is there. HF_HUB_OFFLINE and HF_TOKEN are honoured."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    hub = backbone.hub or getattr(timm.get_pretrained_cfg(backbone.architecture), "hf_hub_id", None)
    if not hub:
        raise WeightsError(
            f"timm names no hub weights for {backbone.architecture}: give a file with weights= (--weights)"
        )
    try:
        return Path(hf_hub_download(hub, "model.safetensors", local_files_only=local_files_only))
    except GatedRepoError as error:
        raise WeightsError(
            f"the hub wants a licence accepted for {hub}: do so on its page, then set HF_TOKEN"
        ) from error
    except LocalEntryNotFoundError as error:
        offline = local_files_only or constants.HF_HUB_OFFLINE
        why = "not in the hub's local cache, and downloads are switched off" if offline else "the hub cannot be reached"
        raise WeightsError(f"weights of {backbone.name} ({hub}): {why}. {_WITHOUT_HUB}") from error
    except Exception as error:  # OSError, or what the hub's HTTP library raises for a proxy or a broken connection
        raise WeightsError(
            f"weights of {backbone.name} ({hub}): {checkpoint.first_line(error)}. {_WITHOUT_HUB}"
        ) from error


def is_cached(backbone: Backbone) -> bool:
    """Whether the hub's local cache holds the weights; nothing is asked of the hub."""
    from huggingface_hub import try_to_load_from_cache

    return backbone.hub is not None and isinstance(try_to_load_from_cache(backbone.hub, "model.safetensors"), str)


def dinov3_state(state: State, path: Path) -> tuple[State, Tensor | None]:
    """timm's names for DINOv3 weights of Meta, timm or transformers, told apart by name; and RoPE periods if any.

    Raises:
        WeightsError: none of the three.
    """
    if "storage_tokens" in state:
        return _from_meta(state), state["rope_embed.periods"].float()
    if "embeddings.register_tokens" in state:
        return _from_transformers(state), None
    if "reg_token" in state:
        return state, None
    names = ", ".join(sorted(state)[:3])
    raise WeightsError(
        f"weights {path} are not DINOv3's: expected the names of Meta (storage_tokens), timm (reg_token) or "
        f"transformers (embeddings.register_tokens), got {names}, ..."
    )


def _from_meta(state: State) -> State:
    result = {}
    for name, value in state.items():
        if name.endswith((".periods", ".bias_mask", "mask_token")) or name.startswith("local_cls_norm"):
            continue  # buffers, and what only pre-training uses
        if name.endswith("qkv.bias"):  # the key's bias is fixed at zero
            stem = name.removesuffix("qkv.bias")
            result[f"{stem}q_bias"], _, result[f"{stem}v_bias"] = value.chunk(3)
            continue
        result[_rename(name, {"storage_tokens": "reg_token", r"ls(\d)\.gamma": r"gamma_\1", **_GATED})] = value
    return result


def _from_transformers(state: State) -> State:
    gated = any(".mlp.gate_proj." in name for name in state)
    renames = {
        r"^embeddings\.register_tokens": "reg_token",
        r"^embeddings\.patch_embeddings\.": "patch_embed.proj.",
        r"^embeddings\.": "",
        r"^layer\.": "blocks.",
        r"attention\.o_proj": "attn.proj",
        r"attention\.([qv])_proj\.bias": r"attn.\1_bias",
        r"layer_scale(\d)\.lambda1": r"gamma_\1",
        r"mlp\.gate_proj": "mlp.fc1_g",
        r"mlp\.up_proj": "mlp.fc1_x" if gated else "mlp.fc1",
        r"mlp\.down_proj": "mlp.fc2",
    }
    result = {}
    for name, value in state.items():
        if name.endswith(("mask_token", "inv_freq", ".k_proj.weight", ".v_proj.weight")):
            continue
        if name.endswith(".q_proj.weight"):
            parts = [state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            result[_rename(name, {r"attention\.q_proj": "attn.qkv", **renames})] = torch.cat(parts)
        else:
            result[_rename(name, renames)] = value
    return result


_GATED = {r"mlp\.w1\.": "mlp.fc1_g.", r"mlp\.w2\.": "mlp.fc1_x.", r"mlp\.w3\.": "mlp.fc2."}


def _rename(name: str, patterns: dict[str, str]) -> str:
    for pattern, replacement in patterns.items():
        name = re.sub(pattern, replacement, name)
    return name


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
