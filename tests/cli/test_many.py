"""What the command line says and does about several concepts, formats, shards, settings in files and corrections."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from insid3.errors import Insid3Error
from stubs import box_mask, scene

Invoke = Callable[..., Result]
EXAMPLE = ("--reference", "ref.png", "--mask", "mask.png")


@pytest.fixture
def two(invoke: Invoke) -> Invoke:
    """Concepts red.insid3 and green.insid3."""
    Image.fromarray(scene((16, 16, 48, 48), colour=1)).save("green.png")
    assert invoke("concept", *EXAMPLE, "-o", "red.insid3").exit_code == 0
    more = ("--id", 9, "--colour", "#00ff00")
    assert (
        invoke("concept", "--reference", "green.png", "--mask", "mask.png", "-o", "green.insid3", *more).exit_code == 0
    )
    return invoke


def test_two_concepts_and_every_format(two: Invoke) -> None:
    concepts = ("--concept", "red.insid3", "--concept", "green.insid3")
    formats = "png,coco,coco-polygon,yolo,labelme,label-studio,cvat,voc"
    result = two("segment", *concepts, "photos", "-o", "out", "--instances", "--format", formats)
    assert result.exit_code == 0, result.output
    assert "marking red and green" in result.stderr
    assert "yolo: scores of objects in 2 pictures, for which YOLO has no place" in result.stderr
    for name in formats.split(","):
        told = json.loads(Path("out/export", name, "concepts.json").read_text())["concepts"]
        assert [(entry["name"], entry["id"]) for entry in told] == [("red", 1), ("green", 9)]
        assert told[1]["colour"] == "#00ff00"
    again = two("convert", "out/export/coco", "--to", "voc", "-o", "voc", "--images", "photos")
    assert again.exit_code == 0
    assert "voc: voc" in again.stderr
    assert Path("voc/JPEGImages/a.png").exists()
    assert (
        two("convert", "out", "--to", "coco", "-o", "more", "--append-to", "out/export/coco/instances.json").exit_code
        == 0
    )
    images = json.loads(Path("more/instances.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["a.png", "b.png"]
    assert "--append-to goes with --to coco" in str(
        two("convert", "out", "--to", "voc", "-o", "x", "--append-to", "y").exception
    )
    assert "unknown format 'pdf'" in str(two("segment", *concepts, "photos", "-o", "o", "--format", "pdf").exception)


def test_formats_whose_packages_are_missing_are_refused_at_once(two: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "contourpy", None)
    result = two("segment", "--concept", "red.insid3", "photos", "-o", "out", "--format", "yolo")
    assert 'not installed: pip install "insid3[export]"' in str(result.exception)
    assert not Path("out").exists()


def test_a_folder_of_examples_with_negatives(two: Invoke) -> None:
    for name in ("red", "green"):
        Path("examples", name).mkdir(parents=True)
        Image.open("ref.png" if name == "red" else "green.png").save(f"examples/{name}/1.png")
        Image.open("mask.png").save(f"examples/{name}/1_mask.png")
    Image.fromarray(scene()).save("street.png")
    result = two(
        "segment", "--concept", "examples", "--negative", "street.png", "photos", "-o", "out", "--overlap", "all"
    )
    assert result.exit_code == 0, result.output
    assert Path("out/a.red.png").exists()
    assert Path("out/a.green.png").exists()
    settings = json.loads(Path("out/run.json").read_text())
    assert settings["concept"]["name"] == ["green", "red"]
    plain = two("segment", "--concept", "examples", "photos", "-o", "out2")
    assert plain.exit_code == 0
    assert json.loads(Path("out2/run.json").read_text())["concept"]["digest"] != settings["concept"]["digest"]


def test_a_run_is_repeated_from_its_settings(two: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--min-area", 3, "--roi", "0,0,60,60", "--tau", 0.8, "--instances", "--no-overlay", "--name", 'a "b"')
    assert two("segment", *EXAMPLE, "photos", "-o", "out", *words).exit_code == 0
    kept = tomllib.loads(Path("out/run.toml").read_text())
    assert kept == {
        "targets": [str(tmp_path / "photos")], "output": str(tmp_path / "out"),
        "reference": [str(tmp_path / "ref.png")], "mask": [str(tmp_path / "mask.png")],
        "name": 'a "b"', "min-area": 3, "roi": "0,0,60,60", "tau": 0.8,
        "instances": True, "overlay": False,
    }  # fmt: skip
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = two("segment", "--config", "../out/run.toml")
    assert again.exit_code == 0, again.output
    assert "2 done before" in again.stderr
    other = two("segment", "--config", "../out/run.toml", "-o", "new", "--min-area", 0)
    assert "2 marked" in other.stderr
    assert tomllib.loads(Path("new/run.toml").read_text())["min-area"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_aera = 3", "unknown entry 'min_aera'; did you mean 'min-area'?"),
        ("zzz = 3", "unknown entry 'zzz'; known: "),
        ("stretch = [9, 3]", "stretch must be two numbers, the lower first"),
        ("min-area = [3]", "min-area must be one value, got [3]"),
        ("mask = 'a.png'", "mask must be a list, got 'a.png'"),
        ("config = 'x'", "unknown entry 'config'"),
        ("a = ", "cannot be read as TOML"),
    ],
)
def test_settings_that_are_none(two: Invoke, text: str, message: str) -> None:
    Path("run.toml").write_text(text)
    result = two("segment", "--config", "run.toml", "photos", "-o", "out")
    assert isinstance(result.exception, Insid3Error)
    assert message in str(result.exception)
    assert "cannot be read as TOML" in str(two("segment", "--config", "gone.toml", "photos", "-o", "out").exception)


def test_settings_of_the_wrong_type_are_usage_errors(two: Invoke) -> None:
    Path("run.toml").write_text("min-area = 'many'")
    result = two("segment", "--config", "run.toml", *EXAMPLE, "photos", "-o", "out")
    assert result.exit_code == 2
    assert "Invalid value for '--min-area'" in result.output


def test_review_and_learn(two: Invoke) -> None:
    assert two("segment", "--concept", "red.insid3", "photos", "-o", "out").exit_code == 0
    listed = two("review", "out", "--sheet", "sheet.png")
    assert listed.exit_code == 0, listed.output
    assert "photos/a.png" in listed.output
    assert "2 of 2 results, 0 corrected" in listed.output
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 400
    Path("out/corrected").mkdir()
    Image.fromarray(box_mask(0, 0, 20, 20).astype(np.uint8) * 255).save("out/corrected/a.png")
    Path("out/corrected/odd.txt").write_text("x")
    listed = two("review", "out")
    assert "1 of 1 results, 1 corrected" in listed.output
    assert "odd.txt in corrected/ is named as no result is" in listed.output
    command = re.search(r"now run: insid3 (.*)", listed.output)
    assert command is not None
    again = two(*command[1].split())
    assert again.exit_code == 0, again.output
    assert "2 marked" in again.stderr
    with Image.open("out/a.png") as image:
        assert (np.asarray(image) > 0).sum() == 400
    refused = two("segment", "--concept", "red.insid3", "photos", "-o", "out")
    assert "give them again (--learn-from)" in str(refused.exception)


def test_rethreshold(two: Invoke) -> None:
    assert (
        two("segment", "--concept", "red.insid3", "photos", "-o", "out", "--scores", "png", "--heatmap").exit_code == 0
    )
    assert Path("out/a_heat.jpg").exists()
    result = two("rethreshold", "out", "--threshold", 1, "-o", "strict")
    assert "2 masks (2 empty): strict" in result.stderr
    assert two("convert", "strict", "--to", "coco", "-o", "coco").exit_code == 0


def test_targets_help_each_other(two: Invoke) -> None:
    words = ("segment", "--concept", "red.insid3", "photos", "-o", "out", "--together")
    result = two(*words)
    assert result.exit_code == 0, result.output
    assert "looking at 2 targets first, fewer than 8 do not help each other" in result.stderr
    assert "2 marked (0 empty, 0 doubtful), 0 failed" in result.stderr
    assert json.loads(Path("out/run.json").read_text())["options"]["together"] is True
    again = two("segment", "--config", "out/run.toml")
    assert "looking at" not in again.stderr
    assert "2 done before" in again.stderr
    assert "options.together True not False" in str(two(*words[:-1]).exception)
    assert two(*words[:-2], "quiet", "--together", "-q").output == ""
    tiled = two(*words[:-2], "tiled", "--together", "--tile", 32)
    assert isinstance(tiled.exception, Insid3Error)
    assert "must be seen whole: leave out tile (--tile), or --together" in str(tiled.exception)
    assert not Path("tiled").exists()


def test_wrong_usage_of_what_is_marked(two: Invoke) -> None:
    for words, message in (
        (("--roi", "1,2,3"), "--roi is x0,y0,x1,y1 in whole pixels, got '1,2,3'"),
        (("--roi", "9,9,1,1"), "x0 < x1"),
        (("--overlap", "0.5"), "overlap must be one of best, all, got '0.5'"),
        (("--shard", "3/2"), "a shard is I/N"),
        (("--shard", "1/2", "--overwrite"), "--shard goes neither with --overwrite"),
        (("--shard", "1/2", "--format", "coco"), "nor with --format"),
        (("--ignore", "gone"), "gone: no such mask"),
        (("--learn-from", "gone"), "gone: no such folder"),
        (("--concept", "red.insid3"), "two concepts have the name 'red'"),
    ):
        result = two("segment", "--concept", "red.insid3", *words, "photos", "-o", "out")
        assert isinstance(result.exception, Insid3Error), result.output
        assert message in str(result.exception)
    bad = two("concept", *EXAMPLE, "-o", "x.insid3", "--colour", "loud")
    assert "--colour: a colour looks like #ff8000" in str(bad.exception)


def test_shards_and_lists(two: Invoke) -> None:
    Path("list.txt").write_text("photos/a.png\nphotos/b.png\n")
    dry = two("segment", "--concept", "red.insid3", "list.txt", "-o", "out", "--shard", "2/2", "--dry-run")
    assert dry.stdout == "photos/b.png -> out/b.png\n"
    for part in ("1/2", "2/2"):
        result = two("segment", "--concept", "red.insid3", "photos/*.png", "-o", "out", "--shard", part)
        assert "1 marked" in result.stderr
    whole = two("segment", "--concept", "red.insid3", "photos", "-o", "out")
    assert "2 done before" in whole.stderr


SCRIPT = """
import sys, time
sys.path[:0] = [{tests!r}]
from insid3 import INSID3
from insid3.cli import main
from stubs import colour_model
def from_pretrained(backbone, **options):
    for name in ("weights", "device", "dtype", "engine"):
        options.pop(name)
    model = colour_model(**options)
    original = model.label
    def label(*words, **more):
        time.sleep({pause})
        return original(*words, **more)
    model.label = label
    return model
