"""The command line: in process with the colour encoder, and as a subprocess with the real one."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from insid3 import Config, __version__
from insid3.batch.formats import ENTRIES, FORMATS
from insid3.cli.options import help_of
from insid3.config import default_of, flag
from insid3.errors import Insid3Error

BOX = (16, 16, 48, 48)
Invoke = Callable[..., Result]


EXAMPLE = ("--reference", "ref.png", "--mask", "mask.png")


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_segment_a_folder(invoke: Invoke) -> None:
    result = invoke("segment", *EXAMPLE, "photos", "-o", "out")
    assert result.exit_code == 0, result.output
    assert "2 marked (0 empty, 0 doubtful), 0 failed, 0 skipped: out" in result.stderr
    assert pixels("out/a.png")[16, 16] == 255
    assert Path("out/b_overlay.jpg").exists()
    assert len(Path("out/results.jsonl").read_text().splitlines()) == 2


def test_one_broken_target_fails_alone(invoke: Invoke) -> None:
    Path("photos/[bold]c.jpg").write_text("hello")
    result = invoke("segment", *EXAMPLE, "photos", "gone.png", "-o", "out")
    assert result.exit_code == 1
    assert "failed photos/[bold]c.jpg is not a picture of a supported format" in result.stderr
    assert "failed gone.png: no such file" in result.stderr
    assert "2 marked (0 empty, 0 doubtful), 2 failed, 0 skipped: out" in result.stderr
    Path("photos/[bold]c.jpg").unlink()
    result = invoke("segment", *EXAMPLE, "photos", "-o", "out")
    assert result.exit_code == 0
    assert "0 marked (0 empty, 0 doubtful), 0 failed, 2 skipped (2 done before): out" in result.stderr


def test_quiet_and_verbose(invoke: Invoke) -> None:
    assert invoke("segment", *EXAMPLE, "photos", "-o", "out", "-q").output == ""
    result = invoke("segment", *EXAMPLE, "photos/a.png", "-o", "out2", "-v")
    assert "photos/a.png: score " in result.stderr
    assert "exclude each other" in str(invoke("segment", *EXAMPLE, "photos", "-o", "out3", "-q", "-v").exception)


def test_dry_run_writes_nothing(invoke: Invoke) -> None:
    result = invoke("segment", *EXAMPLE, "photos", "-o", "out", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout == "photos/a.png -> out/a.png\nphotos/b.png -> out/b.png\n"
    assert not Path("out").exists()


def test_no_overlay(invoke: Invoke) -> None:
    assert invoke("segment", *EXAMPLE, "photos", "-o", "out", "--no-overlay").exit_code == 0
    assert not list(Path("out").glob("*_overlay*"))


def test_concept_file_carries_the_example(invoke: Invoke) -> None:
    result = invoke("concept", *EXAMPLE, "--negative", "photos/a.png", "-o", "red.insid3")
    assert result.exit_code == 0, result.output
    assert "red.insid3: concept 'red', 1 shot(s), colours at 32 px" in result.stderr
    assert invoke("segment", "--concept", "red.insid3", "photos", "-o", "out").exit_code == 0


def test_settings_reach_the_model(invoke: Invoke) -> None:
    options = ("--size", 64, "--rank", 1, "--tau", 0.8, "--threshold", 0.3, "--basis", "noise", "--keep-seed")
    assert invoke("segment", *EXAMPLE, "photos", "-o", "out", *options).exit_code == 0
    config = json.loads(Path("out/run.json").read_text())["config"]
    expected = {"size": 64, "rank": 1, "tau": 0.8, "threshold": 0.3, "basis": "noise", "keep_seed": True}
    assert expected.items() <= config.items()


def test_overwrite(invoke: Invoke) -> None:
    assert invoke("segment", *EXAMPLE, "photos", "-o", "out").exit_code == 0
    refused = invoke("segment", *EXAMPLE, "photos", "-o", "out", "--tau", 0.5)
    assert "holds results of another run (config.tau 0.9 not 0.5)" in str(refused.exception)
    assert invoke("segment", *EXAMPLE, "photos", "-o", "out", "--tau", 0.5, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no example: give --reference IMG --mask IMG"),
        (("--reference", "ref.png"), "every --reference needs its --mask (a picture or a labelme file): got 1 and 0"),
        ((*EXAMPLE, "--mask", "mask.png"), "got 1 and 2"),
        ((*EXAMPLE, "--concept", "x.insid3"), "already holds the example: leave out --reference, --mask"),
        (("--concept", "x.insid3", "--label", "3", "--name", "a"), "leave out --label, --name"),
        ((*EXAMPLE, "--image", "3"), "--image goes with --from-coco"),
        (("--mask", "a.json", "--label", "3"), "annotation files have --category"),
        (("--concept", "x.insid3"), "x.insid3: no such file"),
        ((*EXAMPLE, "--label", "cat"), "--label must be a whole number or 'any', got 'cat'"),
        ((*EXAMPLE, "--label", "9"), "has no pixel of label 9"),
        (("--reference", "ref.png", "--mask", "ref.png"), "has 2 colours"),
        (("--from-coco", "x.json"), "--from-coco goes with --image"),
        ((*EXAMPLE, "--threads", "0"), "--threads must be 1 or more, got 0"),
        ((*EXAMPLE, "--backbone", "dinov9"), "unknown backbone 'dinov9'"),
        ((*EXAMPLE, "--tau", "7"), "tau is a cosine similarity"),
        ((*EXAMPLE, "--max-pixels", "10"), "the limit is 10 in all: raise it with max_pixels= (--max-pixels)"),
    ],
)
def test_wrong_usage_is_explained(invoke: Invoke, words: tuple[str, ...], message: str) -> None:
    result = invoke("segment", *words, "photos", "-o", "out")
    assert isinstance(result.exception, Insid3Error)
    assert message in str(result.exception)
    assert not Path("out/a.png").exists()


def test_labelme_and_coco_examples(invoke: Invoke) -> None:
    corners = [[16, 16], [47, 16], [47, 47], [16, 47]]
    data = {
        "imagePath": "ref.png",
        "imageWidth": 64,
        "imageHeight": 64,
        "shapes": [{"label": "box", "points": corners}],
    }
    Path("ref.json").write_text(json.dumps(data))
    for example in (["--mask", "ref.json"], ["--reference", "ref.png", "--mask", "ref.json"]):
        assert invoke("concept", *example, "-o", "a.insid3").exit_code == 0
    coco = {
        "images": [{"id": 5, "file_name": "ref.png", "width": 64, "height": 64}],
        "categories": [{"id": 1, "name": "box"}],
        "annotations": [{"image_id": 5, "category_id": 1, "segmentation": [[16, 16, 48, 16, 48, 48, 16, 48]]}],
    }
    Path("coco.json").write_text(json.dumps(coco))
    words = ("--from-coco", "coco.json", "--image", "5", "--category", "box")
    assert invoke("segment", *words, "photos", "-o", "out").exit_code == 0
    assert json.loads(Path("out/run.json").read_text())["concept"]["name"] == "box"


def test_match_prints_json_and_draws(invoke: Invoke) -> None:
    words = ("match", "--reference", "ref.png", "--points", "20,20 40,40.5", "photos/a.png", "-o", "plot.jpg")
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["matches"]
    assert [row["point"] for row in rows] == [[20, 20], [40, 40.5]]
    assert all(0 <= row["x"] <= 64 and 0 <= row["y"] <= 64 and -1 <= row["similarity"] <= 1 for row in rows)
    with Image.open("plot.jpg") as plot:
        assert plot.height == 640
    assert "must look like '417,180 300,220', got '5'" in str(invoke(*words[:4], "5", "photos/a.png").exception)
    assert "lies outside the reference picture" in str(invoke(*words[:4], "99,5", "photos/a.png").exception)


def test_backbones_lists_all(invoke: Invoke) -> None:
    text = invoke("backbones").stdout
    for word in ("dinov2-vits14", "dinov3-vitl16", "303.1 M", "1024", "DINOv3 licence", "published", "guess"):
        assert word in text
    assert "is a stand-in, not the paper's model" in text


def test_cache_info_and_clear(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INSID3_CACHE", str(tmp_path / "cache"))
    assert "0 files" in invoke("cache", "info").stdout
    assert "nothing in" in invoke("cache", "clear", "-y").stdout
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    (tmp_path / "cache" / "weights" / "a.safetensors").write_bytes(b"x" * 2**20)
    assert "1 files, 1.0 MiB" in invoke("cache", "info").stdout
    assert invoke("cache", "clear", "-y").exit_code == 0
    assert not (tmp_path / "cache" / "weights").exists()


def test_doctor(invoke: Invoke) -> None:
    text = invoke("doctor").stdout
    for word in (f"insid3          {__version__}", "engine", "torch", "device", "cache", "extra embedded  installed"):
        assert word in text


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "insid3", *words],
        capture_output=True, text=True, timeout=240, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "words", [[], ["segment"], ["match"], ["concept"], ["export-encoder"], ["backbones"], ["cache"], ["doctor"]]
)
def test_every_help_text(words: list[str]) -> None:
    result = command(*words, "--help", COLUMNS="100")
    assert result.returncode == 0
    assert "Usage: " in result.stdout
    assert result.stderr == ""


def test_help_is_quick_and_version_too() -> None:
    code = "import sys; sys.argv = ['insid3', '--help']\nfrom insid3.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    check = "print([name for name in ('torch', 'timm', 'numpy', 'PIL') if name in sys.modules], file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"
    before = os.times()
    assert command("--version").stdout == f"insid3 {__version__}\n"
    command("--help")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent / 2 < 0.5, f"{spent / 2:.2f} s of processor time"


def test_for_real(tmp_path: Path, pictures: dict[str, Path]) -> None:
    """A newcomer's first command, in a fresh process, on real pictures, with a broken one among them."""
    polygon = Path(__file__).parents[2] / "src/insid3/app/cheetah1.json"
    (tmp_path / "broken.jpg").write_bytes(pictures["lion"].read_bytes()[:3000])
    words = [
        "segment", "--reference", str(pictures["cheetah1"]), "--mask", str(polygon), "--size", "280",
        str(pictures["cheetah"]), str(tmp_path / "broken.jpg"), "-o", str(tmp_path / "out"),
    ]  # fmt: skip
    start = time.monotonic()
    result = command(*words)
    assert result.returncode == 1, result.stderr
    assert "broken.jpg is damaged or cut short" in result.stderr
    mask = pixels(tmp_path / "out" / "cheetah.png") > 0
    assert mask.shape == (343, 502)
    assert mask[140:210, 180:330].mean() > 0.5
    assert time.monotonic() - start < 60
    (tmp_path / "broken.jpg").unlink()
    again = command(*[word for word in words if "broken" not in word])
    assert again.returncode == 0
    assert "1 done before" in again.stderr


