"""ViTs of timm: DINOv3 with weights of Meta, timm or transformers, and any other ViT with patch tokens."""

import hashlib
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
from insid3.backbones.finite import check_finite
from insid3.backbones.layouts import check_size, dinov3_state, heads, layout, pretraining_tensors, summary, unwrapped
from insid3.backbones.origin import IMAGENET, Origin, Statistics, dinov3_origin, timm_origin
from insid3.backbones.registry import Backbone
from insid3.checks.numbers import told
from insid3.checks.parsing import parsing
from insid3.errors import ConfigError, SizeError, WeightsError
from insid3.stages.chunked import is_out_of_memory

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_WITHOUT_HUB = (
    "Without the hub: backbone='dinov2-vits14' (extra \"embedded\") needs no download, "
    "and weights=FILE (--weights) takes a file that you copied here."
)


class TorchEncoder:
    """A timm ViT in torch, an `Encoder` (see `types.Encoder`).

    With a half-precision dtype products run under autocast; norms, RoPE tables and the residual stream stay float32.

    Raises:
        WeightsError: the encoder was called and a token is not finite.
    """

    engine = "torch"

    def __init__(
        self,
        model: Any,
        name: str,
        weights_hash: str,
        device: torch.device,
        dtype: torch.dtype,
        origin: Origin | None = None,
    ) -> None:
        """Make an encoder of a timm model.

        Args:
            model: a ViT with patch tokens.
            name: of the backbone.
            weights_hash: fingerprint of the weights.
            origin: of the weights, where it is known: says with which mean and deviation pictures are normalised.
        """
        self.name, self.weights_hash, self.device, self.dtype, self.origin = name, weights_hash, device, dtype, origin
        self.patch_size: int = model.patch_embed.patch_size[0]
        self.channels: int = model.embed_dim
        own = model.pretrained_cfg
        self.mean: tuple[float, float, float] = origin.statistics.mean if origin else own["mean"]
        self.std: tuple[float, float, float] = origin.statistics.std if origin else own["std"]
        self._model = model.eval().requires_grad_(False).to(device)

    def __call__(
        self, images: Float[Tensor, "b 3 R R2"], layers: Sequence[int] = (-1,), *, float32: bool = False
    ) -> tuple[Float[Tensor, "b h w c"], ...]:
        blocks = [range(len(self._model.blocks))[layer] for layer in layers]
        indices = sorted({*blocks})
        dtype = torch.float32 if float32 else self.dtype
        with torch.no_grad():
            maps = self._tokens(images.to(self.device, torch.float32), indices, dtype)
        for tokens in maps:
            check_finite(tokens, self.name, dtype, self._model)
        by_block = dict(zip(indices, maps, strict=True))
        grid = [side // self.patch_size for side in images.shape[2:]]
        return tuple(by_block[block].float().unflatten(1, grid) for block in blocks)

    def _tokens(
        self, images: Float[Tensor, "b 3 R R2"], indices: list[int], dtype: torch.dtype
    ) -> Sequence[Float[Tensor, "b n c"]]:
        """Return the patch tokens after each of these blocks and the final norm."""
        half = dtype != torch.float32
        with torch.autocast(self.device.type, dtype if half else None, enabled=half):
            return self._model.forward_intermediates(
                images, indices=indices, norm=True, stop_early=True, output_fmt="NLC", intermediates_only=True
            )


def resolve(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Return device and dtype for their names; "auto" is resolved for this machine.

    "auto" is never float16: activations of some weights exceed its largest number, 65,504.

    Raises:
        ConfigError: the device or the dtype does not exist here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        where = torch.device(device)
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise ConfigError(
            f"device {told(device)} cannot be used here: try device='auto' or 'cpu' (--device)"
        ) from error
    if dtype == "auto":
        bfloat16 = where.type == "cuda" and torch.cuda.is_bf16_supported()
        return where, torch.bfloat16 if bfloat16 else torch.float32
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ConfigError(f"dtype must be auto, {', '.join(_DTYPES)}, got {told(dtype)}")
    return where, _DTYPES[dtype]


def load(
    backbone: Backbone,
    weights: str | os.PathLike[str] | None,
    device: torch.device,
    dtype: torch.dtype,
    local_files_only: bool,
    build: Callable[..., TorchEncoder],
) -> TorchEncoder:
    """Load an encoder with weights from a file, or from the hub if `weights` is None.

    Raises:
        ConfigError: timm does not have the model, or `weights` is no path.
        WeightsError: the weights cannot be read (`checkpoint.read`) or are of another architecture, or the hub cannot
            be reached.
        SizeError: the model does not fit into memory.
    """
    architecture = backbone.architecture
    if backbone.source == "timm" and architecture not in timm.list_models() + timm.list_pretrained():
        raise ConfigError(f"timm has no model {architecture!r}: see timm.list_models('vit_*')")
    if not isinstance(weights, str | bytes | os.PathLike | None):
        raise ConfigError(f"weights must be a file or a folder, got {told(weights)}")
    path = Path(os.fsdecode(weights)) if weights is not None else download(backbone, local_files_only)
    held, unused = unwrapped(checkpoint.read(path), path)
    if _is_dinov3(architecture):
        check_size(held, path, backbone.name)
        with parsing(f"weights {path}", "weights", WeightsError):
            state, periods = dinov3_state(held, path)
        architecture, state, biases = _with_biases(architecture, state)
        unused += [*pretraining_tensors(held), *heads(held), *biases]
        origin = dinov3_origin(held, path, backbone.name, backbone.kind, summary(unused))
    else:
        state, periods, unused = held, None, [*unused, *heads(held)]
        asked = weights is None or "." in architecture
        origin = timm_origin(path, _published(architecture), asked, _differ(architecture), summary(unused))
    try:
        model = create(architecture, state, f"weights {path} are not those of {backbone.name}")
        if _is_dinov3(architecture) and (backbone.source == "dinov3" or layout(held) != "timm"):
            _set_periods(model.rope.periods, periods, path)
        digest = checkpoint.fingerprint(state)
        if origin.statistics != _published(architecture):  # the tokens differ, so concepts and bases must not be shared
            digest = hashlib.sha256(f"{digest} {origin.statistics}".encode()).hexdigest()[:16]
        return build(model, backbone.name, digest, device, dtype, origin)
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, WeightsError) or not is_out_of_memory(error):
            raise
        raise SizeError(f"{backbone.name} does not fit into the memory: use a smaller backbone (--backbone)") from error


def _is_dinov3(architecture: str) -> bool:
    return re.match(r"vit_\w+_dinov3", architecture) is not None


def _published(architecture: str) -> Statistics:
    """Return the mean and deviation that timm holds for the weights of a name, or for the first ones of a model."""
    found = timm.get_pretrained_cfg(architecture)
    return Statistics(tuple(found.mean), tuple(found.std)) if found else IMAGENET


def _differ(architecture: str) -> bool:
    """Tell whether timm holds weights of the model with different means or deviations."""
    return len({_published(name) for name in timm.list_pretrained(f"{architecture.partition('.')[0]}.*")}) > 1


def _with_biases(architecture: str, state: State) -> tuple[str, State, list[str]]:
    """Choose the variant of a model that has the file's biases: timm holds biases of q and v only in "qkvb" ones.

    Returns:
        The name of the variant, its tensors, and the names of biases that are left out since they are all zero.
    """
    model, dot, ending = architecture.partition(".")
    biases = [name for name in state if name.endswith((".q_bias", ".v_bias"))]
    if not biases:
        return model.removesuffix("_qkvb") + dot + ending, state, []
    if model.endswith("_qkvb"):
        return architecture, state, []
    if f"{model}_qkvb" in timm.list_models():
        return f"{model}_qkvb{dot}{ending}", state, []
    if any(state[name].any() for name in biases):
        return architecture, state, []  # `create` refuses the biases as unexpected
    return architecture, {name: value for name, value in state.items() if name not in biases}, biases


def _set_periods(own: Tensor, periods: Tensor | None, path: Path) -> None:
    """Set a model's RoPE periods to the file's, which are rounded to bfloat16; without any, round the model's own."""
    if periods is not None and periods.shape != own.shape:
        raise WeightsError(f"weights {path}: rope_embed.periods has shape {_shape(periods)}, expected {_shape(own)}")
    own.copy_(own.bfloat16() if periods is None else periods)


def create(architecture: str, state: State, wrong: str, **arguments: Any) -> Any:
    """Create a timm ViT that holds exactly these tensors.

    The model is laid out without memory and takes the tensors as they are: weights in a mapped file are read when they
    are first used, and nothing is initialised to be overwritten.

    Args:
        wrong: beginning of the message if the tensors do not fit.
        arguments: for `timm.create_model`.

    Raises:
        ConfigError: the model has no patch tokens, or takes only one picture size.
        WeightsError: a tensor is missing, unexpected or of another shape.
    """
    try:
        with torch.device("meta"):
            model = timm.create_model(architecture, num_classes=0, dynamic_img_size=True, **arguments)
    except TypeError as error:
        raise ConfigError(f"timm:{architecture} is not a ViT with patch tokens that takes any picture size") from error
    if not hasattr(model, "forward_intermediates") or not hasattr(model, "patch_embed"):
        raise ConfigError(f"timm:{architecture} has no patch tokens to read")
    expected = model.state_dict()
    state = {name: value for name, value in state.items() if name not in heads(state)}
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
    for module in model.modules():  # no checkpoint holds RoPE tables and the zero bias of k
        if laid_out := [name for name, buffer in module.named_buffers(recurse=False) if buffer.is_meta]:
            for name in laid_out:
                setattr(module, name, torch.empty_like(getattr(module, name), device="cpu"))
            module.init_non_persistent_buffers()
    return model


def download(backbone: Backbone, local_files_only: bool) -> Path:
    """Return the weights file of the hub, downloaded unless it is cached; HF_HUB_OFFLINE and HF_TOKEN are honoured.

    Raises:
        WeightsError: the hub has no such weights, wants a licence accepted, or cannot be reached.
    """
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
    except Exception as error:  # OSError, or exceptions of the hub's HTTP library
        raise WeightsError(
            f"weights of {backbone.name} ({hub}): {checkpoint.first_line(error)}. {_WITHOUT_HUB}"
        ) from error


def is_cached(backbone: Backbone) -> bool:
    """Tell whether the hub's local cache holds the weights, without asking the hub."""
    from huggingface_hub import try_to_load_from_cache

    return backbone.hub is not None and isinstance(try_to_load_from_cache(backbone.hub, "model.safetensors"), str)


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
