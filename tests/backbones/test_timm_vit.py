"""ViTs of timm: DINOv3 from each of its formats, the hub, other ViTs, devices and dtypes."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from safetensors.torch import save_file
from torch import Tensor

from insid3 import INSID3, ConfigError, WeightsError
from insid3.backbones import REGISTRY, find, load_encoder
from insid3.backbones.layouts import dinov3_state
from insid3.backbones.registry import SATELLITE_BACKBONES
from insid3.backbones.timm_vit import is_cached, resolve
from insid3.types import Encoder
from layouts import meta_names, newer, to_transformers

State = dict[str, Tensor]
NOWHERE = Path("weights.pth")


@pytest.fixture(scope="module")
def files(stand_in: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The stand-in checkpoint in each format; timm's is made by timm."""
    folder = tmp_path_factory.mktemp("formats")
    model = timm.create_model(
        "vit_small_patch16_dinov3_qkvb",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(stand_in.path)},
        num_classes=0,
    )
    save_file(model.state_dict(), folder / "timm.safetensors")
    save_file(to_transformers(stand_in.state), folder / "transformers.safetensors")
    return {"meta": stand_in.path} | {name: folder / f"{name}.safetensors" for name in ("timm", "transformers")}


@pytest.mark.parametrize("format", ["timm", "transformers"])
def test_formats_give_the_same_features_bit_for_bit(
    format: str, files: dict[str, Path], stand_in: SimpleNamespace, dinov3: Encoder
) -> None:
    other = load_encoder("dinov3-vits16", weights=files[format], device="cpu", dtype="float32")
    assert other.weights_hash == dinov3.weights_hash
    for images in stand_in.inputs.values():
        assert other(images)[0].equal(dinov3(images)[0])


def test_periods_of_the_file_are_used(stand_in: SimpleNamespace, dinov3: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({**stand_in.state, "rope_embed.periods": stand_in.state["rope_embed.periods"] * 2}, path)
    other = load_encoder("dinov3-vits16", weights=path, device="cpu", dtype="float32")
    images = stand_in.inputs["landscape"]
    assert (other(images)[0] - dinov3(images)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("format", ["timm", "transformers"])
def test_formats_are_told_apart_by_name(format: str, files: dict[str, Path], stand_in: SimpleNamespace) -> None:
    from insid3.backbones.checkpoint import read

    expected, periods = dinov3_state(stand_in.state, NOWHERE)
    assert periods is not None
    assert periods.dtype == torch.float32
    found, none = dinov3_state(read(files[format]), NOWHERE)
    assert none is None
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("architecture", "state"),
    [
        ("vit_small_plus_patch16_dinov3_qkvb", meta_names("dinov3-vits16plus")),
        ("vit_7b_patch16_dinov3", meta_names("dinov3-vit7b16")),
    ],
)
@pytest.mark.parametrize("convert", [dict, to_transformers, newer])
def test_gated_sizes_fit_timm_exactly(architecture: str, state: State, convert: Callable[[State], State]) -> None:
    """S+ and 7B are compared by shapes alone, on the meta device."""
    assert architecture in {backbone.architecture for backbone in REGISTRY.values()}
    with torch.device("meta"):
        model = timm.create_model(architecture, num_classes=0, dynamic_img_size=True)
    found, _ = dinov3_state(convert(state), NOWHERE)
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }


@pytest.mark.parametrize("convert", [dict, to_transformers])
def test_gate_and_value_are_not_swapped(convert: Callable[[State], State]) -> None:
    """down(act(gate x) * value x): Meta's w1 w2 w3, timm's fc1_g fc1_x fc2. Their shapes would not tell."""
    meta = {"storage_tokens": torch.zeros(1), "rope_embed.periods": torch.zeros(1)}
    meta |= {f"blocks.0.mlp.w{i}.{kind}": torch.tensor([float(i)]) for i in (1, 2, 3) for kind in ("weight", "bias")}
    found, _ = dinov3_state(convert(meta), NOWHERE)
    for kind in ("weight", "bias"):
        assert [found[f"blocks.0.mlp.{name}.{kind}"].item() for name in ("fc1_g", "fc1_x", "fc2")] == [1, 2, 3]


