"""Results as people handle them: told in one line, saved, drawn on their picture, shown in a notebook."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insid3 import INSID3, Concept, ImageError
from insid3.imaging.masks import read_mask
from insid3.imaging.read import read_values
from stubs import box_mask, scene

BOX = (16, 16, 48, 48)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    Image.fromarray(scene((0, 32, 32, 64))).save(tmp_path / "target.png")
    return tmp_path / "target.png"


def shown(result: object) -> Image.Image:
    """Open what a notebook is given."""
    picture: bytes = result._repr_png_()  # type: ignore[attr-defined]
    return Image.open(io.BytesIO(picture))


def test_all_tell_themselves_in_one_line(model: INSID3, red: Concept, target: Path) -> None:
    found = model.segment(target, red)
    assert repr(found) == f"Segmentation(64 x 64, 24.9% marked, score {found.score:.2f})"
    assert repr(model.segment(scene(), red)).endswith(
        "score 0.00, no patch resembles the concept more than its background)"
    )
    assert repr(model.label(target, [red])) == "LabelMap(64 x 64, red 24.9%)"
    assert repr(red) == "Concept('red', 1 shot (array of shape (64, 64, 3)), colours, size 32)"
    assert repr(red.with_shots(red)).startswith("Concept('red', 2 shots (")
    assert repr(model.encode(target)) == f"Encoded({str(target)!r}, 64 x 64, colours, size 32)"
    assert repr(model) == "INSID3(colours, cpu, size 32, rule 'clusters')"
    points = model.match(target, red, [[20, 20], [40, 40]])
    assert repr(points).startswith("Keypoints(2 points, similarity ")
    for thing in (found, red, points, model, model.encode(target), model.label(target, [red])):
        assert "\n" not in repr(thing)
        assert len(repr(thing)) < 200


def test_a_mask_is_saved_and_read_again(model: INSID3, red: Concept, target: Path, tmp_path: Path) -> None:
    found = model.segment(target, red)
    found.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", (64, 64)), found.mask)
    both = model.label(target, [red, model.concept(scene(BOX, colour=1), box_mask(*BOX), name="green")])
    both.save(tmp_path / "index.png")
    assert np.array_equal(read_values(tmp_path / "index.png"), both.index)
    points = model.match(target, red, [[20, 20]])
    points.save(tmp_path / "points.json")
    (row,) = json.loads((tmp_path / "points.json").read_text())
    assert (row["x"], row["y"]) == pytest.approx(tuple(points.xy[0]), abs=0.01)


def test_results_are_drawn_on_their_picture(model: INSID3, red: Concept, target: Path) -> None:
    for result in (model.segment(target, red), model.label(target, [red]), model.match(target, red, [[20, 20]])):
        drawn = result.overlay()
        assert drawn.size == (64, 64)
        assert not np.array_equal(np.asarray(drawn), scene((0, 32, 32, 64)))
        assert np.array_equal(np.asarray(result.overlay(scene((0, 32, 32, 64)))), np.asarray(drawn))
        assert shown(result).tobytes() == drawn.tobytes()
        with pytest.raises(ImageError, match="has 30 x 20 pixels, the result 64 x 64: give the target's own picture"):
            result.overlay(np.zeros((20, 30, 3), np.uint8))


def test_what_was_no_file_wants_its_picture(model: INSID3, red: Concept) -> None:
    picture = scene(BOX)
    found = model.segment(picture, red)
    with pytest.raises(ImageError, match=r"the target was no file, .*give the picture to overlay\(\)"):
        found.overlay()
    assert found.overlay(picture).size == (64, 64)
    assert np.array_equal(np.asarray(shown(found)) > 0, found.mask)  # a notebook shows the mask alone
    assert shown(model.label(picture, [red])).size == shown(model.match(picture, red, [[20, 20]])).size == (64, 64)
