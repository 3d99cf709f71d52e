"""The ONNX file gives torch's tokens in ONNX Runtime, at any size, and says what a caller must know."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from insid3 import __version__
from insid3.backbones import export as module
from insid3.backbones.export import export
from insid3.backbones.timm_vit import TorchEncoder
from insid3.config import Config
from insid3.errors import ConfigError, MissingExtraError, OutputError
from insid3.features.positional_basis import positional_subspace
from insid3.imaging.read import read_image
from insid3.imaging.resizing import resize_image
from insid3.stages.debias import debias
from insid3.stages.encode import normalise
from insid3.types import Encoder
from stubs import colour_model

CPU = torch.device("cpu")
CONFIG = Config(64, 5, 0.6)


def run(path: Path, **inputs: Tensor) -> list[Tensor]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # a warning that inputs with a default cannot be folded
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(found) for found in session.run(None, {k: v.numpy() for k, v in inputs.items()})]


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def unit(encoder: Encoder, images: Tensor) -> Tensor:
    return F.normalize(encoder(images)[0].flatten(1, 2), dim=-1)


def check(path: Path, encoder: Encoder, basis: Tensor, images: Tensor) -> None:
    tokens = unit(encoder, images)
    for found, expected in zip(run(path, image=images), (tokens, debias(tokens, basis)), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    from insid3.backbones import load_encoder

    return load_encoder("dinov2-vits14", device="cpu", engine="torch")


@pytest.fixture(scope="module")
def basis(encoder: Encoder) -> Tensor:
    return positional_subspace(encoder, 280, "black")[:, :30]


@pytest.fixture(scope="module")
def exported(encoder: Encoder, basis: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "encoder.onnx"
    export(encoder, basis, Config(280, 30, 0.7), path)
    return path


@pytest.mark.parametrize("shape", [(280, 280), (140, 224), (518, 518), (532, 70), (14, 14)])
def test_embedded_backbone_at_any_size(
    encoder: Encoder, basis: Tensor, exported: Path, pictures: dict[str, Path], shape: tuple[int, int]
) -> None:
    """The position table shrinks, grows, does both, stays as it is."""
    picture = torch.from_numpy(resize_image(read_image(pictures["lion"]), shape).copy())
    check(exported, encoder, basis, normalise(picture[None], encoder.mean, encoder.std))


def test_batches(encoder: Encoder, basis: Tensor, exported: Path) -> None:
    check(exported, encoder, basis, noise(3, 3, 56, 70))


def test_a_basis_of_ones_own(encoder: Encoder, exported: Path) -> None:
    """A basis may have another rank, or none."""
    images = noise(1, 3, 56, 70)
    tokens = unit(encoder, images)
    other = torch.linalg.qr(noise(384, 7)).Q
    _, found = run(exported, image=images, basis=other)
    torch.testing.assert_close(found, debias(tokens, other), atol=1e-5, rtol=0)
    torch.testing.assert_close(run(exported, image=images, basis=other[:, :0])[1], tokens, atol=1e-5, rtol=0)


def test_the_file_says_what_a_caller_must_know(encoder: Encoder, exported: Path) -> None:
    content = onnx.load(str(exported))
    assert {entry.key: entry.value for entry in content.metadata_props} == {
        "backbone": "dinov2-vits14",
        "weights_hash": encoder.weights_hash,
        "licence": "Apache-2.0 (wheel: MIT)",
        "patch_size": "14",
        "mean": "[0.485, 0.456, 0.406]",
        "std": "[0.229, 0.224, 0.225]",
        "size": "280",
        "rank": "30",
        "basis": "black",
    }
    assert (content.producer_name, content.producer_version) == ("insid3", __version__)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*content.graph.input, *content.graph.output]
    }
    assert shapes == {
        "image": ["batch", 3, "height", "width"],
        "basis": [384, "rank"],
        "tokens": ["batch", "patches", 384],
        "debiased": ["batch", "patches", 384],
    }


@pytest.mark.parity
def test_dinov3(shared: Path, stand_in: SimpleNamespace, dinov3: Encoder, tmp_path: Path) -> None:
    """The tokens equal those of Meta's own model code."""
    export(dinov3, noise(384, 5), CONFIG, tmp_path / "encoder.onnx")
    with np.load(shared / "golden" / "dinov3" / "features.npz") as golden:
        expected = {name: torch.from_numpy(golden[name]) for name in ("landscape", "square")}
    for name, tokens in expected.items():
        found, _ = run(tmp_path / "encoder.onnx", image=stand_in.inputs[name])
        torch.testing.assert_close(found, F.normalize(tokens.flatten(2).mT, dim=-1), atol=1e-5, rtol=0)


def made_up(architecture: str, **arguments: Any) -> TorchEncoder:
    """Return a model with weights that let every part count: timm initialises layers that hardly do anything."""
    model = timm.create_model(architecture, num_classes=0, dynamic_img_size=True, **arguments)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "gamma" in name or (parameter.ndim == 1 and name.endswith("weight")):  # LayerScale, norms
            parameter.data.fill_(1)
        else:
            parameter.data.normal_(0, 0.1, generator=generator)
    return TorchEncoder(model, f"timm:{architecture}", "0123", CPU, torch.float32)


@pytest.mark.parametrize(
    "architecture", ["vit_small_patch16_224", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3_qkvb"]
)
def test_class_and_register_tokens_and_rope(architecture: str, tmp_path: Path) -> None:
    encoder = made_up(architecture, depth=2)
    basis = torch.linalg.qr(noise(384, 5)).Q
    export(encoder, basis, CONFIG, tmp_path / "encoder.onnx")
    check(tmp_path / "encoder.onnx", encoder, basis, noise(2, 3, 4 * encoder.patch_size, 7 * encoder.patch_size))


def test_rank_zero_and_half_precision(tmp_path: Path) -> None:
    """Without a basis both outputs are the same; the file is in float32 though the encoder is not."""
    encoder = made_up("test_vit")
    half = TorchEncoder(encoder._model, encoder.name, "0123", CPU, torch.bfloat16)
    none = torch.zeros(encoder.channels, 0)
    export(half, none, Config(64, 0, 0.6), tmp_path / "encoder.onnx")
    check(tmp_path / "encoder.onnx", encoder, none, noise(1, 3, 64, 32))


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "encoder.onnx"
    rope = made_up("eva02_tiny_patch14_224", depth=1)  # of another kind than DINOv3's
    for encoder in (rope, colour_model().encoder):
        with pytest.raises(ConfigError, match="cannot be exported: only ViTs built like DINOv2 or DINOv3 can"):
            export(encoder, torch.zeros(encoder.channels, 5), CONFIG, path)
    monkeypatch.setattr(module, "_LIMIT", 1000)
    with pytest.raises(ConfigError, match="GiB of weights, and an ONNX file ends at 2 GiB"):
        export(made_up("test_vit"), torch.zeros(64, 5), CONFIG, path)
    assert not list(tmp_path.iterdir())


def test_no_half_written_file(tmp_path: Path) -> None:
    (tmp_path / "encoder.onnx").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        export(made_up("test_vit"), torch.zeros(64, 5), CONFIG, tmp_path / "encoder.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.onnx"]


def test_without_the_onnx_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "insid3.backbones.export")
    with pytest.raises(MissingExtraError, match=r'writing ONNX files .* pip install "insid3\[export\]"'):
        from insid3.backbones.export import export  # noqa: F401