def test_query_key_and_value_are_not_swapped() -> None:
    """Meta's fused rows in timm's order; the key's bias is dropped."""
    meta = {
        "storage_tokens": torch.zeros(1),
        "rope_embed.periods": torch.zeros(1),
        "blocks.0.attn.qkv.weight": torch.arange(6.0)[:, None],
        "blocks.0.attn.qkv.bias": torch.arange(6.0),
    }
    for state in (meta, to_transformers(meta)):
        found, _ = dinov3_state(state, NOWHERE)
        assert found["blocks.0.attn.qkv.weight"].ravel().tolist() == [0, 1, 2, 3, 4, 5]
        assert found["blocks.0.attn.q_bias"].tolist() == [0, 1]
        assert found["blocks.0.attn.v_bias"].tolist() == [4, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cls_token": torch.zeros(1, 1, 768)}, "cls_token has shape 1 x 1 x 768, expected 1 x 1 x 384"),
        ({"norm.bias": None}, "tensor norm.bias is missing"),
        ({"blocks.12.ls1.gamma": torch.zeros(384), "head": torch.ones(1)}, "unexpected tensor blocks.12.gamma_1 and 1"),
    ],
)
def test_wrong_architecture(
    change: dict[str, Tensor | None], message: str, stand_in: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    state = {name: value for name, value in {**stand_in.state, **change}.items() if value is not None}
    torch.save(state, path)
    with pytest.raises(WeightsError, match=f"weights.pth are not those of dinov3-vits16: {message}") as caught:
        load_encoder("dinov3-vits16", weights=path)
    assert "\n" not in str(caught.value)


def test_unknown_names(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({f"student.{i}": torch.zeros(1) for i in range(9)}, path)
    with pytest.raises(WeightsError, match=r"are not DINOv3's: expected .*, got student.0, student.1, student.2"):
        load_encoder("dinov3-vitb16", weights=path)


class Gated(GatedRepoError):
    def __init__(self) -> None:
        Exception.__init__(self, "403 Client Error.\n\nCannot access gated repo")


@pytest.mark.parametrize(
    ("error", "local_files_only", "message"),
    [
        (LocalEntryNotFoundError("a\nstory"), False, "the hub cannot be reached"),
        (LocalEntryNotFoundError("a\nstory"), True, "not in the hub's local cache, and downloads are switched off"),
        (OSError("disk is full\nmore"), False, r"disk is full\."),
        (RuntimeError("proxy says no\nmore"), False, r"proxy says no\."),  # HTTP libraries have exceptions of their own
    ],
)
def test_hub_fails(error: Exception, local_files_only: bool, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(*where: str, **how: Any) -> str:
        asked.append((where, how))
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(WeightsError, match=rf"dinov3-vitl16 \(timm/vit_large\S+\): {message}") as caught:
        load_encoder("dinov3-vitl16", local_files_only=local_files_only)
    text = str(caught.value)
    assert "\n" not in text
    assert "backbone='dinov2-vits14'" in text
    assert "weights=FILE (--weights)" in text
    where = ("timm/vit_large_patch16_dinov3_qkvb.lvd1689m", "model.safetensors")
    assert asked == [(where, {"local_files_only": local_files_only})]


def test_gated_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: str, **__: Any) -> str:
        raise Gated

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(WeightsError, match=r"a licence accepted for timm/vit_base\S+: do so .* then set HF_TOKEN"):
        load_encoder("dinov3-vitb16")


def test_hub_offline_for_real(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from insid3.backbones import load_encoder; load_encoder('dinov3-vits16')"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    last = done.stderr.splitlines()[-1]
    assert done.returncode
    assert last.startswith("insid3.errors.WeightsError: weights of dinov3-vits16 (timm/vit_small_patch16_dinov3_qkvb")
    assert "downloads are switched off. Without the hub: backbone='dinov2-vits14'" in last


def test_hub_cache_is_used(
    files: dict[str, Path], dinov3: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    found = find("dinov3-vits16")
    assert not is_cached(found)
    assert not is_cached(find("dinov2-vits14"))
    assert found.hub is not None
    repository, commit = tmp_path / f"models--{found.hub.replace('/', '--')}", "0" * 40
    for part in (repository / "refs", repository / "snapshots" / commit):
        part.mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit / "model.safetensors").symlink_to(files["timm"])
    assert is_cached(found)
    assert load_encoder("dinov3-vits16", local_files_only=True).weights_hash == dinov3.weights_hash


@pytest.mark.parametrize(
    "backbone", [*REGISTRY.values(), *SATELLITE_BACKBONES.values()], ids=lambda backbone: backbone.name
)
def test_registry_states_facts(backbone: Any) -> None:
    """Architectures, hub names and sizes are timm's."""
    ending = ".sat493m" if backbone.kind == "SAT-493M" else ""
    assert backbone.hub in (None, timm.get_pretrained_cfg(backbone.architecture + ending).hf_hub_id)
    with torch.device("meta"):
        depth = {"depth": 10} if backbone.source == "embedded" else {}
        model = timm.create_model(backbone.architecture, num_classes=0, dynamic_img_size=True, **depth)
    assert (model.patch_embed.patch_size[0], model.embed_dim) == (backbone.patch_size, backbone.channels)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(backbone.parameters, rel=0.005)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dinov3-vits", "unknown backbone 'dinov3-vits'; did you mean 'dinov3-vits16'?"),
        ("clip", "unknown backbone 'clip'. Known: dinov2-vits14, dinov3-vits16"),
        ("timm:", "unknown backbone 'timm:'"),
        ("timm:vit_nonsense", "timm has no model 'vit_nonsense'"),
        ("timm:vit_tiny_patch16_224.nonsense", "timm has no model 'vit_tiny_patch16_224.nonsense'"),
        ("timm:resnet18", "timm:resnet18 is not a ViT with patch tokens"),
    ],
)
def test_unknown_backbones(name: str, message: str, stand_in: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_encoder(name, weights=stand_in.path)


@pytest.mark.parametrize("name", ["test_vit", "test_vit.r160_in1k"])
def test_any_vit_of_timm(name: str, tmp_path: Path, pictures: dict[str, Path]) -> None:
    """The file still has its classifier; a warning says that the settings are not calibrated."""
    torch.manual_seed(0)
    model = timm.create_model("test_vit")
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    with pytest.warns(UserWarning, match=f"timm:{name} is not calibrated for this method"):
        insid3 = INSID3.from_pretrained(f"timm:{name}", weights=path, device="cpu", size=96)
    encoder = insid3.encoder
    assert (encoder.name, encoder.patch_size, encoder.channels) == (f"timm:{name}", 16, 64)
    assert (insid3.config.size, insid3.config.rank, insid3.config.tau) == (96, 64 // 12, 0.6)
    assert encoder.mean == model.pretrained_cfg["mean"]
    images = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        expected = model.eval().forward_features(images)[:, model.num_prefix_tokens :]
    torch.testing.assert_close(encoder(images)[0].flatten(1, 2), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("device", "dtype", "message"),
    [
        ("tpu", "auto", "device 'tpu' cannot be used here: try device='auto' or 'cpu' (--device)"),
        ("cuda:99", "auto", "device 'cuda:99' cannot be used here"),
        ("cpu", "int8", "dtype must be auto, float32, bfloat16, float16, got 'int8'"),
        ("cpu", "double", "dtype must be auto, float32, bfloat16, float16, got 'double'"),
    ],
)
def test_devices_and_dtypes_that_do_not_exist(device: str, dtype: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve(device, dtype)


def test_cpu_computes_in_float32_and_asks_cuda_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> bool:
        raise AssertionError("Torch not compiled with CUDA enabled")  # what torch 2.4 says

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", absent)
    assert resolve("cpu", "auto") == (torch.device("cpu"), torch.float32)
    assert resolve("cpu", "bfloat16") == (torch.device("cpu"), torch.bfloat16)


def test_bfloat16_is_near_and_float32_on_demand_is_exact(stand_in: SimpleNamespace, dinov3: Encoder) -> None:
    half = load_encoder("dinov3-vits16", weights=stand_in.path, device="cpu", dtype="bfloat16")
    assert half.weights_hash == dinov3.weights_hash  # of the file, not of the compute dtype
    images = stand_in.inputs["landscape"]
    (exact,), (near,) = dinov3(images), half(images)
    assert near.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(near, exact, dim=-1).min() > 0.99
    cpu = Path("/proc/cpuinfo")
    if cpu.exists() and "bf16" in cpu.read_text():  # OpenVINO computes in float32 on CPUs without
        assert not near.equal(exact)
    assert half(images, float32=True)[0].equal(exact)


def test_encoding_leaves_no_graph_and_trains_nothing(stand_in: SimpleNamespace, dinov3: Encoder) -> None:
    with torch.enable_grad():
        (tokens,) = dinov3(stand_in.inputs["landscape"].clone().requires_grad_())
    assert not tokens.requires_grad