def test_errors_are_one_line_and_status_2(tmp_path: Path) -> None:
    result = command("segment", str(tmp_path), "-o", str(tmp_path / "out"), "--reference", "a.jpg", "--mask", "b.png")
    assert result.returncode == 2
    assert result.stderr.startswith("insid3: no pictures in")
    assert len(result.stderr.splitlines()) == 1
    assert command("segment", "--nonsense").returncode == 2


def test_a_name_too_long_is_no_traceback(tmp_path: Path) -> None:
    done = command("match", "--reference", "x" * 300, "--points", "1,1", "y.jpg", INSID3_CACHE=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("insid3: ")
    assert "Traceback" not in done.stderr


def test_match_refuses_a_plot_that_cannot_be_written(invoke: Invoke) -> None:
    words = ("match", "--reference", "ref.png", "--points", "20,20", "photos/a.png", "-o")
    assert "must end in .jpg, .png" in str(invoke(*words, "plot").exception)
    assert "cannot write to ref.png" in str(invoke(*words, "ref.png/plot.jpg").exception)


def test_the_preset_is_part_of_the_run(invoke: Invoke) -> None:
    result = invoke("segment", *EXAMPLE, "photos", "-o", "out", "--preset", "plus", "--closer")
    assert result.exit_code == 0, result.output
    config = json.loads(Path("out/run.json").read_text())["config"]
    assert (config["rule"], config["threshold"], config["closer"]) == ("field", 0.5, True)
    assert invoke("segment", "--config", "out/run.toml").exit_code == 0
    result = invoke("segment", *EXAMPLE, "photos", "-o", "out")
    assert "config.rule" in str(result.exception)
    assert invoke("segment", *EXAMPLE, "photos", "-o", "other", "--preset", "best").exit_code == 2


@pytest.mark.parametrize(
    ("command", "has_concept"), [("segment", True), ("video", True), ("concept", False), ("match", None)]
)
def test_help_is_made_from_the_groups_of_options(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: str, has_concept: bool | None
) -> None:
    """Every command with a model has all settings, with the words of `Config`; three have the example's options."""
    monkeypatch.setenv("COLUMNS", "400")
    shown = invoke(command, "--help").output
    for own in fields(Config):
        assert f"{flag(own.name)} " in shown
        assert help_of(own.metadata["about"]) in shown
        assert default_of(own) in shown
    assert ("--boxes-as-masks" in shown) == (has_concept is not None)
    assert ("--concept " in shown.replace("insid3 segment --concept", "")) == bool(has_concept)


def test_convert_lists_every_format(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = invoke("convert", "--help").output
    for name, entry in ENTRIES.items():
        assert name in shown
        assert entry.title in shown
        assert type(FORMATS[name]).__name__ == entry.name
