"""Parts that are too small: the default, the report, and runs of older versions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insid3 import INSID3, Concept
from insid3.batch.dust import Dropped, patch_area, without_dust
from insid3.batch.options import Options
from insid3.batch.rethreshold import rethreshold
from insid3.batch.runner import Run
from insid3.batch.sources import find_targets
from insid3.errors import ConfigError, OutputError
from stubs import box_mask, colour_model, scene

BOX = (16, 16, 48, 48)
SPECK = (57, 57, 63, 63)  # less than a patch of 8 x 8 pixels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name, boxes in {"both": ((0, 0, 32, 32), SPECK), "speck": (SPECK,), "none": ()}.items():
        picture = scene(*boxes)
        Image.fromarray(picture).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def run(model: INSID3, photos: Path, options: Options | None = None, **more: Any) -> dict[str, dict[str, Any]]:
    out = photos.parent / "out"
    concept = model.concept(scene(BOX), box_mask(*BOX), name="red")
    list(Run(model, concept, find_targets([photos], out), out, options or Options(overlays=False), **more))
    lines = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    return {Path(line["target"]).stem: line for line in lines}


def area(photos: Path, name: str) -> int:
    return int(np.count_nonzero(np.asarray(Image.open(photos.parent / "out" / f"{name}.png"))))


def recorded(photos: Path, folder: str = "out") -> Any:
    return json.loads((photos.parent / folder / "run.json").read_text())["options"]["min_area"]


@pytest.mark.parametrize(
    ("least", "kept", "dropped"),
    [(0, 26, Dropped()), (1, 26, Dropped()), (2, 25, Dropped(1, 1)), (10, 16, Dropped(2, 10)), (99, 0, Dropped(3, 26))],
)
def test_parts_are_counted(least: int, kept: int, dropped: Dropped) -> None:
    mask = box_mask(0, 0, 4, 4) | box_mask(10, 10, 13, 13) | box_mask(30, 30, 31, 31)
    rest, out = without_dust(mask, least)
    assert (int(rest.sum()), out) == (kept, dropped)


@pytest.mark.parametrize(
    ("settings", "size", "expected"),
    [
        ({}, (64, 64), 64.0),
        ({}, (100, 50), 100 * 50 / 64),
        ({"fit": "pad"}, (64, 32), 64 * 32 / 32),
        ({"tile": 32}, (64, 64), 64 * 64 / 16**2),
        ({"tile": 32}, (16, 16), 16 * 16 / 64),
    ],
)
def test_pixels_of_a_patch(settings: dict[str, Any], size: tuple[int, int], expected: float) -> None:
    assert patch_area(size, colour_model(**settings).config, 4) == expected


@pytest.mark.parametrize(
    ("preset", "options", "min_area"),
    [
        ("published", {}, 0),
        ("published", {"instances": True}, "patch"),
        ("published", {"instances": True, "min_area": 0}, 0),
        ("plus", {}, "patch"),
        ("plus", {"min_area": 0}, 0),
        ("plus", {"min_area": 5}, 5),
        ("published", {"min_area": "patch"}, "patch"),
    ],
)
def test_what_decides_is_recorded(photos: Path, preset: str, options: dict[str, Any], min_area: Any) -> None:
    run(colour_model(preset), photos, Options(overlays=False, **options))
    assert recorded(photos) == min_area


@pytest.mark.parametrize("bad", [-1, 1.5, True, "some"])
def test_min_area_is_checked(bad: Any) -> None:
    with pytest.raises(ConfigError, match="min_area must be a whole number of 0 or more"):
        Options(min_area=bad)


def test_the_preset_plus_drops_specks_and_says_so(photos: Path) -> None:
    kept = run(colour_model("plus"), photos, Options(overlays=False, min_area=0))
    assert 0 < area(photos, "speck") < 64
    assert not any("dropped" in line for line in kept.values())
    speck = kept["speck"]["area"]
    lines = run(colour_model("plus"), photos, overwrite=True)
    assert lines["both"]["dropped"] == {"parts": 1, "area": speck}
    assert lines["both"]["area"] == kept["both"]["area"] - speck
    assert lines["speck"]["area"] == 0 == area(photos, "speck")
    assert lines["speck"]["reason"].startswith("all that was found is smaller than a patch (1 part")
    assert "dropped" not in lines["none"]
    assert "patch" not in lines["none"]["reason"].replace("no patch", "")


def test_the_published_preset_keeps_every_pixel(model: INSID3, red: Concept, photos: Path) -> None:
    run(model, photos)
    for name in ("both", "speck", "none"):
        assert area(photos, name) == model.segment(photos / f"{name}.png", red).mask.sum()


def older(photos: Path) -> None:
    """Change a folder to what a version without the default wrote."""
    file = photos.parent / "out" / "run.json"
    settings = json.loads(file.read_text())
    settings["options"]["min_area"] = 0
    del settings["patch_size"], settings["config"]["stretch"]
    file.write_text(json.dumps(settings))


def test_older_runs_go_on_as_they_began(photos: Path) -> None:
    plus = colour_model("plus")
    run(plus, photos, Options(overlays=False, min_area=0))
    older(photos)
    (photos.parent / "out" / "speck.png").unlink()
    lines = run(plus, photos)
    assert lines["speck"]["area"] > 0
    assert recorded(photos) == 0
    assert "dropped" not in lines["both"]
    assert run(plus, photos) == lines  # nothing is done again
    with pytest.raises(OutputError, match=r"options\.min_area 0 not 7"):
        run(plus, photos, Options(overlays=False, min_area=7))
    assert run(plus, photos, overwrite=True)["speck"]["area"] == 0
    with pytest.raises(OutputError, match=r"options\.min_area patch not 0"):
        run(plus, photos, Options(overlays=False, min_area=0))


def test_several_concepts_say_each_what_they_lost(photos: Path) -> None:
    plus, out = colour_model("plus"), photos.parent / "out"
    concepts = [
        plus.concept(scene(BOX, colour=i), box_mask(*BOX), name=name) for i, name in enumerate(("red", "green"))
    ]
    (result,) = Run(plus, concepts, find_targets([photos / "both.png"], out), out)
    assert result.concepts is not None
    assert result.dropped == result.concepts["red"]["dropped"]
    assert "dropped" not in result.concepts["green"]


@pytest.mark.parametrize("min_area", [None, 0])
def test_rethreshold_drops_what_the_run_would(photos: Path, min_area: int | None) -> None:
    plus = colour_model("plus")
    run(plus, photos, Options(overlays=False, scores="npy"))
    again = {
        Path(line["target"]).stem: line
        for line in rethreshold(photos.parent / "out", photos.parent / "again", plus.config.threshold, min_area)
    }
    assert recorded(photos, "again") == ("patch" if min_area is None else 0)
    assert (again["speck"]["area"] == 0) == (min_area is None)
    assert ("dropped" in again["both"]) == (min_area is None)
    if min_area is None:
        assert again["speck"]["reason"].startswith("all that was found is smaller than a patch (1 part")


def test_rethreshold_of_an_older_run_keeps_all(photos: Path) -> None:
    plus = colour_model("plus")
    run(plus, photos, Options(overlays=False, scores="npy", min_area=0))
    older(photos)
    lines = list(rethreshold(photos.parent / "out", photos.parent / "again", plus.config.threshold))
    assert all(line["area"] for line in lines if "none" not in line["target"])
