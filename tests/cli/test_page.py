"""insid3 app: as a user types it, and what is refused before a model is loaded."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

import insid3.cli.page as page
from insid3 import INSID3
from insid3.cli import app
from insid3.errors import ConfigError, MissingExtraError
from stubs import free_port


@pytest.mark.parametrize(
    ("text", "size"), [("25MB", 25_000_000), ("500kb", 500_000), ("1.5 g", 1_500_000_000), ("800", 800)]
)
def test_sizes(text: str, size: int) -> None:
    assert page.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "ten", "-1MB", "0", "inf", "nan", "1e999"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ConfigError, match="--max-upload looks like 25MB or 500KB"):
        page.parse_bytes(text)


def test_users(tmp_path: Path) -> None:
    file = tmp_path / "password.txt"
    file.write_text("open sesame\nnot this line\n")
    assert page.parse_user(f"anna:{file}") == ("anna", "open sesame")
    for wrong in ("anna", "anna:", f":{file}"):
        with pytest.raises(ConfigError, match="--auth looks like USER:FILE"):
            page.parse_user(wrong)
    with pytest.raises(ConfigError, match=r"missing\.txt cannot be read"):
        page.parse_user(f"anna:{tmp_path / 'missing.txt'}")
    file.write_text("\nsecond line\n")
    with pytest.raises(ConfigError, match="is empty, it must be the password"):
        page.parse_user(f"anna:{file}")


def test_refused_before_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(INSID3, "from_pretrained", lambda *_, **__: pytest.fail("loaded"))

    def refused(*words: str) -> BaseException | None:
        return CliRunner().invoke(app, ["app", *words]).exception

    assert "nowhere is not a folder" in str(refused("--folder", str(tmp_path / "nowhere")))
    assert "--max-upload looks like" in str(refused("--max-upload", "much"))
    assert "--auth looks like" in str(refused("--auth", "anna"))
    assert CliRunner().invoke(app, ["app", "--port", "70000"]).exit_code == 2
    monkeypatch.setattr(page, "find_spec", lambda _: None)
    missing = refused()
    assert isinstance(missing, MissingExtraError)
    assert str(missing) == 'insid3 app needs packages that are not installed: pip install "insid3[app]"'


def test_for_real(tmp_path: Path) -> None:
    """On a network with a password, until it is told to end; what was uploaded is gone then."""
    (tmp_path / "password.txt").write_text("sesame")
    words = ["app", "--host", "0.0.0.0", "--port", str(port := free_port()), "--auth", "anna:password.txt"]
    command = [sys.executable, "-m", "insid3", *words, "--threshold", "0.3"]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=env) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("insid3: ready at http://")
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/config").status_code == 401
        with httpx.Client() as visitor:
            assert visitor.post(f"{url}/login", data={"username": "anna", "password": "other"}).status_code == 400
            assert visitor.post(f"{url}/login", data={"username": "anna", "password": "sesame"}).status_code == 200
            assert "0.3" in visitor.get(f"{url}/config").text
        assert [path.name[:11] for path in temporary.glob("insid3-*")] == ["insid3-app-"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""  # a password was asked for, so there is nothing to warn of
    assert not list(temporary.glob("insid3-*"))


def test_help_shows_the_way() -> None:
    result = CliRunner().invoke(app, ["app", "--help"])
    for words in ("insid3 app --host 0.0.0.0 --auth anna:password.txt --folder photos/", "--max-upload", "25MB"):
        assert words in result.output
