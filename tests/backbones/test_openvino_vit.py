"""The OpenVINO engine gives torch's tokens, whatever the picture's shape; its cache is checked; auto chooses it."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch

from insid3.backbones import load_encoder, openvino_vit
from insid3.backbones.openvino_vit import OpenVinoEncoder, obstacle
from insid3.backbones.timm_vit import TorchEncoder
from insid3.errors import ConfigError, MissingExtraError
from insid3.imaging.read import read_image
from insid3.imaging.resizing import resize_image
from insid3.stages.encode import normalise

CPU = torch.device("cpu")


def tiny(name: str = "tiny", weights_hash: str = "0123", dtype: torch.dtype = torch.float32) -> OpenVinoEncoder:
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=0, dynamic_img_size=True)
    return OpenVinoEncoder(model, name, weights_hash, CPU, dtype)


@pytest.fixture(scope="module")
def both() -> tuple[TorchEncoder, OpenVinoEncoder]:
    found = [load_encoder("dinov2-vits14", device="cpu", engine=engine) for engine in ("torch", "openvino")]
    assert type(found[0]) is TorchEncoder
    assert isinstance(found[1], OpenVinoEncoder)
    return found[0], found[1]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSID3_CACHE", str(tmp_path))
    return tmp_path / "compiled"


@pytest.mark.parametrize("shape", [(280, 280), (140, 224), (14, 14), (518, 518)])
def test_same_tokens_at_any_shape(
    both: tuple[TorchEncoder, OpenVinoEncoder], pictures: dict[str, Path], shape: tuple[int, int]
) -> None:
    reference, engine = both
    square = torch.from_numpy(resize_image(read_image(pictures["lion"]), shape).copy())
    image = normalise(square[None], engine.mean, engine.std)
    (expected,), (found,) = reference(image), engine(image)
    assert found.shape == (1, shape[0] // 14, shape[1] // 14, 384)
    assert (found - expected).abs().max() < 1e-3


def test_layers_and_batches(both: tuple[TorchEncoder, OpenVinoEncoder]) -> None:
    reference, engine = both
    images = torch.randn(2, 3, 56, 70, generator=torch.Generator().manual_seed(0))
    for expected, found in zip(reference(images, (3, -1, 3)), engine(images, (3, -1, 3)), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_earlier_results_are_not_overwritten(both: tuple[TorchEncoder, OpenVinoEncoder]) -> None:
    _, engine = both
    (first,) = engine(torch.zeros(1, 3, 56, 56))
    before = first.clone()
    engine(torch.ones(1, 3, 56, 56))
    assert torch.equal(first, before)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["landscape", "square"])
def test_dinov3(shared: Path, stand_in: SimpleNamespace, name: str) -> None:
    """RoPE, register tokens and LayerScale agree with Meta's own model code."""
    engine = load_encoder("dinov3-vits16", weights=stand_in.path, device="cpu", dtype="float32", engine="openvino")
    with np.load(shared / "golden" / "dinov3" / "features.npz") as golden:
        expected = golden[name]
    (found,) = engine(stand_in.inputs[name])
    assert np.abs(found.permute(0, 3, 1, 2).numpy() - expected).max() <= 1e-5


def test_gated_mlps_too(cache: Path) -> None:
    """DINOv3's S+, H+ and 7B have them; here a small model of the same classes."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_small_plus_patch16_dinov3_qkvb", num_classes=0, dynamic_img_size=True, depth=2
    ).eval()
    image = torch.randn(1, 3, 64, 96)
    (expected,) = TorchEncoder(model, "plus", "0", CPU, torch.float32)(image)
    (found,) = OpenVinoEncoder(model, "plus", "0", CPU, torch.float32)(image)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_bfloat16_by_name_and_float32_on_demand(cache: Path) -> None:
    exact, half = tiny(), tiny(dtype=torch.bfloat16)
    image = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    (expected,) = exact(image)
    assert torch.equal(half(image, float32=True)[0], expected)
    (found,) = half(image)
    assert found.dtype == torch.float32
    if "BF16" in half._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert 0 < (found - expected).abs().max() < 0.5
    assert {path.name.split("-")[1] for path in cache.iterdir()} == {"f32", "bf16"}


def test_compiled_once_then_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    (first,) = tiny()(image)
    assert len(list(cache.iterdir())) == 1

    def never(blocks: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(openvino_vit, "_converted", never)
    assert torch.equal(tiny()(image)[0], first)
    with pytest.raises(AssertionError, match="converted again"):
        tiny(weights_hash="4567")(image)  # other weights never meet the same file


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_damaged_cache_is_replaced(cache: Path, damage: str) -> None:
    image = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    (first,) = tiny()(image)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    half = len(whole) // 2
    file.write_bytes({"cut": whole[:half], "flipped": whole[:half] + b"\x55" + whole[half + 1 :], "empty": b""}[damage])
    assert torch.equal(tiny()(image)[0], first)
    assert openvino_vit._read(file) is not None


def test_unwritable_cache_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("INSID3_CACHE", str(tmp_path / "file"))
    (found,) = tiny()(torch.zeros(1, 3, 160, 160))
    assert found.isfinite().all()


def test_what_it_cannot_run() -> None:
    vit = timm.create_model("test_vit", num_classes=0)
    assert obstacle(vit, CPU, torch.float32) is None
    assert "runs on CPUs" in str(obstacle(vit, torch.device("cuda"), torch.float32))
    assert "float32 or bfloat16" in str(obstacle(vit, CPU, torch.float16))
    assert "ResNet" in str(obstacle(timm.create_model("test_resnet"), CPU, torch.float32))


def test_choice_of_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load_encoder("dinov2-vits14", device="cpu"), OpenVinoEncoder)
    assert type(load_encoder("dinov2-vits14", device="cpu", dtype="float16")) is TorchEncoder
    with pytest.raises(ConfigError, match="engine 'openvino' cannot be used: on CPUs it computes in float32"):
        load_encoder("dinov2-vits14", device="cpu", dtype="float16", engine="openvino")
    with pytest.raises(ConfigError, match="engine must be auto, torch or openvino, got 'onnx'"):
        load_encoder("dinov2-vits14", engine="onnx")
    monkeypatch.setattr(openvino_vit, "is_installed", lambda: False)
    assert type(load_encoder("dinov2-vits14", device="cpu")) is TorchEncoder
    with pytest.raises(MissingExtraError, match=r'pip install "insid3\[openvino\]"'):
        load_encoder("dinov2-vits14", device="cpu", engine="openvino")


def test_nothing_is_reported_home(tmp_path: Path) -> None:
    """A plain import of OpenVINO leaves a client id in the home folder and sends an event."""
    code = "import torch; from test_openvino_vit import tiny; tiny()(torch.zeros(1, 3, 160, 160))"
    environment = {**os.environ, "HOME": str(tmp_path), "INSID3_CACHE": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True, timeout=120)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
