"""The same ViTs with their blocks in OpenVINO, the fast engine of CPUs; patches and position tables stay in torch.

The blocks are traced on a handful of tokens, so the compiled model serves every picture size and conversion costs
neither time nor memory. It is kept in the cache folder: the next start skips conversion, compilation, and reading the
blocks' weights.
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

_HEAD = 64  # bytes before the compiled model: its SHA-256 in hex; keeps what follows aligned
_PRECISION = {torch.float32: "f32", torch.bfloat16: "bf16"}


def is_installed() -> bool:
    return find_spec("openvino") is not None


def _openvino() -> Any:
    """The package, imported without the telemetry by which it would report every import and conversion.

    It does without when that package is missing, so it is kept out of sight for as long as the import takes.
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
        self._kept: list[Any] = []  # what compiled models were read from: they go on using that memory

    def _tokens(
        self, images: Float[Tensor, "b 3 R R2"], indices: list[int], dtype: torch.dtype
    ) -> Sequence[Float[Tensor, "b n c"]]:
        key = (tuple(indices), dtype)
        if key not in self._compiled:
            self._compiled[key] = self._load(tuple(indices), dtype)
        inputs = [tensor.contiguous().numpy() for tensor in _embed(self._model, images)]
        try:
            results = self._compiled[key](inputs, share_inputs=True, share_outputs=False)
        except RuntimeError:  # perhaps for lack of memory: a smaller picture needs what is still held
            self._compiled[key].release_memory()
            raise
        return [torch.from_numpy(results[i]) for i in range(len(indices))]

    def _load(self, indices: tuple[int, ...], dtype: torch.dtype) -> Any:
        """The compiled blocks: from the cache folder if whole, else compiled and kept there."""
        properties = {
            "INFERENCE_PRECISION_HINT": _PRECISION[dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # every process of several would be pinned to the same first cores
        }
        path = self._cached_file(indices, dtype)
        if (kept := _read(path)) is not None:
            with suppress(RuntimeError):  # written by a build of OpenVINO that differs in more than its version
                compiled = self._core.import_model(kept, "CPU", properties)
                self._kept.append(kept)
                return compiled
        blocks = _Blocks(self._model, indices)
        compiled = self._core.compile_model(_converted(blocks), "CPU", properties)
        with suppress(OSError):  # a cache that cannot be written costs a second at the next start, no more
            _write(path, compiled.export_model())
        return compiled

    def _cached_file(self, indices: tuple[int, ...], dtype: torch.dtype) -> Path:
        """Named by all that the compiled model depends on."""
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
    """The chosen blocks' patch tokens after the final norm, from all tokens before the first block."""

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
    """Why this engine cannot run the model, None if it can: it prepares tokens in DINOv2's and DINOv3's way only."""
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
    """What the first block gets: all tokens, and the RoPE table of models that have one."""
    embedded = model._pos_embed(model.patch_embed(images))
    tokens, rope = embedded if isinstance(embedded, tuple) else (embedded, None)
    return [model.norm_pre(tokens), *([rope] if rope is not None else [])]


def _converted(blocks: _Blocks) -> Any:
    """OpenVINO's graph of the blocks, for any number of tokens."""
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
        warnings.simplefilter("ignore")  # the decoder traces with torch.jit, which torch 2.15 calls outdated
        decoder = TorchScriptPythonDecoder(blocks.eval(), example_input=example)  # must outlive the conversion
        graph = frontend.convert(frontend.load(decoder))
    graph.reshape(dict(zip(graph.inputs, shapes, strict=True)))
    return graph


def _write(path: Path, compiled: Any) -> None:
    blob = compiled.getbuffer()
    with byte_stream(path) as file:
        file.write(hashlib.sha256(blob).hexdigest().encode())
        file.write(blob)


def _read(path: Path) -> Any | None:
    """The compiled model, mapped into memory; None where there is none or it is damaged."""
    try:
        content = np.memmap(path, np.uint8, "c")
    except (OSError, ValueError):
        return None
    blob = content[_HEAD:]
    if hashlib.sha256(blob.data).hexdigest().encode() != content[:_HEAD].tobytes():
        return None
    return _openvino().Tensor(blob, shared_memory=True)
