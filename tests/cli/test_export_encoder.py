"""insid3 export-encoder: as a user types it, and what is refused before a model is loaded."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

import insid3.cli.export  # noqa: F401 - registers the command
from insid3 import INSID3
from insid3.cli import app
from insid3.errors import ConfigError, MissingExtraError


def test_for_real(tmp_path: Path) -> None:
    words = ["export-encoder", "--size", "140", "--rank", "20", "-o", "new/encoder.onnx"]
    command = [sys.executable, "-m", "insid3", *words]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [
        "new/encoder.onnx: dinov2-vits14, 70.7 MiB",
        "  in   image (batch, 3, height, width), multiples of 14",
        "       basis (384, rank), by default rank 20 at 140 px",
        "  out  tokens, debiased (batch, patches, 384)",
    ]
    session = onnxruntime.InferenceSession(str(tmp_path / "new" / "encoder.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["rank"] == "20"
    tokens, debiased = session.run(None, {"image": np.zeros((1, 3, 70, 140), np.float32)})
    assert tokens.shape == debiased.shape == (1, 50, 384)
    assert not np.allclose(tokens, debiased)


def test_refused_before_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(INSID3, "from_pretrained", lambda **_: pytest.fail("loaded"))
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["export-encoder", "-o", str(tmp_path / "file" / "encoder.onnx")])
    assert isinstance(result.exception, ConfigError)
    assert "is not a folder that you may write to" in str(result.exception)
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "insid3.backbones.export", raising=False)
    result = CliRunner().invoke(app, ["export-encoder", "-o", str(tmp_path / "encoder.onnx")])
    assert isinstance(result.exception, MissingExtraError)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_help_shows_the_way() -> None:
    result = CliRunner().invoke(app, ["export-encoder", "--help"])
    for words in ("insid3 export-encoder --size 518 -o encoder.onnx", "tokens, debiased", "estimated at --size"):
        assert words in result.output
