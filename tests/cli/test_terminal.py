"""What commands print about names that no terminal should see as they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from insid3.cli.terminal import printable

NAMES = [
    os.fsdecode(b"caf\xe9.jpg"),
    "two\nlines.jpg",
    "\x1b[31mred\x9b.jpg",
    "猫\u202egpj.jpg",
    "[bold]é.jpg",
    "a.jpg",
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [x] é 猫", "plain [x] é 猫"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31m\x07\x9b\x7f", "\\x1b[31m\\x07\\x9b\\x7f"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
        (Path("x/\x00"), "x/\\x00"),
    ],
)
def test_printable(text: object, shown: str) -> None:
    assert printable(text) == shown


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "out").mkdir()
    for name in NAMES:
        (tmp_path / "photos" / name).write_bytes(b"x")
    (tmp_path / "photos" / "n\x1b.dng").write_bytes(b"x")
    lines = [
        {"target": f"photos/{name}", "mask": f"{i}.png", "score": 0.5, "area": 1, "reason": name, "error": None}
        for i, name in enumerate(NAMES)
    ]
    (tmp_path / "out" / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def run(*words: str, encoding: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "150", **environment}
    return subprocess.run(
        [sys.executable, "-m", "insid3", *words], capture_output=True, timeout=240, env=environment, check=False
    )


def is_clean(text: bytes) -> bool:
    return not {*text.decode("utf-8")} & {"\x1b", "\x9b", "\u202e", "\x07"}


@pytest.mark.skipif(os.name == "nt", reason="names that Windows has not")
@pytest.mark.parametrize(
    ("encoding", "environment"),
    [("ascii", {}), ("latin-1", {}), ("", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})],
)
def test_any_encoding_of_a_terminal(folder: Path, encoding: str, environment: dict[str, str]) -> None:
    listed = run("segment", "photos", "-o", "new", "--dry-run", encoding=encoding, **environment)
    reviewed = run("review", "out", encoding=encoding, **environment)
    for result in (listed, reviewed):
        assert result.returncode == 0, result.stderr
        assert b"Traceback" not in result.stderr
        assert b"\x1b" not in result.stdout + result.stderr
        assert b"\\x1b[31mred" in result.stdout
        assert b"two\\nlines" in result.stdout
    assert len(listed.stdout.splitlines()) == len(NAMES)
    assert b"caf\\xe9.jpg -> new" in listed.stdout
    assert b"passed over: 1 DNG" in listed.stderr
    assert b"results with another name than their picture: " in listed.stderr


@pytest.mark.skipif(os.name == "nt", reason="names that Windows has not")
def test_errors_are_printed_on_one_line(folder: Path) -> None:
    for words, message in (
        (("review", "no\x1b[31m\nthing"), b"insid3: no\\x1b[31m\\nthing holds no results.jsonl"),
        (("review", os.fsdecode(b"\xe9")), b"insid3: \\xe9 holds no results.jsonl"),
        (("segment", "x" * 300, "-o", "y" * 300), b"insid3: " + b"y" * 300 + b": File name too long"),
    ):
        result = run(*words, encoding="utf-8")
        assert (result.returncode, result.stderr[: len(message)]) == (2, message)
        assert len(result.stderr.splitlines()) == 1
        assert is_clean(result.stderr)
    assert run("segment", "photos", "-o", "n", "--dry-run", "-q", encoding="utf-8").stderr == b""