INSID3.from_pretrained = from_pretrained
sys.argv = ["insid3", *sys.argv[1:]]
main()
"""


def started(*words: str, pause: float = 0.05) -> "subprocess.Popen[str]":
    script = SCRIPT.format(tests=str(Path(__file__).parents[1]), pause=pause)
    return subprocess.Popen([sys.executable, "-c", script, *words], stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("once", [True, False])
def test_ctrl_c_ends_after_the_target_in_hand(two: Invoke, once: bool) -> None:
    for i in range(200):
        Image.fromarray(scene((0, 0, 32, 32))).save(f"photos/{i}.png")
    words = ("segment", "--concept", "red.insid3", "photos", "-o", "out")
    with started(*words, pause=0.2 if once else 100) as process:
        begun, deadline = Path("out/results.jsonl" if once else "out/run.toml"), time.monotonic() + 90
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            for pause in (0.5,) if once else (0.5, 0.5, 10, 10):  # two that come while Python is busy are one
                with suppress(subprocess.TimeoutExpired):
                    process.wait(pause)
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=90)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    done = Path("out/results.jsonl").read_text().splitlines() if once else []
    assert f"stopped after {len(done)} of 202 targets; the same command continues" in errors
    assert len(list(Path("out").glob("*.png"))) == len(done)
    assert "Traceback" not in errors


@pytest.mark.long
def test_killed_ten_times_nothing_is_lost_partial_or_done_twice(two: Invoke) -> None:
    """kill -9 at random moments: the union is complete, no file is partial, no target has two success lines."""
    for i in range(400):
        Image.fromarray(scene((0, 0, 32, 32 + i % 16))).save(f"photos/{i}.png")
    Path("photos/broken.jpg").write_text("x")
    words = ("segment", "--concept", "red.insid3", "photos", "-o", "out", "--scores", "png", "--instances")
    random, before = np.random.default_rng(0), 0
    for _ in range(10):
        process = started(*words, pause=0.01)
        lines, deadline = Path("out/results.jsonl"), time.monotonic() + 60
        while time.monotonic() < deadline:  # until it works, then a moment more
            now = len(lines.read_text().splitlines()) if lines.exists() else 0
            if now > before:
                break
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.4))
        process.kill()
        process.communicate()
        for file in Path("out").rglob("*"):
            if file.suffix in (".png", ".jpg") and not file.name.startswith("."):
                with Image.open(file) as image:
                    image.load()
        succeeded = [json.loads(line) for line in lines.read_text().splitlines() if line.endswith("}")]
        names = [line["target"] for line in succeeded if line["error"] is None]
        assert len(names) == len(set(names))
        assert len(names) >= before - 1
        before = len(names)
    assert 10 <= before < 402
    process = started(*words, pause=0)
    _, errors = process.communicate(timeout=250)
    assert process.returncode == 1, errors
    lines_ = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    assert len(lines_) == 403
    assert len({line["target"] for line in lines_}) == 403
    assert len(list(Path("out").glob("*_score.png"))) == 402
    assert not [file for file in Path("out").rglob(".*") if file.name != ".lock"]


def results(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "results.jsonl").read_text().splitlines()]


def test_targets_below_the_least_score_are_told(two: Invoke) -> None:
    one = ("segment", "--concept", "red.insid3", "photos", "--quiet")
    for name in ("a", "b"):  # darker than the example
        Image.fromarray((np.asarray(Image.open(f"photos/{name}.png")) * 0.7).astype(np.uint8)).save(
            f"photos/{name}.png"
        )
    assert two(*one, "-o", "plain").exit_code == 0
    before = {line["target"]: line["score"] for line in results("plain")}
    assert all(0.5 < score < 0.99 for score in before.values())
    words = (
        "segment",
        "--concept",
        "red.insid3",
        "--concept",
        "green.insid3",
        "photos",
        "-o",
        "both",
        "--overlap",
        "all",
    )
    result = two(*words, "--min-score", "0.99")
    assert result.exit_code == 0
    score = before[str(Path("photos/a.png"))]
    assert f"below --min-score 0.99: {Path('photos/a.png')} (red {score:.2f}" in result.stderr
    assert "2 marked (2 empty, 2 below --min-score 0.99, 0 doubtful), 0 failed" in result.stderr
    assert all(line["area"] == 0 and line["score"] > 0.5 for line in results("both"))
    assert not np.asarray(Image.open("both/a.red.png")).any()
    assert "min_score is a score in [0, 1], got 2" in str(two(*one, "-o", "x", "--min-score", "2").exception)


def test_a_video_from_its_own_frame(two: Invoke) -> None:
    from clips import moving, write_clip

    write_clip(Path("clip.mp4"), moving(12))
    one = ("--concept", "red.insid3", "-o")
    assert two("frames", "clip.mp4", "--every", 6, "-o", "label").exit_code == 0
    assert sorted(path.name for path in Path("label").iterdir()) == ["000000.png", "000006.png"]
    Image.fromarray(box_mask(16, 0, 48, 32, size=(64, 96))).save("first.png")
    words = ("video", "clip.mp4", "--reference", "label/000000.png", "--mask", "first.png", "--every", 2, "--memory", 2)
    result = two(*words, "-o", "out", "--format", "coco")
    assert result.exit_code == 0, result.output
    assert "6 marked (0 empty, 0 doubtful), 0 failed, 0 skipped: out" in result.stderr
    assert f"{Path('out/overlay.mp4')}: 6 frames" in result.stderr
    images = json.loads(Path("out/export/coco/instances.json").read_text())["images"]
    assert [image["file_name"] for image in images] == [f"{i:06d}.jpg" for i in range(0, 12, 2)]
    assert len(list(Path("out/frames").iterdir())) == 6
    again = two("video", "--config", "out/run.toml")
    assert again.exit_code == 0, again.output
    assert "6 done before" in again.stderr
    assert "memory.most 2 not 0" in str(two(*words[:-2], "--frames", "-o", "out").exception)
    assert two("video", "label", *one, "still", "--no-film").exit_code == 0
    assert not Path("still/overlay.mp4").exists()
    assert "--fps must lie between" in str(
        two("video", "label", "--concept", "red.insid3", "-o", "x", "--fps", 0).exception
    )
    assert "lies in the output folder" in str(two("video", "clip.mp4", *one, ".").exception)


def test_a_video_that_was_cut_off_is_marked_as_far_as_it_goes(two: Invoke) -> None:
    from clips import moving, write_clip

    path = write_clip(Path("clip.mp4"), moving(), movflags="faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    result = two("video", "clip.mp4", "--concept", "red.insid3", "-o", "out")
    assert result.exit_code == 1
    assert "clip.mp4 is cut off: of 24 frames the last" in result.stderr
    assert len(list(Path("out").glob("*.png"))) >= 12
    assert Path("out/overlay.mp4").exists()
    assert "clip.mp4 is a video: insid3 video marks its frames" in str(
        two("segment", "clip.mp4", "--concept", "red.insid3", "-o", "out").exception
    )
    path.write_bytes(b"")
    broken = two("video", "clip.mp4", "--concept", "red.insid3", "-o", "out")
    assert "clip.mp4 cannot be read as a video" in str(broken.exception)
    assert "gone.mp4 cannot be read as a video (No such" in str(
        two("video", "gone.mp4", "--concept", "red.insid3", "-o", "gone").exception
    )
    tiled = two("video", "photos", "--concept", "red.insid3", "-o", "tiled", "--tile", 32, "--memory", 2)
    assert "a memory needs frames that are seen whole" in str(tiled.exception)
    assert not Path("tiled").exists()
    assert "clip.mp4 cannot be read as a video" in str(two("frames", "clip.mp4", "-o", "label").exception)


def test_processes_are_asked_for_where_they_are_of_use(two: Invoke) -> None:
    one = ("segment", "--concept", "red.insid3", "photos", "-o", "out")
    assert "--workers goes with --engine ray" in str(two(*one, "--workers", 2).exception)
    assert "workers must be 1 or more, got 0" in str(two(*one, "--engine", "ray", "--workers", 0).exception)
    result = two("concept", *EXAMPLE, "-o", "x.insid3", "--engine", "ray")
    assert "--engine ray goes with segment and evaluate" in str(result.exception)


def test_settings_of_a_folder_with_brackets_and_names_that_are_no_text(
    two: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = tmp_path / "set [1]"
    odd.mkdir()
    Path("photos").rename(odd / "photos")
    monkeypatch.chdir(odd)
    concept = ("--concept", tmp_path / "red.insid3")
    assert two("segment", "photos/*.png", *concept, "-o", "out").exit_code == 0
    monkeypatch.chdir(tmp_path)
    again = two("segment", "--config", odd / "out/run.toml")
    assert again.exit_code == 0, again.output
    assert "2 done before" in again.stderr
    monkeypatch.chdir(odd)
    name = os.fsdecode(b"photos/\xe9.png")
    Path("photos/a.png").rename(name)
    assert two("segment", name, *concept, "-o", "other").exit_code == 0
    kept = tomllib.loads(Path("other/run.toml").read_text("utf-8"))
    assert kept["targets"] == [f"file://{quote(str(odd))}/photos/%E9.png"]
    monkeypatch.chdir(tmp_path)
    again = two("segment", "--config", odd / "other/run.toml")
    assert "1 done before" in again.stderr, again.output
    monkeypatch.chdir(odd)
    assert [line["error"] for line in results("other")] == [None]


def test_a_sheet_is_a_picture(two: Invoke) -> None:
    assert two("segment", "--concept", "red.insid3", "photos", "-o", "out").exit_code == 0
    assert "--sheet s.xyz: a sheet is written as .jpg or .png" in str(
        two("review", "out", "--sheet", "s.xyz").exception
    )
