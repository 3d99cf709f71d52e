"""Whole runs over pictures with names that disks and formats do not take."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from insid3.batch.convert import convert
from insid3.batch.formats import FORMATS
from stubs import box_mask, scene

Invoke = Callable[..., Result]
EXAMPLE = ("--reference", "ref.png", "--mask", "mask.png")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="names that Windows has not")
NAMES = {
    os.fsdecode(b"caf\xe9.png"): "caf%E9",
    "two\nlines.png": "two%0Alines",
    "\x1b[31m.png": "%1B[31m",
    "NUL.png": "NU%4C",
    'a:b "c" <d>|e?*\\.png': "a%3Ab %22c%22 %3Cd%3E%7Ce%3F%2A%5C",
    "dir./dot..png": "dir%2E/dot%2E",
    "plain & ümläut 猫.png": "plain & ümläut 猫",
    f"{'x' * 250}.png": None,
    f"{'é' * 120}.png": None,
}


@pytest.fixture
def odd(invoke: Invoke) -> Invoke:
    for file in Path("photos").iterdir():
        file.unlink()
    for name in NAMES:
        path = Path("photos") / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(scene((0, 0, 32, 32))).save(path)
    return invoke


def lines(folder: str = "out") -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in Path(folder, "results.jsonl").read_text().splitlines()]
    return {os.path.relpath(line["target"], "photos"): line for line in found}


def test_a_run_over_odd_names_its_second_and_what_comes_after(odd: Invoke) -> None:
    words = ("segment", *EXAMPLE, "photos", "-o", "out", "--scores", "png", "--instances")
    first = odd(*words)
    assert first.exit_code == 0, first.output
    assert "9 marked (0 empty, 0 doubtful), 0 failed" in first.stderr
    assert "results with another name than their picture: 8, such as " in first.stderr
    assert "\x1b" not in first.stderr
    made = lines()
    assert {*made} == {*NAMES}
    for name, safe in NAMES.items():
        assert made[name]["error"] is None
        assert safe is None or made[name]["mask"] == f"{safe}.png"
        assert Path("out", made[name]["mask"]).exists()
    assert "9 done before" in odd(*words).stderr
    assert "9 done before" in odd("segment", "--config", "out/run.toml").stderr
    assert "9 masks (0 empty)" in odd("rethreshold", "out", "-t", "0.1", "-o", "strict").stderr
    for name in (os.fsdecode(b"caf\xe9.png"), f"{'x' * 250}.png"):
        place = Path("out/corrected", made[name]["mask"])
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(box_mask(0, 0, 20, 20).astype(np.uint8) * 255).save(place)
    reviewed = odd("review", "out")
    assert reviewed.exit_code == 0, reviewed.output
    assert "2 corrected since the last run" in reviewed.stdout
    assert "is named as no result is" not in reviewed.stdout
    learned = odd("segment", "--config", "out/run.toml", "--learn-from", "out/corrected")
    assert "9 marked" in learned.stderr, learned.output
    assert lines()[os.fsdecode(b"caf\xe9.png")]["area"] == 400


def test_masks_to_ignore_and_corrections_may_have_the_pictures_own_names(odd: Invoke) -> None:
    Path("ignore").mkdir()
    Path("corrected").mkdir()
    Image.fromarray(box_mask(0, 0, 64, 64).astype(np.uint8) * 255).save("ignore/two\nlines.png")
    Image.fromarray(box_mask(0, 0, 20, 20).astype(np.uint8) * 255).save("corrected/NUL.png")
    words = ("segment", *EXAMPLE, "photos", "-o", "out", "--ignore", "ignore", "--learn-from", "corrected")
    result = odd(*words)
    assert result.exit_code == 0, result.output
    assert {name: lines()[name]["area"] for name in ("two\nlines.png", "NUL.png")} == {
        "two\nlines.png": 0,
        "NUL.png": 400,
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_of_odd_names_is_read_back(odd: Invoke, kind: str) -> None:
    result = odd("segment", *EXAMPLE, "photos", "-o", "out", "--format", kind)
    assert result.exit_code == 0, result.output
    convert(Path("out/export") / kind, "png", Path("back"))
    _, pictures = FORMATS["png"].read(Path("back"))
    areas = [sum(instance.area for instance in picture.instances) for picture in pictures]
    assert areas == pytest.approx([line["area"] for line in lines().values()], rel=0.02)


@pytest.mark.parametrize("overlap", ["best", "all"])
def test_long_names_of_several_concepts(odd: Invoke, overlap: str) -> None:
    names = ("猫" * 60, "c" * 300)
    for name in names:
        assert odd("concept", *EXAMPLE, "--name", name, "-o", f"{name[0]}.insid3").exit_code == 0
    words = ("--concept", "猫.insid3", "--concept", "c.insid3", "photos", "-o", "out", "--overlap", overlap)
    result = odd("segment", *words, "--heatmap", "--scores", "npy")
    assert result.exit_code == 0, result.output
    assert "9 marked" in result.stderr
    assert "9 done before" in odd("segment", *words, "--heatmap", "--scores", "npy").stderr


def test_a_name_that_this_disk_does_not_take_fails_alone(odd: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    import insid3.batch.worker as work

    write = vars(work)["write_mask"]

    def refusing(path: Path, mask: np.ndarray) -> None:
        if "NU" in path.name:
            raise OSError(errno.EINVAL, "Invalid argument", str(path))
        write(path, mask)

    monkeypatch.setattr(work, "write_mask", refusing)
    result = odd("segment", *EXAMPLE, "photos", "-o", "out")
    assert result.exit_code == 1
    assert "8 marked (0 empty, 0 doubtful), 1 failed" in result.stderr
    assert "NUL.png: this disk takes no result called NU%4C" in result.stderr
    monkeypatch.undo()
