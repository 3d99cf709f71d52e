"""Runs with several concepts, instances, cleaning and regions; corrections; rethresholding; review."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insid3 import INSID3, Concept
from insid3.batch.concept_files import find_concepts
from insid3.batch.convert import convert
from insid3.batch.corrections import find_corrections, learn
from insid3.batch.formats import FORMATS
from insid3.batch.options import Options
from insid3.batch.rethreshold import rethreshold
from insid3.batch.review import doubts, learning_command, strays
from insid3.batch.runner import Run
from insid3.batch.sources import Target, find_targets
from insid3.batch.worker import Result, slugs
from insid3.errors import ConceptError, ConfigError, DataError, ImageError, MaskError, OutputError
from insid3.label_map import Label, numbered
from stubs import box_mask, colour_model, scene

BOX = (16, 16, 48, 48)


@pytest.fixture
def model() -> INSID3:
    return colour_model()


@pytest.fixture
def concepts(model: INSID3) -> list[Concept]:
    names = ("red", "green", "a/b c")
    return [model.concept(scene(BOX, colour=i), box_mask(*BOX), name=name) for i, name in enumerate(names)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Make three pictures: red left and green right; two red boxes; nothing."""
    (tmp_path / "photos").mkdir()
    both = scene((16, 0, 48, 24))
    both[16:48, 40:64] = scene((16, 40, 48, 64), colour=1)[16:48, 40:64]
    for name, picture in {
        "both": both, "two": scene((0, 0, 24, 24), (40, 40, 64, 64)), "none": scene(),
    }.items():  # fmt: skip
        Image.fromarray(picture).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def run(model: INSID3, concepts: Any, photos: Path, options: Options | None = None, **more: Any) -> dict[str, Result]:
    out = photos.parent / "out"
    return {Path(r.target).stem: r for r in Run(model, concepts, find_targets([photos], out), out, options, **more)}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_an_index_with_names_and_colours(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    mine = [concepts[0], replace(concepts[1], id=40, colour=(1, 2, 3))]
    results = run(model, mine, photos)
    index = pixels(photos.parent / "out" / "both.png")
    assert index[32, 8] == 1
    assert index[32, 56] == 2
    assert index[2, 32] == 0
    with Image.open(photos.parent / "out" / "both.png") as image:
        assert image.mode == "P"
        assert image.getpalette("RGB")[6:9] == [1, 2, 3]  # type: ignore[index]
    told = json.loads((photos.parent / "out" / "concepts.json").read_text())["concepts"]
    assert [(entry["name"], entry["id"]) for entry in told] == [("red", 1), ("green", 40)]
    assert told[1]["colour"] == "#010203"
    both = results["both"].concepts
    assert both is not None
    assert both["red"]["area"] == (index == 1).sum()
    assert results["both"].area == (index > 0).sum()
    assert results["both"].score == min(entry["score"] for entry in both.values())
    assert "red: no patch" in str(results["none"].reason)
    assert results["both"].reason is None


def test_overlapping_masks_have_files_of_their_own(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    results = run(model, concepts, photos, Options(overlap="all", heat=True, scores="npy"))
    out = photos.parent / "out"
    assert results["both"].mask is None
    assert results["both"].concepts is not None
    assert results["both"].concepts["a/b c"]["mask"] == "both.a_b_c.png"
    for i, name in enumerate(("red", "green", "a_b_c")):
        alone = model.segment(photos / "both.png", concepts[i])
        assert ((pixels(out / f"both.{name}.png") > 0) == alone.mask).all()
        assert (np.load(out / f"both.{name}_score.npy") == alone.scores).all()
        assert (out / f"both.{name}_heat.jpg").exists()
    assert not (out / "both.png").exists()
    labels, pictures = FORMATS["png"].read(out)
    assert [label.name for label in labels] == ["red", "green", "a/b c"]
    found = {picture.name: picture for picture in pictures}["both"]
    assert {instance.concept for instance in found.instances} >= {0, 1}


def test_masks_of_another_picture_are_not_replaced(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    run(model, concepts, photos, Options(overlap="all"))
    more = photos.parent / "more"
    more.mkdir()
    Image.fromarray(scene(BOX)).save(more / "both.png")
    with pytest.raises(OutputError, match=r"both\.red\.png holds the result of .*photos.*, .*more.* would replace it"):
        run(model, concepts, more, Options(overlap="all"))


def test_names_that_would_clash(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    labels = [Label(name, 1, (0, 0, 0)) for name in ("a/b", "a b", "A_B", "")]
    assert slugs(labels) == ["a_b", "a_b_2", "A_B_3", "_"]
    Image.fromarray(scene()).save(photos / "both.red.png")
    with pytest.raises(OutputError, match=r"both\.red\.png would be a result of .*both\.png and the mask of"):
        run(model, concepts, photos, Options(overlap="all"))
    assert len(run(model, concepts, photos)) == 4


def test_instances(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    results = run(model, concepts[0], photos, Options(instances=True))
    found = results["two"].instances
    assert found is not None
    assert [entry["concept"] for entry in found] == ["red", "red"]
    (x0, y0, x1, y1), other = found[0]["box"], found[1]["box"]
    assert max(x0, y0) <= 2
    assert 20 <= min(x1, y1) <= max(x1, y1) <= 28
    assert min(other[:2]) >= 36
    mask = pixels(photos.parent / "out" / "two.png") > 0
    assert sum(entry["area"] for entry in found) == mask.sum() == results["two"].area
    assert all(0.5 < entry["score"] <= 1 for entry in found)
    assert results["none"].instances == []
    _, pictures = FORMATS["png"].read(photos.parent / "out")
    again_ = {picture.name: picture for picture in pictures}["two"]
    assert [list(part.box) for part in again_.instances] == [entry["box"] for entry in found]
    assert [part.score for part in again_.instances] == [entry["score"] for entry in found]


def test_small_parts_and_holes(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    ring = scene((0, 0, 48, 48))
    ring[16:32, 16:32] = scene()[0, 0]
    ring[56:, 56:] = scene((0, 0, 64, 64))[0, 0]
    Image.fromarray(ring).save(photos / "ring.png")
    assert not pixels_of(model, concepts, photos, Options())[24, 24]
    plain = pixels_of(model, concepts, photos, Options())
    assert plain[60, 60]
    clean = pixels_of(model, concepts, photos, Options(min_area=200, fill_holes=True))
    assert clean[24, 24]
    assert not clean[60, 60]
    nothing = run(model, concepts[0], photos, Options(min_area=10**6), overwrite=True)["ring"]
    assert (nothing.area, nothing.score) == (0, 0.0)
    assert nothing.reason is not None
    assert "all that was found is smaller than 1000000 pixels (2 parts, " in nothing.reason
    assert nothing.reason.endswith(": --min-area 0 keeps it")
    assert nothing.dropped is not None
    assert nothing.dropped["parts"] == 2


def pixels_of(model: INSID3, concepts: list[Concept], photos: Path, options: Options) -> np.ndarray:
    run(model, concepts[0], photos, options, overwrite=True)
    return pixels(photos.parent / "out" / "ring.png") > 0


def test_holes_of_others_stay_theirs() -> None:
    ring, middle = box_mask(8, 8, 40, 40) & ~box_mask(16, 16, 32, 32), box_mask(20, 20, 28, 28)
    region = (slice(0, 64), slice(0, 64))
    filled = Options(fill_holes=True).finish([ring, middle], (64, 64), region, None)
    assert filled[0].sum() == 32 * 32 - 8 * 8
    assert (filled[1] == middle).all()
    apart = Options(fill_holes=True, overlap="all").finish([ring, middle], (64, 64), region, None)
    assert apart[0].sum() == 32 * 32
    ignored = Options(fill_holes=True).finish([ring], (64, 64), region, middle)
    assert ignored[0].sum() == 32 * 32 - 8 * 8


def test_ignored_regions(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    upper = box_mask(0, 0, 32, 64)
    Image.fromarray(upper.astype(np.uint8) * 255).save(photos.parent / "upper.png")
    run(model, concepts[0], photos, Options(ignore=photos.parent / "upper.png"))
    two = pixels(photos.parent / "out" / "two.png") > 0
    assert not two[:32].any()
    assert two[50, 50]
    folder = photos.parent / "ignore"
    folder.mkdir()
    Image.fromarray(upper.astype(np.uint8) * 255).save(folder / "both.png")
    run(model, concepts[0], photos, Options(ignore=folder), overwrite=True)
    assert pixels(photos.parent / "out" / "two.png")[10, 10]
    assert not pixels(photos.parent / "out" / "both.png")[20, 8]
    (folder / "none.png").write_text("no mask")
    broken = run(model, concepts[0], photos, Options(ignore=folder), overwrite=True)
    assert "none.png is not a picture" in str(broken["none"].error)
    with pytest.raises(ConfigError, match="no such mask, or folder of masks, to ignore"):
        Options(ignore=photos / "gone.png")


def test_a_region_is_looked_at_closer(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    options = Options(roi=(32, 32, 99, 64), instances=True, scores="png", heat=True)
    results = run(model, concepts[0], photos, options)
    two = pixels(photos.parent / "out" / "two.png") > 0
    assert two.shape == (64, 64)
    assert not two[:32].any()
    assert not two[:, :32].any()
    direct = model.segment(np.asarray(Image.open(photos / "two.png"))[32:64, 32:64], concepts[0])
    assert (two[32:, 32:] == direct.mask).all()
    assert results["two"].instances is not None
    assert min(results["two"].instances[0]["box"]) >= 32
    outside = run(model, concepts[0], photos, Options(roi=(64, 0, 70, 10)), overwrite=True)
    assert "is 64 x 64 pixels, the region 64,0,70,10 lies outside" in str(outside["two"].error)
    with pytest.raises(ConfigError, match="x0 < x1"):
        Options(roi=(5, 0, 5, 9))


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"batch": 0}, "batch must be 1"), ({"scores": "jpg"}, "png or npy"), ({"overlap": "x"}, "best, all")],
)
def test_options_are_checked(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Options(**bad)


def test_batches_give_the_same(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    one = run(model, concepts, photos)
    index = pixels(photos.parent / "out" / "both.png")
    (photos / "aa.png").write_text("broken")
    many = run(model, concepts, photos, Options(batch=3), overwrite=True)
    assert (pixels(photos.parent / "out" / "both.png") == index).all()
    assert {name: many[name].area for name in one} == {name: one[name].area for name in one}
    assert many["aa"].error


def test_another_name_among_several_is_another_run(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    run(model, concepts[:2], photos)
    renamed = [replace(concepts[0], name="crimson"), concepts[1]]
    with pytest.raises(OutputError, match=r"concept\.name \['red', 'green'\] not \['crimson', 'green'\]"):
        run(model, renamed, photos)


def test_other_options_are_other_results(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    run(model, concepts, photos)
    assert run(model, concepts, photos, Options(heat=True, scores="png"))  # only further files
    for options, message in (
        (Options(min_area=3), r"options\.min_area 0 not 3"),
        (Options(overlap="all"), r"options\.overlap best not all"),
        (Options(roi=(0, 0, 8, 8)), r"options.roi None not \[0, 0, 8, 8\]"),
    ):
        with pytest.raises(OutputError, match=message):
            run(model, concepts, photos, options)
    with pytest.raises(OutputError, match=r"concept\.digest"):
        run(model, concepts[::-1], photos)


def correct(photos: Path, name: str, index: np.ndarray) -> Path:
    folder = photos.parent / "out" / "corrected"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(index).save(folder / name)
    return folder


def taught(model: INSID3, concepts: list[Concept], photos: Path, options: Options | None = None) -> dict[str, Result]:
    targets, labels = find_targets([photos], photos.parent / "out"), numbered(concepts)
    folder, options = photos.parent / "out" / "corrected", options or Options()
    corrections = find_corrections(folder, targets, slugs(labels), options)
    learned = learn(model, concepts, labels, targets, corrections)
    return run(model, concepts, photos, options, corrections=corrections, learned=learned)


def test_corrections_become_results_and_shots(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    mine = concepts[:2]
    before = run(model, mine, photos)
    drawn = np.zeros((64, 64), np.uint8)
    drawn[:24, :24], drawn[40:, 40:] = 1, 2  # the correction says that one of the two red boxes is green
    correct(photos, "two.png", drawn)
    after = taught(model, mine, photos)
    assert set(after) == {"both", "none", "two"}
    assert (pixels(photos.parent / "out" / "two.png") == drawn).all()
    assert after["two"].corrected
    assert after["two"].score == 1
    assert after["two"].area == 24 * 24 * 2
    assert after["both"].made_with != before["both"].made_with
    expected = [model.extend(concept, [photos / "two.png"], [drawn == i + 1]) for i, concept in enumerate(mine)]
    assert (pixels(photos.parent / "out" / "both.png") == model.label(photos / "both.png", expected).index).all()
    assert taught(model, mine, photos) == {}  # nothing is done twice
    with pytest.raises(OutputError, match=r"has learned from corrections: give them again \(--learn-from\)"):
        run(model, mine, photos)
    correct(photos, "none.png", np.zeros((64, 64), np.uint8))
    assert set(taught(model, mine, photos)) == {"both", "none"}  # the correction that was there stays
    correct(photos, "two.png", drawn[::-1].copy())
    assert set(taught(model, mine, photos)) == {"both", "two"}
    (photos.parent / "out" / "corrected" / "none.png").unlink()
    redone = taught(model, mine, photos)
    assert set(redone) == {"both", "none"}
    assert redone["none"].corrected is None


def test_an_empty_correction_is_a_negative(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    run(model, concepts[0], photos)
    folder = correct(photos, "none.png", np.zeros((64, 64), np.uint8))
    targets = find_targets([photos], photos.parent / "out")
    corrections = find_corrections(folder, targets, ["red"], Options())
    (learned,) = learn(model, concepts[:1], numbered(concepts[:1]), targets, corrections)
    assert learned.shots == 1
    assert len(learned.negatives) == 64
    results = taught(model, concepts[:1], photos)
    assert results["none"].reason == "not in the correction"
    assert not pixels(photos.parent / "out" / "none.png").any()


def test_corrections_in_colours_and_apart(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    mine = concepts[:2]
    labels = numbered(mine)
    targets = find_targets([photos], photos.parent / "out")
    drawn = np.zeros((64, 64, 3), np.uint8)
    drawn[:24, :24], drawn[40:, 40:] = labels[0].colour, labels[1].colour
    folder = correct(photos, "two.png", drawn)
    found = find_corrections(folder, targets, slugs(labels), Options())["two"].masks((64, 64), labels, 10**6)
    assert [int(mask.sum()) for mask in found] == [576, 576]
    other = Image.fromarray(np.where(drawn.any(-1), 1 + (np.arange(64)[:, None] < 24), 0).astype(np.uint8), "L")
    other.putpalette([0, 0, 0, *labels[1].colour, *labels[0].colour])  # another program's order
    other.save(folder / "two.png")
    again = find_corrections(folder, targets, slugs(labels), Options())["two"].masks((64, 64), labels, 10**6)
    assert all((mine == theirs).all() for mine, theirs in zip(again, found, strict=True))
    other.putpalette([0, 0, 0, 1, 2, 3, 4, 5, 6])  # colours that say nothing: numbers
    other.save(folder / "two.png")
    third = find_corrections(folder, targets, slugs(labels), Options())["two"].masks((64, 64), labels, 10**6)
    assert [(mask == found[1 - i]).all() for i, mask in enumerate(third)] == [True, True]
    drawn[0, 0] += 1
    correct(photos, "two.png", drawn)
    with pytest.raises(MaskError, match=r"two\.png has colours of no concept"):
        find_corrections(folder, targets, slugs(labels), Options())["two"].masks((64, 64), labels, 10**6)
    correct(photos, "two.png", np.full((64, 64), 3, np.uint8))
    with pytest.raises(MaskError, match=r"two\.png has values up to 3, there are 2 concepts"):
        find_corrections(folder, targets, slugs(labels), Options())["two"].masks((64, 64), labels, 10**6)
    (folder / "two.png").unlink()
    correct(photos, "two.green.png", box_mask(0, 0, 9, 9).astype(np.uint8) * 255)
    with pytest.raises(ConfigError, match=r"two\.red\.png is missing"):
        find_corrections(folder, targets, slugs(labels), Options(overlap="all"))
    correct(photos, "two.red.png", np.zeros((64, 64), np.uint8))
    results = taught(model, mine, photos, Options(overlap="all"))
    assert results["two"].concepts is not None
    assert results["two"].concepts["green"]["area"] == 81
    with pytest.raises(ConfigError, match=r"two\.green\.png corrects no target"):
        find_corrections(folder, targets, slugs(labels), Options())
    with pytest.raises(ConfigError, match="no such folder"):
        find_corrections(folder / "gone", targets, slugs(labels), Options())


def test_learning_finds_more(model: INSID3, photos: Path) -> None:
    """A concept shown in red only learns from one correction that it may be white."""
    red = model.concept(scene(BOX), box_mask(*BOX), name="box")
    Image.fromarray(scene((0, 0, 24, 24), colour=2)).save(photos / "white1.png")
    Image.fromarray(scene((32, 24, 60, 60), colour=2)).save(photos / "white2.png")
    truth = box_mask(32, 24, 60, 60)

    def iou() -> float:
        found = pixels(photos.parent / "out" / "white2.png") > 0
        return float((found & truth).sum() / (found | truth).sum())

    run(model, red, photos)
    before = iou()
    correct(photos, "white1.png", box_mask(0, 0, 24, 24).astype(np.uint8) * 255)
    taught(model, [red], photos)
    assert iou() > max(0.7, before + 0.2)


def test_rethreshold_is_the_run_with_that_threshold(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    out, stricter = photos.parent / "out", photos.parent / "stricter"
    for kind in ("png", "npy"):
        run(model, concepts[0], photos, Options(scores=kind, instances=True), overwrite=True)
        lines = list(rethreshold(out, photos.parent / kind, 0.6))
        expected = INSID3(model.encoder, model.config.but(threshold=0.6))
        for name in ("both", "two", "none"):
            mask = expected.segment(photos / f"{name}.png", concepts[0]).mask
            assert ((pixels(photos.parent / kind / f"{name}.png") > 0) == mask).all()
        assert {Path(line["target"]).stem: line["area"] > 0 for line in lines} == {
            "both": True,
            "two": True,
            "none": False,
        }
        assert FORMATS["png"].is_at(photos.parent / kind)
        _, pictures = FORMATS["png"].read(photos.parent / kind)
        assert {len(picture.instances) for picture in pictures} == {0, 1, 2}
    drawn = np.full((64, 64), 255, np.uint8)
    correct(photos, "two.png", drawn)
    taught(model, concepts[:1], photos, Options(scores="npy", instances=True))
    lines = list(rethreshold(out, photos.parent / "taught", 0.99))
    assert (pixels(photos.parent / "taught" / "two.png") == drawn).all()
    assert [line["area"] for line in lines if line.get("corrected")] == [64 * 64]
    (out / "both_score.npy").unlink()
    with pytest.raises(ConfigError, match=r"both_score\.npy is missing: run insid3 segment with --scores"):
        list(rethreshold(out, stricter, 0.6))
    for bad, target, error in (
        (2.0, stricter, ConfigError),
        (0.5, out, OutputError),
        (0.5, photos.parent / "png", OutputError),
    ):
        with pytest.raises(error):
            list(rethreshold(out, target, bad))
    with pytest.raises(DataError, match="no output folder of insid3 segment"):
        list(rethreshold(photos, stricter, 0.5))


@pytest.mark.parametrize("overlap", ["best", "all"])
def test_rethreshold_of_several_concepts(model: INSID3, concepts: list[Concept], photos: Path, overlap: str) -> None:
    out, again_ = photos.parent / "out", photos.parent / "again"
    run(model, concepts[:2], photos, Options(scores="png", overlap=overlap))
    list(rethreshold(out, again_, model.config.threshold, min_area=5))
    _, pictures = FORMATS["png"].read(again_)
    found = {picture.name: picture for picture in pictures}["both"]
    assert {instance.concept for instance in found.instances} == {0, 1}
    red = next(instance for instance in found.instances if instance.concept == 0).whole((64, 64))
    assert red[32, 8]
    assert overlap == "all" or not red[32, 56]


def test_review_lists_the_least_certain_first(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    out = photos.parent / "out"
    with pytest.raises(DataError, match=r"holds no results\.jsonl"):
        doubts(out)
    (photos / "broken.jpg").write_text("x")
    run(model, concepts[0], photos)
    found = doubts(out)
    assert Path(found[0].target).stem == "none"
    assert [doubt.score for doubt in found] == sorted(doubt.score for doubt in found)
    assert len(found) == 3
    correct(photos, "none.png", np.zeros((64, 64), np.uint8))
    correct(photos, "stray.png", np.zeros((64, 64), np.uint8))
    assert [doubt.corrected for doubt in doubts(out)] == [True, False, False]
    assert strays(out, doubts(out)) == ["stray.png"]
    assert learning_command(out) == f"insid3 segment --config {out / 'run.toml'} --learn-from {out / 'corrected'}"
    (out / "corrected" / "stray.png").unlink()
    taught(model, concepts[:1], photos)
    assert [Path(doubt.target).stem for doubt in doubts(out)] != ["none"]
    assert len(doubts(out)) == 2  # what is corrected is certain
    with (out / "results.jsonl").open("a") as file:
        file.write('{"target": "x"}\n')
    with pytest.raises(DataError, match=r"results of .* are damaged"):
        doubts(out)


def test_examples_in_folders(model: INSID3, tmp_path: Path) -> None:
    for colour, name in enumerate(("red", "green")):
        folder = tmp_path / "examples" / name
        folder.mkdir(parents=True)
        Image.fromarray(scene(BOX, colour=colour)).save(folder / "1.jpg", quality=95)
        Image.fromarray(box_mask(*BOX).astype(np.uint8) * 255).save(folder / "1.png")
        Image.fromarray(scene((0, 0, 32, 32), colour=colour)).save(folder / "2.png")
        Image.fromarray(box_mask(0, 0, 32, 32).astype(np.uint8) * 255).save(folder / "2_mask.png")
    (tmp_path / "examples" / "red" / "negative").mkdir()
    Image.fromarray(scene()).save(tmp_path / "examples" / "red" / "negative" / "n.png")
    found = find_concepts(tmp_path / "examples")
    assert [example.name for example in found] == ["green", "red"]
    red = found[1].make(model)
    assert (red.name, red.shots, len(red.negatives)) == ("red", 2, 64)
    (tmp_path / "examples" / "red" / "2_mask.png").unlink()
    with pytest.raises(ConceptError, match=r"2\.png has no mask beside it: 2\.png, 2_mask\.png or \.json"):
        find_concepts(tmp_path / "examples")
    (tmp_path / "examples" / "blue").mkdir()
    with pytest.raises(ConceptError, match="blue has no pictures"):
        find_concepts(tmp_path / "examples")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ConceptError, match="has no folders: each concept's examples lie in one"):
        find_concepts(tmp_path / "bare")


def test_examples_in_a_list(model: INSID3, tmp_path: Path) -> None:
    Image.fromarray(scene(BOX)).save(tmp_path / "a.png")
    Image.fromarray(box_mask(*BOX).astype(np.uint8) * 2).save(tmp_path / "a_labels.png")
    model.concept(scene(BOX, colour=1), box_mask(*BOX), name="old", id=3).save(tmp_path / "g.insid3")
    entries: list[dict[str, Any]] = [
        {"name": "red", "images": "a.png", "masks": ["a_labels.png"], "label": 2, "id": 5, "colour": "#0a0b0c"},
        {"name": "green", "file": "g.insid3", "negatives": ["a.png"]},
    ]
    (tmp_path / "c.json").write_text(json.dumps({"concepts": entries}))
    red, green = (example.make(model) for example in find_concepts(tmp_path / "c.json"))
    assert (red.name, red.id, red.colour) == ("red", 5, (10, 11, 12))
    assert (green.name, green.id, len(green.negatives)) == ("green", 3, 64)
    assert find_concepts(tmp_path / "g.insid3")[0].make(model).name == "old"
    for bad, message in (
        ({"concepts": [{"name": "x"}]}, "needs a file .* or as many masks as images"),
        ({"concepts": [{"name": "x", "images": ["a.png"]}]}, "needs a file"),
        ({"concepts": [{"name": "x", "image": "a.png"}]}, "unknown entries image; known"),
        ({"concepts": [{"name": 7}]}, "name must be text, got 7"),
        ({"concepts": [{"name": "x", "id": "7"}]}, "concept 'x': id must be a whole number from 1 on, got '7'"),
        ({"concepts": [{"name": "x", "id": True}]}, "id must be a whole number from 1 on, got [Tt]rue"),
        ({"concepts": [{"name": "x", "label": 1.5}]}, 'label must be a whole number or "any", got 1.5'),
        ({"things": []}, "(not a|no) list of concepts"),
        ([], "(not a|no) list of concepts"),
    ):
        (tmp_path / "c.json").write_text(json.dumps(bad))
        with pytest.raises(ConceptError, match=message):
            find_concepts(tmp_path / "c.json")
    with pytest.raises(ConceptError, match="no such file"):
        find_concepts(tmp_path / "gone.insid3")[0].make(model)


def test_a_target_that_is_gone_fails_alone_when_learning(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    run(model, concepts[0], photos)
    folder = correct(photos, "two.png", np.zeros((64, 64), np.uint8))
    targets = [Target(photos / "gone.png", "two")]
    corrections = find_corrections(folder, targets, ["red"], Options())
    with pytest.raises(ImageError, match="no such file"):
        learn(model, concepts[:1], numbered(concepts[:1]), targets, corrections)


def test_files_of_others_are_no_place_for_conversions(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    run(model, concepts[0], photos, Options(scores="png"))
    out, before = photos.parent / "out", (photos / "both.png").read_bytes()
    FORMATS["coco"].write(*FORMATS["png"].read(out), photos.parent / "coco")
    for taken in (photos, out):
        with pytest.raises(OutputError, match="holds files that are no conversion of insid3"):
            convert(photos.parent / "coco", "png", taken)
    with pytest.raises(OutputError, match="holds files already"):
        list(rethreshold(out, photos, 0.5))
    assert (photos / "both.png").read_bytes() == before
    for _ in range(2):  # an earlier conversion may be replaced
        convert(out, "labelme", photos.parent / "labelme")
    list(rethreshold(out, photos.parent / "again", 0.5))
    with pytest.raises(OutputError, match="was made from another run's results"):
        Run(model, concepts[0], find_targets([photos], photos.parent / "again"), photos.parent / "again")


def test_two_pictures_of_one_stem_keep_their_suffixes(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    Image.fromarray(scene(BOX)).save(photos / "both.jpg")
    run(model, concepts[0], photos)
    convert(photos.parent / "out", "coco", photos.parent / "coco")  # equal stems keep their suffixes
    convert(photos.parent / "coco", "png", photos.parent / "png")
    assert (photos.parent / "png" / "both.jpg.png").exists()
    assert (photos.parent / "png" / "both.png.png").exists()


def test_cvats_own_order_of_labels(model: INSID3, concepts: list[Concept], photos: Path) -> None:
    run(model, concepts[:2], photos)
    convert(photos.parent / "out", "cvat", photos.parent / "cvat")
    file = photos.parent / "cvat" / "annotations.xml"
    lines = file.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if "<label>" in line)
    lines[first : first + 2] = lines[first : first + 2][::-1]
    file.write_text("\n".join(lines))
    labels, pictures = FORMATS["cvat"].read(file)
    assert [label.name for label in labels] == ["green", "red"]
    (both,) = (picture for picture in pictures if picture.name == "both")
    red = next(instance for instance in both.instances if labels[instance.concept].name == "red")
    assert red.whole((64, 64))[32, 8]


def test_nested_holes_are_filled_once() -> None:
    outer = box_mask(0, 0, 40, 40) & ~box_mask(8, 8, 32, 32)
    inner = box_mask(8, 8, 32, 32) & ~box_mask(16, 16, 24, 24)
    filled = Options(fill_holes=True).finish([outer, inner], (64, 64), (slice(0, 64), slice(0, 64)), None)
    assert not (filled[0] & filled[1]).any()
    assert (filled[0] | filled[1]).sum() == 40 * 40
