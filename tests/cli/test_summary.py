"""What a run says in the end: marked, dropped, passed over, done to pictures; and what concepts are called."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from insid3 import INSID3
from insid3.errors import Insid3Error
from stubs import box_mask, scene

Invoke = Callable[..., Result]
EXAMPLE = ("--reference", "ref.png", "--mask", "mask.png")
BOX = (16, 16, 48, 48)


def results(folder: str = "out") -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in Path(folder, "results.jsonl").read_text().splitlines()]
    return {Path(line["target"]).name: line for line in lines}


def recorded(folder: str = "out") -> Any:
    return json.loads(Path(folder, "run.json").read_text())


def test_everything_is_counted_in_the_end(invoke: Invoke) -> None:
    Image.fromarray(scene()).save("photos/empty.png")
    Image.fromarray(scene((0, 0, 32, 32), (57, 57, 63, 63))).save("photos/speck.png")
    Path("photos/broken.jpg").write_bytes(b"x")
    for name in ("a.dng", ".hidden.jpg", "clip.mp4", "a.json"):
        Path("photos", name).write_bytes(b"x")
    words = ("segment", *EXAMPLE, "photos", "-o", "out", "--preset", "plus")
    result = invoke(*words)
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-3:]
    assert last[0] == "dropped 1 part smaller than a patch; --min-area 0 keeps them"
    assert last[1] == (
        "passed over: 1 DNG (raw photographs: develop them first), 1 video (insid3 video), 1 hidden file, "
        "1 other file (.json)"
    )
    assert last[2].startswith("4 marked (1 empty")
    assert last[2].endswith("doubtful), 1 failed, 4 skipped (4 passed over), 1 part dropped: out")
    again = invoke(*words)
    assert "0 marked" in again.stderr
    assert "1 failed, 8 skipped (4 done before, 4 passed over): out" in again.stderr
    (quiet,) = invoke(*words, "-q").output.splitlines()
    assert quiet.startswith("failed photos/broken.jpg")
    dry = invoke(*words[:-3], "new", "--dry-run")
    assert dry.stderr.startswith("passed over: 1 DNG")
    assert invoke(*words[:-3], "new", "--dry-run", "-q").stderr == ""


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        (("--preset", "plus"), False),
        (("--preset", "plus", "--min-area", 0), True),
        ((), True),
        (("--instances",), False),
        (("--instances", "--min-area", 0), True),
        (("--min-area", 50), True),
        (("--min-area", 99999), False),
    ],
)
def test_the_smallest_part_that_stays(invoke: Invoke, more: tuple[Any, ...], kept: bool) -> None:
    picture = scene((0, 0, 63, 64), size=(512, 512))  # a patch has 64 x 64 pixels
    Image.fromarray(picture).save("photos/small.png")
    result = invoke("segment", *EXAMPLE, "photos/small.png", "-o", "out", *more)
    assert result.exit_code == 0, result.output
    line = results()["small.png"]
    assert (line["area"] > 0) == kept
    assert ("dropped" in line) == ("dropped 1 part" in result.stderr) == (not kept)
    assert kept or line["reason"].startswith("all that was found is smaller than")


def test_what_was_done_to_pictures_is_told(invoke: Invoke) -> None:
    for i, name in enumerate(("deep1.png", "deep2.png")):
        grey = scene(BOX)[..., 0].astype(np.uint16) * (16 + i)
        Image.fromarray(grey).save(f"photos/{name}")
    jpeg = Path("photos/cut.jpg")
    Image.fromarray(scene(BOX)).save(jpeg, quality=95)
    jpeg.write_bytes(jpeg.read_bytes()[:-2])
    words = ("segment", *EXAMPLE, "photos")
    plain = invoke(*words, "-o", "out")
    assert plain.exit_code == 0, plain.output
    assert "stretched: 2 pictures (16 bits; --stretch LOW,HIGH fixes the range for all)" in plain.stderr
    assert "repaired" not in plain.stderr
    lines = results()
    assert lines["deep1.png"]["remarks"][0].startswith("stretched: 16 bits, from 0 to ")
    assert lines["cut.jpg"]["remarks"] == ["repaired: end marker missing"]
    assert "remarks" not in lines["a.png"]
    told = invoke(*words, "-o", "told", "-v")
    assert "repaired: 1 picture (end marker missing)" in told.stderr
    assert "photos/cut.jpg: score " in told.stderr
    assert " s, repaired: end marker missing\n" in told.stderr
    fixed = invoke(*words, "-o", "fixed", "--stretch", "0,4095")
    assert "fixes the range for all" not in fixed.stderr
    frames = invoke("video", "photos", *EXAMPLE, "-o", "frames", "--no-film")
    assert "stretched: 2 pictures (16 bits; --stretch" in frames.stderr
    assert results("frames")["deep1.png"]["remarks"] == lines["deep1.png"]["remarks"]


def test_a_folder_of_frames_passes_over_as_segment_does(invoke: Invoke) -> None:
    Path("photos/notes.txt").write_text("x")
    result = invoke("video", "photos", *EXAMPLE, "-o", "out", "--no-film")
    assert result.exit_code == 0, result.output
    assert (
        "passed over: 1 other file (.txt)\n2 marked (0 empty, 0 doubtful), 0 failed, 1 skipped (1 passed over): out"
        in result.stderr
    )


LABELME = {
    "imagePath": "ref.png", "imageWidth": 64, "imageHeight": 64,
    "shapes": [{"label": "bolt", "points": [[16, 16], [47, 16], [47, 47], [16, 47]]}],
}  # fmt: skip
COCO = {
    "images": [{"id": 5, "file_name": "ref.png", "width": 64, "height": 64}],
    "categories": [{"id": 1, "name": "nut"}],
    "annotations": [
        {"id": 1, "image_id": 5, "category_id": 1, "segmentation": [[16, 16, 48, 16, 48, 48, 16, 48]], "iscrowd": 0}
    ],
}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (EXAMPLE, "ref"),
        ((*EXAMPLE, "--name", "screw"), "screw"),
        ((*EXAMPLE, "--category", "cat"), "cat"),
        (("--reference", "a photo.v2.png", "--mask", "mask.png", *EXAMPLE), "a photo.v2"),
        (("--reference", "two\nlines.png", "--mask", "mask.png"), "two_lines"),
        (("--mask", "ref.json"), "bolt"),
        (("--from-coco", "coco.json", "--image", "5"), "nut"),
        (("--from-coco", "coco.json", "--image", "5", "--name", "mine"), "mine"),
    ],
)
def test_what_a_concept_is_called(invoke: Invoke, words: tuple[str, ...], name: str) -> None:
    Path("ref.json").write_text(json.dumps(LABELME))
    Path("coco.json").write_text(json.dumps(COCO))
    for copy in ("a photo.v2.png", "two\nlines.png"):
        Path(copy).write_bytes(Path("ref.png").read_bytes())
    result = invoke("segment", *words, "photos", "-o", "out", "--format", "coco")
    assert result.exit_code == 0, result.output
    assert recorded()["concept"]["name"] == name
    exported = json.loads(Path("out/export/coco/instances.json").read_text())
    assert [category["name"] for category in exported["categories"]] == [name]
    assert invoke("concept", *words, "-o", "concept.insid3").exit_code == 0
    assert f"concept '{name}'" in invoke("concept", *words, "-o", "concept.insid3").stderr


def test_what_a_concept_of_the_python_interface_is_called(model: INSID3, tmp_path: Path) -> None:
    Image.fromarray(scene(BOX)).save(tmp_path / "bolt.v2.png")
    mask = box_mask(*BOX)
    assert model.concept(str(tmp_path / "bolt.v2.png"), mask).name == "bolt.v2"
    assert model.concept([tmp_path / "bolt.v2.png", scene(BOX)], [mask, mask]).name == "bolt.v2"
    with Image.open(tmp_path / "bolt.v2.png") as picture:
        assert model.concept(picture, mask).name == "bolt.v2"
    for without in (scene(BOX), Image.fromarray(scene(BOX))):
        assert model.concept(without, mask).name == "concept"
    assert model.concept(scene(BOX), mask, name="named").name == "named"


def test_an_older_run_goes_on_under_the_new_name(invoke: Invoke) -> None:
    words = ("segment", *EXAMPLE, "photos", "-o", "out", "--instances")
    assert invoke(*words, "--min-area", 0, "--name", "concept").exit_code == 0
    scores = [line["instances"][0]["score"] for line in results().values()]
    settings = recorded()
    del settings["patch_size"], settings["config"]["stretch"]
    Path("out/run.json").write_text(json.dumps(settings))
    again = invoke(*words, "--format", "coco")
    assert again.exit_code == 0, again.output
    assert "2 done before" in again.stderr
    assert all(line["instances"][0]["concept"] == "ref" for line in results().values())
    exported = json.loads(Path("out/export/coco/instances.json").read_text())
    assert [annotation["score"] for annotation in exported["annotations"]] == scores
    assert exported["categories"][0]["name"] == "ref"


DAMAGES = {
    ("results.jsonl", b"no json\n"): "results.jsonl, line 1, is no JSON: expecting value in line 1, column 1",
    ("results.jsonl", b"\xff\n"): "results.jsonl, line 1, is no JSON: it is not UTF-8",
    ("results.jsonl", b"[1]\n"): "results.jsonl, line 1, must hold an object, not [1]",
    ("results.jsonl", b'{"a": 1}\n'): 'results.jsonl, line 1: "target" is missing, it must be text',
    ("results.jsonl", b'{"target": 7}\n'): 'results.jsonl, line 1: "target" must be text, not 7',
    ("results.jsonl", b'{"target": "x"}\n'): 'results.jsonl, line 1: "mask" is missing, it must be text or null',
    ("run.json", b"{"): "run.json is no JSON: expecting property name",
    ("run.json", b"[]"): "run.json must hold settings, an object, not []",
    ("run.json", b"\xff"): "run.json is no JSON: it is not UTF-8",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_damaged_results_are_told_in_words(invoke: Invoke, damage: tuple[str, bytes]) -> None:
    words = ("segment", *EXAMPLE, "photos", "-o", "out", "--scores", "png")
    assert invoke(*words).exit_code == 0
    Path("out", damage[0]).write_bytes(damage[1])
    commands: list[tuple[Any, ...]] = [words, ("rethreshold", "out", "-t", "0.2", "-o", "new")]
    if damage[0] == "results.jsonl":
        commands += [("review", "out")]
    for command in commands:
        result = invoke(*command)
        assert isinstance(result.exception, Insid3Error)
        assert DAMAGES[damage] in str(result.exception)
        assert "Error" not in str(result.exception)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbfmin-area = 3", None),
        (b"name = '\xff'", "run.toml cannot be read as TOML: it is not UTF-8 (byte 8)"),
        (b"min-area = ", "run.toml cannot be read as TOML: Invalid value"),
        (None, "run.toml cannot be read as TOML: No such file or directory"),
    ],
)
def test_settings_that_cannot_be_read(invoke: Invoke, content: bytes | None, message: str | None) -> None:
    if content is not None:
        Path("run.toml").write_bytes(content)
    result = invoke("segment", "--config", "run.toml", *EXAMPLE, "photos", "-o", "out")
    if message is None:
        assert recorded()["options"]["min_area"] == 3, result.output
    else:
        assert message in str(result.exception)


def test_the_example_among_the_targets_is_counted_and_doubtful_ones_too(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    import insid3.batch.result

    words = ("segment", *EXAMPLE, "ref.png", "photos", "-o", "out")
    result = invoke(*words)
    assert result.exit_code == 0
    mask, drawn = (np.asarray(Image.open(file)) > 0 for file in ("out/ref.png", "mask.png"))
    assert np.array_equal(mask, drawn)
    assert results()["ref.png"]["reason"] == "the picture is a reference: the mask is the one that was drawn"
    assert "pictures of the example among the targets: 1; their masks are those that were drawn" in result.stderr
    assert "3 marked (0 empty, 0 doubtful), 0 failed, 0 skipped: out" in result.stderr
    monkeypatch.setattr(insid3.batch.result, "DOUBTFUL", 1.01)
    doubtful = invoke(*words, "--overwrite").stderr
    assert "doubtful: 3 with a score below 1.01; insid3 review lists them" in doubtful
    assert "3 marked (0 empty, 3 doubtful), 0 failed, 0 skipped: out" in doubtful
    assert "0 marked (0 empty, 0 doubtful), 0 failed, 3 skipped (3 done before): out" in invoke(*words).stderr
    assert "target" not in invoke(*words, "--overwrite", "-q").stderr


def test_a_killed_concept_is_swept_by_the_next(invoke: Invoke) -> None:
    Path(".insid3-b6c2d2a1e0f14c3b9a7d5e8f00112233.insid3").write_bytes(b"half")
    assert invoke("concept", *EXAMPLE, "-o", "red.insid3").exit_code == 0
    assert [path.name for path in Path().glob("*.insid3")] == ["red.insid3"]
    assert not list(Path().glob(".*.insid3"))
