"""Tokens that are not finite are an error with its cause and remedy; float16 is nowhere chosen unasked."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch

from insid3 import INSID3, Config, WeightsError
from insid3.backbones.export import export
from insid3.backbones.finite import check_finite
from insid3.backbones.openvino_vit import OpenVinoEncoder
from insid3.backbones.timm_vit import TorchEncoder, resolve
from stubs import colour_model

CPU = torch.device("cpu")
PICTURE = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
MASK = np.ones((96, 96), bool)


def encoder(kind: type[TorchEncoder], dtype: torch.dtype, factor: float, name: str) -> TorchEncoder:
    """Return a small ViT with one number of its weights multiplied."""
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=0, dynamic_img_size=True)
    model.blocks[1].mlp.fc1.weight.data[0] *= factor
    return kind(model, f"tiny-{name}", f"{name}{factor}", CPU, dtype)


@pytest.mark.parametrize("kind", [TorchEncoder, OpenVinoEncoder])
@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_damaged_weights_stop_at_the_first_picture(
    kind: type[TorchEncoder], factor: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSID3_CACHE", str(tmp_path))
    model = INSID3(encoder(kind, torch.float32, factor, "damaged"), Config(96, 5, 0.6))
    with pytest.raises(
        WeightsError,
        match=r"the tokens of tiny-damaged, computed in float32, are not finite: tensor blocks.1.mlp.fc1.weight of the "
        r"weights holds NaN or infinity. .*\(--weights\)",
    ):
        model.concept(PICTURE, MASK)


def test_overflow_in_float16() -> None:
    half = encoder(TorchEncoder, torch.float16, 1e6, "half")
    model = INSID3(half, Config(96, 5, 0.6))
    with pytest.raises(
        WeightsError,
        match=r"computed in float16, are not finite: numbers overflow .* Use dtype='float32' or 'bfloat16'",
    ):
        model.segment(PICTURE, model.concept(PICTURE, MASK))
    assert half(torch.zeros(1, 3, 96, 96), float32=True)[0].isfinite().all()
    for dtype in (torch.float32, torch.bfloat16):
        assert encoder(TorchEncoder, dtype, 1e6, "wide")(torch.ones(1, 3, 96, 96))[0].isfinite().all()


def test_an_encoder_of_ones_own() -> None:
    model = colour_model()
    own = type(model.encoder)
    broken = type(
        "Broken", (own,), {"__call__": lambda self, *a, **k: tuple(t * np.nan for t in own.__call__(self, *a, **k))}
    )
    model.encoder.__class__ = broken
    with pytest.raises(WeightsError, match="are not finite: the weights' numbers are too large to compute with"):
        model.encode(PICTURE)


def test_export(tmp_path: Path) -> None:
    damaged = encoder(TorchEncoder, torch.float32, float("nan"), "damaged")
    with pytest.raises(WeightsError, match=r"cannot be exported: blocks\.1\.mlp\.fc1\.weight holds NaN or infinity"):
        export(damaged, torch.zeros(damaged.channels, 0), Config(96, 0, 0.6), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_large_finite_tokens_pass() -> None:
    check_finite(torch.full((4, 3), 3e38), "own", "float32")  # their sum is infinite, they are not
    for value in (float("nan"), float("inf"), -float("inf")):
        tokens = torch.zeros(2, 4, 3)
        tokens[1, 2, 1] = value
        with pytest.raises(WeightsError, match="not finite"):
            check_finite(tokens, "own", "bfloat16")


@pytest.mark.parametrize(
    ("cuda", "bfloat16", "mps", "expected"),
    [
        (True, True, False, ("cuda", torch.bfloat16)),
        (True, False, False, ("cuda", torch.float32)),
        (False, False, True, ("mps", torch.float32)),
        (False, False, False, ("cpu", torch.float32)),
    ],
)
def test_float16_is_not_chosen_unasked(
    cuda: bool, bfloat16: bool, mps: bool, expected: tuple[str, torch.dtype], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bfloat16)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch, "empty", lambda *_, device: SimpleNamespace(device=device))
    device, dtype = resolve("auto", "auto")
    assert (device.type, dtype) == expected
    assert resolve("auto", "float16")[1] == torch.float16
