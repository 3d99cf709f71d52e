"""ViTs of timm with their blocks in OpenVINO, the fast engine for CPUs; patches and position tables stay in torch.

The blocks are traced on a handful of tokens, so one compiled model serves every picture size, and conversion costs
little time and memory. The compiled model is kept in the cache folder: the next start skips conversion, compilation,
and reading the blocks' weights.
"""

import hashlib
import importlib
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from insid3.backbones.origin import Origin
from insid3.backbones.timm_vit import TorchEncoder
from insid3.errors import MissingExtraError
from insid3.storage import byte_stream, cache_dir

_HEAD = 64  # bytes before the compiled model: its SHA-256 in hex digits, which also keeps the model aligned
_PRECISION = {torch.float32: "f32", torch.bfloat16: "bf16"}


def is_installed() -> bool:
    """Tell whether OpenVINO is installed."""
    return find_spec("openvino") is not None


def _openvino() -> Any:
    """Import OpenVINO without its telemetry, which would report every import and conversion.

    OpenVINO works without the telemetry package, so this function hides the package during the import.
    """
    if "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            importlib.import_module("openvino")
        finally:
            del sys.modules["openvino_telemetry"]
    return importlib.import_module("openvino")


class OpenVinoEncoder(TorchEncoder):
    """A timm ViT whose blocks run in OpenVINO on the CPU; see `types.Encoder`.

    With a half-precision dtype OpenVINO chooses where to round; the input and output of the blocks stay float32.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """

    engine = "openvino"

    def __init__(
        self,
        model: Any,
        name: str,
        weights_hash: str,
        device: torch.device,
        dtype: torch.dtype,
        origin: Origin | None = None,
    ) -> None:
        if not is_installed():
            raise MissingExtraError("engine='openvino'", "openvino")
        super().__init__(model, name, weights_hash, device, dtype, origin)
        self._compiled: dict[tuple[tuple[int, ...], torch.dtype], Any] = {}
        self._kept: list[Any] = []  # mapped files of compiled models, which go on using that memory

    def _tokens(
        self, images: Float[Tensor, "b 3 R R2"], indices: list[int], dtype: torch.dtype
    ) -> Sequence[Float[Tensor, "b n c"]]:
        key = (tuple(indices), dtype)
        if key not in self._compiled:
            self._compiled[key] = self._load(tuple(indices), dtype)
        inputs = [tensor.contiguous().numpy() for tensor in _embed(self._model, images)]
        try:
            results = self._compiled[key](inputs, share_inputs=True, share_outputs=False)
        except RuntimeError:  # perhaps memory ran out: the next, smaller picture needs the memory that is still held
            self._compiled[key].release_memory()
            raise
        return [torch.from_numpy(results[i]) for i in range(len(indices))]

    def _load(self, indices: tuple[int, ...], dtype: torch.dtype) -> Any:
        """Return the compiled blocks from the cache folder; compile and keep them if the file is missing or damaged."""
        properties = {
            "INFERENCE_PRECISION_HINT": _PRECISION[dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # several processes would all be pinned to the same first cores
        }
        path = self._cached_file(indices, dtype)
        if (kept := _read(path)) is not None:
            with suppress(RuntimeError):  # another build of OpenVINO with the same version wrote the file
                compiled = self._core.import_model(kept, "CPU", properties)
                self._kept.append(kept)
                return compiled
        blocks = _Blocks(self._model, indices)
        compiled = self._core.compile_model(_converted(blocks), "CPU", properties)
        with suppress(OSError):  # without the file the next start takes a second longer
            _write(path, compiled.export_model())
        return compiled

    def _cached_file(self, indices: tuple[int, ...], dtype: torch.dtype) -> Path:
        """Return the cache file, named by all that the compiled model depends on."""
        import timm

        facts = (
            _openvino().get_version(), torch.__version__, timm.__version__,
            self._core.get_property("CPU", "FULL_DEVICE_NAME"), torch.get_num_threads(), self.weights_hash, indices,
        )  # fmt: skip
        digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
        name = re.sub(r"[^\w.-]", "_", self.name)
        return cache_dir() / "compiled" / f"{name}-{_PRECISION[dtype]}-{digest}.blob"

    @cached_property
    def _core(self) -> Any:
        return _openvino().Core()


class _Blocks(nn.Module):
    """The blocks of a ViT: from all tokens to the patch tokens of the chosen blocks after the final norm."""

    def __init__(self, model: Any, indices: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks, self.norm = model.blocks[: indices[-1] + 1], model.norm
        self.indices, self.prefix, self.channels = indices, model.num_prefix_tokens, model.embed_dim
        self.rope_channels = 2 * model.embed_dim // model.blocks[0].attn.num_heads if _has_rope(model) else 0

    def forward(self, x: Tensor, rope: Tensor | None = None) -> tuple[Tensor, ...]:
        result = []
        for i, block in enumerate(self.blocks):
            x = block(x) if rope is None else block(x, rope=rope)
            if i in self.indices:
                result.append(self.norm(x)[:, self.prefix :])
        return tuple(result)


def obstacle(model: Any, device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why this engine cannot run a model; None if it can.

    The engine prepares tokens as DINOv2 and DINOv3 do, and in no other way.
    """
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    if device.type != "cpu":
        return f"it runs on CPUs, not on {device}"
    if dtype == torch.float16:
        return "on CPUs it computes in float32 or bfloat16"
    if type(model) is VisionTransformer or (isinstance(model, Eva) and not getattr(model, "rope_mixed", False)):
        return None
    return f"it does not know models of type {type(model).__name__}"


def _has_rope(model: Any) -> bool:
    return getattr(model, "rope", None) is not None


def _embed(model: Any, images: Float[Tensor, "b 3 R R2"]) -> list[Tensor]:
    """Return the input of the first block: all tokens, and the RoPE table of models that have one."""
    embedded = model._pos_embed(model.patch_embed(images))
    tokens, rope = embedded if isinstance(embedded, tuple) else (embedded, None)
    return [model.norm_pre(tokens), *([rope] if rope is not None else [])]


def _converted(blocks: _Blocks) -> Any:
    """Return OpenVINO's graph of the blocks, for any number of tokens."""
    shape = _openvino().PartialShape
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example: tuple[Tensor, ...] = (torch.zeros(2, blocks.prefix + 16, blocks.channels),)
    shapes = [shape([-1, -1, blocks.channels])]
    if blocks.rope_channels:
        example += (torch.zeros(16, blocks.rope_channels),)
        shapes.append(shape([-1, blocks.rope_channels]))
    frontend = FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the decoder traces with torch.jit, which torch 2.15 deprecates
        decoder = TorchScriptPythonDecoder(blocks.eval(), example_input=example)  # the conversion needs this reference
        graph = frontend.convert(frontend.load(decoder))
    graph.reshape(dict(zip(graph.inputs, shapes, strict=True)))
    return graph


def _write(path: Path, compiled: Any) -> None:
    blob = compiled.getbuffer()
    with byte_stream(path) as file:
        file.write(hashlib.sha256(blob).hexdigest().encode())
        file.write(blob)


def _read(path: Path) -> Any | None:
    """Map a compiled model into memory and return it; None if the file is missing or damaged."""
    try:
        content = np.memmap(path, np.uint8, "c")
    except (OSError, ValueError):
        return None
    blob = content[_HEAD:]
    if hashlib.sha256(blob.data).hexdigest().encode() != content[:_HEAD].tobytes():
        return None
    return _openvino().Tensor(blob, shared_memory=True)
