"""Targets that are references: the result is the drawn mask, and says so."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insid3 import INSID3
from insid3.batch.corrections import find_corrections, learn
from insid3.batch.options import Options
from insid3.batch.rethreshold import rethreshold
from insid3.batch.runner import Run
from insid3.batch.sources import find_targets
from insid3.concept import Concept
from insid3.imaging.read import read_values
from insid3.label_map import decide
from stubs import box_mask, scene

BOX, OTHER = (16, 16, 48, 48), (0, 40, 24, 64)
Mask = np.ndarray


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Make a.png (the reference), copy.png (the same file), twin.png (the same pixels in another file) and b.png."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(scene(BOX)).save(folder / "a.png")
    shutil.copyfile(folder / "a.png", folder / "sub" / "copy.png")
    Image.fromarray(scene(BOX)).save(folder / "twin.png", compress_level=0)
    Image.fromarray(scene(OTHER)).save(folder / "b.png")
    return folder


@pytest.fixture
def drawn() -> Mask:
    """Make a mask of two specks that no method would find, one of them a single pixel."""
    mask = box_mask(18, 18, 40, 22)
    mask[60, 3] = True
    return mask


def marked(
    model: INSID3, concepts: Concept | list[Concept], photos: Path, options: Options | None = None, **more: Any
) -> dict[str, Any]:
    out = photos.parent / f"out{len(list(photos.parent.iterdir()))}"
    run = Run(model, concepts, find_targets([photos], out), out, options, **more)
    return {Path(result.target).name: result for result in run} | {"out": out}


def mask_of(found: dict[str, Any], name: str) -> Mask:
    return read_values(found["out"] / found[name].mask)


@pytest.mark.parametrize("options", [Options(), Options(min_area=50, fill_holes=True, instances=True, batch=3)])
def test_the_drawn_mask_is_the_reference_s_result(
    model: INSID3, photos: Path, drawn: Mask, options: Options, tmp_path: Path
) -> None:
    model.concept(photos / "a.png", drawn, name="red").save(tmp_path / "red.insid3")
    found = marked(model, Concept.load(tmp_path / "red.insid3"), photos, options)
    for name in ("a.png", "copy.png"):
        result = found[name]
        assert np.array_equal(mask_of(found, name) > 0, drawn)
        assert (result.score, result.area, result.known, result.dropped) == (1.0, drawn.sum(), ["red"], None)
        assert result.reason == "the picture is a reference: the mask is the one that was drawn"
    for name in ("twin.png", "b.png"):
        assert found[name].known is None
        assert found[name].reason != found["a.png"].reason
    assert not np.array_equal(mask_of(found, "twin.png") > 0, drawn)
    lines = [json.loads(line) for line in (found["out"] / "results.jsonl").read_text().splitlines()]
    assert [line.get("known") for line in lines] == [["red"], None, ["red"], None]
    if options.instances:
        assert [part["area"] for part in found["a.png"].instances] == [88, 1]
        assert {part["score"] for part in found["a.png"].instances} == {1.0}


def test_in_python_for_files_and_never_for_arrays(model: INSID3, photos: Path, drawn: Mask) -> None:
    concept, picture = model.concept(photos / "a.png", drawn), np.asarray(Image.open(photos / "a.png"))
    computed = model.segment(picture, concept)
    assert not computed.is_known
    for target in (photos / "a.png", str(photos / "sub" / "copy.png"), model.encode(photos / "a.png")):
        found = model.segment(target, concept)
        assert found.is_known
        assert np.array_equal(found.mask, drawn)
        assert np.array_equal(found.scores > 0.99, drawn)
        assert np.array_equal(found.similarity, computed.similarity)
        assert np.array_equal(model.label(target, [concept]).masks[0], drawn)
    (many,) = model.segment_many([photos / "a.png"], concept)
    assert many.is_known  # type: ignore[union-attr]
    from_array = model.concept(picture, drawn)
    assert not model.segment(photos / "a.png", from_array).is_known
    assert from_array.digest == concept.digest  # an earlier run goes on
    redrawn = model.redraw(concept, box_mask(*OTHER))
    assert np.array_equal(model.segment(photos / "a.png", redrawn).mask, box_mask(*OTHER))


def test_shots_of_one_picture_are_one_mask(model: INSID3, photos: Path, drawn: Mask) -> None:
    concept = model.concept([photos / "a.png"] * 2 + [photos / "b.png"], [drawn, box_mask(*OTHER), box_mask(*OTHER)])
    assert np.array_equal(model.segment(photos / "a.png", concept).mask, drawn | box_mask(*OTHER))
    assert np.array_equal(model.segment(photos / "b.png", concept).mask, box_mask(*OTHER))
    same = concept.with_shots(model.extend(concept, photos / "twin.png", drawn))
    assert len(same.files) == same.shots == 7
    assert replace(concept, files=()).files == ("", "", "")


def test_a_negative_does_not_show_the_concept(model: INSID3, photos: Path, tmp_path: Path) -> None:
    concept = model.concept(photos / "b.png", box_mask(*OTHER), negatives=photos / "a.png", name="red")
    concept.save(tmp_path / "red.insid3")
    for each in (concept, Concept.load(tmp_path / "red.insid3"), model.extend(concept, negatives=photos / "twin.png")):
        found = marked(model, each, photos)
        assert (found["a.png"].area, found["a.png"].score) == (0, 0.0)
        assert found["a.png"].reason == "the picture is a negative: it was given as one without the concept"
    assert found["twin.png"].area == 0


@pytest.mark.parametrize("overlap", ["best", "all"])
def test_of_several_concepts(model: INSID3, photos: Path, drawn: Mask, overlap: str) -> None:
    """The drawn mask keeps its pixels against other concepts, which are marked as usual."""
    red = model.concept(photos / "twin.png", box_mask(*BOX), name="red")
    speck = model.concept(photos / "a.png", drawn, name="speck")
    for concepts in ([red, speck], [speck, red]):
        found = marked(model, concepts, photos, Options(overlap=overlap, fill_holes=True))
        result = found["a.png"]
        assert result.known == ["speck"]
        assert result.concepts["speck"]["area"] == drawn.sum()
        assert "reference" in result.concepts["speck"]["reason"]
        assert result.concepts["red"]["area"] > 500
        assert found["twin.png"].known == ["red"]
        if overlap == "best":
            number = [concept.name for concept in concepts].index("speck") + 1
            assert np.array_equal(mask_of(found, "a.png") == number, drawn)
    both = model.label(photos / "a.png", concepts)
    assert np.array_equal(decide(both.results, margin=5.0) == 1, drawn)


def test_what_is_ignored_and_outside_the_region_stays_so(model: INSID3, photos: Path, drawn: Mask) -> None:
    ignored = photos.parent / "ignored.png"
    Image.fromarray(np.pad(np.full((64, 20), 255, np.uint8), ((0, 0), (20, 24)))).save(ignored)
    concept = model.concept(photos / "a.png", drawn)
    found = marked(model, concept, photos, Options(ignore=ignored, roi=(10, 10, 64, 64)))
    expected = drawn.copy()
    expected[:, 20:40] = expected[:, :10] = False
    assert np.array_equal(mask_of(found, "a.png") > 0, expected)
    nothing = marked(model, concept, photos, Options(roi=(50, 0, 64, 10)))["a.png"]
    assert (nothing.area, nothing.score) == (0, 0.0)
    assert "reference" in nothing.reason


def test_a_run_that_learned_knows_the_twins_of_what_was_corrected(model: INSID3, photos: Path, drawn: Mask) -> None:
    folder, out = photos.parent / "corrected", photos.parent / "out"
    folder.mkdir()
    shutil.copyfile(photos / "b.png", photos / "sub" / "b2.png")
    Image.fromarray(drawn).save(folder / "b.png")
    concept = model.concept(photos / "a.png", box_mask(*BOX))
    targets, options = find_targets([photos], out), Options()
    from insid3.label_map import numbered

    corrections = find_corrections(folder, targets, ["a"], options)
    learned = learn(model, [concept], numbered([concept]), targets, corrections)
    run = Run(model, concept, targets, out, options, corrections=corrections, learned=learned)
    found = {Path(result.target).name: result for result in run}
    assert found["b.png"].corrected
    assert found["b2.png"].known == ["a"]
    assert found["b2.png"].area == drawn.sum()


@pytest.mark.parametrize("ending", ["png", "npy"])
def test_another_threshold_leaves_it_as_it_was_drawn(model: INSID3, photos: Path, drawn: Mask, ending: Any) -> None:
    concept = model.concept(photos / "a.png", drawn)
    found = marked(model, concept, photos, Options(scores=ending, min_area=30, overlays=False))
    for threshold in (-0.9, 0.99):
        strict = photos.parent / f"strict{threshold}"
        lines = {Path(line["target"]).name: line for line in rethreshold(found["out"], strict, threshold)}
        assert np.array_equal(read_values(strict / lines["a.png"]["mask"]) > 0, drawn)
        assert lines["a.png"]["known"] == ["a"]
        assert "known" not in lines["b.png"]


def test_other_files_of_that_length_are_read_no_more_than_once(
    model: INSID3, photos: Path, drawn: Mask, monkeypatch: pytest.MonkeyPatch
) -> None:
    import insid3.concept as concepts

    asked: list[Path] = []
    real: Callable[..., str] = vars(concepts)["file_digest"]
    concept = model.concept(photos / "a.png", drawn)

    def asking(path: Path) -> str:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(concepts, "file_digest", asking)
    found = marked(model, concept, photos)
    assert {path.name for path in asked} <= {"a.png", "copy.png", "b.png"}  # not the twin, which is longer
    assert found["a.png"].known


def test_seconds_are_a_picture_s_own(model: INSID3, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for other targets of a batch, or for the reader of the results, does not count."""
    import time

    import insid3.batch.worker as work

    real, concept = vars(work)["read_image"], model.concept(photos / "a.png", box_mask(*BOX))

    def slow(path: Path, *words: Any, **more: Any) -> Any:
        time.sleep(0.6 if path.name == "b.png" else 0)
        return real(path, *words, **more)

    def seconds(options: Options, wait: float) -> dict[str, float]:
        found, out = dict[str, float](), photos.parent / f"timed{options.batch}"
        for result in Run(model, concept, find_targets([photos], out), out, options):
            time.sleep(0 if found else wait)  # the others are read meanwhile
            found[Path(result.target).name] = result.seconds
        return found

    assert max(seconds(Options(), 0.6).values()) < 0.5
    monkeypatch.setattr(work, "read_image", slow)
    found = seconds(Options(batch=4), 0)
    assert found.pop("b.png") >= 0.6
    assert max(found.values()) < 0.5, found
