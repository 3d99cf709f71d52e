"""The positional basis on disk."""

from pathlib import Path

import pytest
import torch

from insid3.features.positional_basis import positional_subspace
from stubs import ColourEncoder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSID3_CACHE", str(tmp_path))
    return tmp_path / "basis"


def test_estimated_once_for_each_encoder_size_and_source(cache: Path) -> None:
    encoder = ColourEncoder()
    first = positional_subspace(encoder, 32, "black")
    assert encoder.calls == 1
    assert torch.equal(positional_subspace(ColourEncoder(), 32, "black"), first)
    again = ColourEncoder()
    positional_subspace(again, 32, "black")
    assert again.calls == 0
    positional_subspace(again, 64, "black")
    positional_subspace(again, 32, "noise")
    again.weights_hash = "other"
    positional_subspace(again, 32, "black")
    assert again.calls == 3
    assert len(list(cache.iterdir())) == 4


@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_damaged_files_are_replaced(cache: Path, damage: str) -> None:
    first = positional_subspace(ColourEncoder(), 32, "black")
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[:-9], "flipped": whole[:-1] + bytes([whole[-1] ^ 1]), "text": b"hello"}[damage])
    encoder = ColourEncoder()
    assert torch.equal(positional_subspace(encoder, 32, "black"), first)
    assert encoder.calls == 1
    assert file.read_bytes() == whole


def test_without_a_cache_it_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("INSID3_CACHE", str(tmp_path / "file"))
    found = positional_subspace(ColourEncoder(), 32, "black")
    torch.testing.assert_close(found.T @ found, torch.eye(8), atol=1e-5, rtol=0)


def test_names_with_odd_letters(cache: Path) -> None:
    encoder = ColourEncoder()
    encoder.name = "timm:a/b"
    positional_subspace(encoder, 32, "black")
    assert [path.parent for path in cache.iterdir()] == [cache]
