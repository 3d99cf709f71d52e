"""Episodes equal to those of the published loaders, on miniature data sets and on the official splits."""

import hashlib
import json
import pickle
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insid3.checks.parsing import Flaw
from insid3.errors import ConfigError, DataError, ImageError
from insid3.eval.datasets import DATASETS, check, draw
from insid3.eval.datasets.base import Draw
from insid3.eval.datasets.folders import draw_isaid
from insid3.eval.datasets.objects import COCO_CLASSES, draw_coco
from insid3.eval.episodes import Episode, Pair, View
from insid3.eval.outlines import rasterised
from insid3.eval.reader import Reader, Readers
from stubs import box_mask, scene

VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def sha(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels.astype(np.uint8)).tobytes()).hexdigest()[:16]


class Hashes:
    """Hashes of pictures and masks, each read once."""

    def __init__(self, root: Path) -> None:
        self.reader = Reader(root)
        self.picture = cache(lambda view: (sha(pixels := self.reader.picture(view)), pixels.shape[1::-1]))
        self.mask = cache(lambda view, recipe: (sha(mask := self.reader.mask(view, recipe)), int(mask.sum())))

    def view(self, view: View) -> dict[str, Any]:
        (rgb, size), (mask, area) = self.picture(view), self.mask(view, view.mask)
        return {"name": view.picture, "size": list(size), "rgb": rgb, "mask": mask, "area": area}


@pytest.fixture(scope="module")
def golden(shared: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((shared / "benchmarks" / "episodes.json").read_text())["lists"]
    return found


@pytest.fixture(scope="module")
def hashes(mini: Path) -> Hashes:
    return Hashes(mini)


@pytest.mark.parity
@pytest.mark.parametrize("dataset", DATASETS)
def test_episodes_are_the_published_ones(
    dataset: str, golden: list[dict[str, Any]], mini: Path, hashes: Hashes
) -> None:
    lists = [expected for expected in golden if expected["dataset"] == dataset]
    assert lists
    for expected in lists:
        found = draw([dataset], Readers(mini), fold=expected["fold"], shots=expected["shots"])[0]
        assert found.length == len(found.episodes) == expected["length"]
        assert dataset == "spair" or list(found.classes) == [str(each) for each in expected["class_ids"]]
        for episode, theirs in zip(found.episodes, expected["episodes"], strict=False):
            if isinstance(episode, Pair):
                compare_pair(episode, theirs, hashes)
            else:
                compare_episode(episode, theirs, hashes)
        lines = [digest_line(episode, hashes, mini) for episode in found.episodes[: expected["digest_count"]]]
        assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == expected["digest"]


def compare_episode(episode: Episode, theirs: dict[str, Any], hashes: Hashes) -> None:
    assert episode.cls == str(theirs["class_id"])
    assert hashes.view(episode.target) == theirs["target"]
    assert [hashes.view(view) for view in episode.references] == theirs["refs"]
    assert (episode.ignore is None) == ("ignore" not in theirs)
    if episode.ignore is not None:
        mask, area = hashes.mask(episode.target, episode.ignore)
        assert {"mask": mask, "area": area} == theirs["ignore"]


def compare_pair(pair: Pair, theirs: dict[str, Any], hashes: Hashes) -> None:
    assert (pair.cls, pair.threshold) == (theirs["category"], theirs["pck_threshold"])
    assert [list(xy) for xy in pair.source_points] == theirs["source_keypoints"]
    assert [list(xy) for xy in pair.target_points] == theirs["target_keypoints"]
    for name, side in ((pair.source, theirs["source"]), (pair.target, theirs["target"])):
        rgb, size = hashes.picture(View(name, ()))
        assert {"name": name, "size": list(size), "rgb": rgb} == side


def digest_line(episode: Episode | Pair, hashes: Hashes, mini: Path) -> str:
    if isinstance(episode, Pair):
        index = int(episode.id[-5:])
        pair = (mini / "SPair-71k/Layout/large/test.txt").read_text().split()[index]
        pictures = (hashes.picture(View(name, ()))[0] for name in (episode.source, episode.target))
        return " ".join([pair, str(VOC.index(episode.cls)), *pictures, repr(episode.threshold)])
    views = [hashes.view(view) for view in (episode.target, *episode.references)]
    words = [episode.cls, *(view[key] for view in views for key in ("rgb", "mask"))]
    return " ".join(words + ([hashes.mask(episode.target, episode.ignore)[0]] if episode.ignore else []))


@pytest.mark.parity
@pytest.mark.parametrize("dataset", DATASETS)
def test_as_many_random_numbers_are_used(dataset: str, golden: list[dict[str, Any]], mini: Path) -> None:
    for expected in (each for each in golden if each["dataset"] == dataset):
        stream = Draw(0)
        fold = DATASETS[dataset].draw(Reader(mini), expected["fold"], expected["shots"], stream)
        for _ in range(len(expected["episodes"])):
            next(fold.draws)
        assert stream.stream.random_sample() == expected["next_uniform"]


@pytest.mark.parity
def test_official_coco_splits(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "COCO2014").mkdir()
    (tmp_path / "COCO2014/splits").symlink_to(shared / "benchmarks" / "coco20i_splits")
    for expected in json.loads((shared / "benchmarks" / "coco20i_real_splits.json").read_text())["lists"]:
        stream = Draw(0)
        fold = draw_coco(Reader(tmp_path), expected["fold"], expected["shots"], stream)
        for theirs in expected["episodes"]:
            ours = next(fold.draws)
            assert not isinstance(ours, Pair)
            assert ours.cls == str(theirs["class_id"])
            names = [view.picture.removeprefix("COCO2014/") for view in (ours.target, *ours.references)]
            assert names == [theirs["target"], *theirs["refs"]]
        assert stream.stream.random_sample() == expected["next_uniform"]


@pytest.mark.parity
def test_official_isaid_splits(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "iSAID").mkdir()
    (tmp_path / "iSAID/splits").symlink_to(shared / "benchmarks" / "isaid5i_splits")
    for expected in json.loads((shared / "benchmarks" / "isaid5i_real_splits.json").read_text())["lists"]:
        stream = Draw(0)
        fold = draw_isaid(Reader(tmp_path), expected["fold"], expected["shots"], stream)
        assert fold.length == expected["length"]
        for theirs in expected["episodes"]:
            ours = next(fold.draws)
            assert not isinstance(ours, Pair)
            names = [Path(view.picture).name for view in (ours.target, *ours.references)]
            assert (ours.cls, names) == (str(theirs["class_id"]), [theirs["target"], *theirs["refs"]])
        assert stream.stream.random_sample() == expected["next_uniform"]


def test_the_limit_does_not_change_what_is_drawn(mini: Path) -> None:
    whole, first = draw(["coco"], Readers(mini), fold=2)[0], draw(["coco"], Readers(mini), fold=2, limit=7)[0]
    assert first.episodes == whole.episodes[:7]
    assert first.length == whole.length == 1000
    assert draw(["coco"], Readers(mini), fold=2, seed=1, limit=7)[0].episodes != first.episodes


def test_all_folds_by_default_and_every_class_as_one(mini: Path) -> None:
    assert [each.fold for each in draw(["coco", "isic", "isaid"], Readers(mini), limit=1)] == [0, 1, 2, 3, 0, 0, 1, 2]
    assert len(draw(["coco"], Readers(mini), fold=-1, limit=1)[0].classes) == len(COCO_CLASSES) == 80
    with pytest.raises(ConfigError, match="lvis has the folds 0 to 9, got -1"):
        draw(["lvis"], Readers(mini), fold=-1)
    with pytest.raises(ConfigError, match="coco has the folds -1 to 3, got 4"):
        draw(["coco"], Readers(mini), fold=4)


def test_names_shots_and_roots_are_checked(mini: Path) -> None:
    with pytest.raises(ConfigError, match="unknown data set 'cocoa': lvis, coco"):
        draw(["cocoa"])
    with pytest.raises(ConfigError, match="shots must be 1 or more, got 0"):
        draw(["coco"], Readers(mini), shots=0)
    with pytest.raises(DataError, match="coco needs the folder that holds the data sets: --data-root"):
        draw(["coco"])


@pytest.mark.parametrize(
    ("dataset", "file"),
    [
        ("coco", "COCO2014/splits/val/fold0.pkl: No such file"),
        ("lvis", "LVIS/lvis_val.pkl: No such file"),
        ("paco_part", "paco_part_val.pkl: No such file"),
        ("pascal_part", "all_obj_part_to_image.json: No such file"),
        ("isic", "no pictures .* in .*ISIC2018_Task1-2_Training_Input/1"),
        ("lung", "no masks .* in .*LungSegmentation/masks"),
        ("suim", "no masks in .*SUIM/masks/FV"),
        ("isaid", "iSAID/splits/val/fold0.txt: No such file"),
        ("permis", "no videos .* in .*PerMIRS"),
        ("spair", "Layout/large/test.txt: No such file"),
    ],
)
def test_a_missing_data_set_is_named(dataset: str, file: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=file):
        draw([dataset], Readers(tmp_path))


def test_annotations_of_another_layout_are_named(mini: Path, tmp_path: Path) -> None:
    shutil.copytree(mini / "COCO2014" / "splits", tmp_path / "COCO2014" / "splits")
    shutil.copy(tmp_path / "COCO2014/splits/val/fold1.pkl", tmp_path / "COCO2014/splits/val/fold0.pkl")
    with pytest.raises(DataError, match=r"fold0.pkl lists no pictures of class 0"):
        draw(["coco"], Readers(tmp_path))
    (tmp_path / "iSAID/splits/val").mkdir(parents=True)
    (tmp_path / "iSAID/splits/val/fold0.txt").write_text("P0001__x\n")
    with pytest.raises(DataError, match="expected lines like"):
        draw(["isaid"], Readers(tmp_path))


@pytest.mark.parametrize(
    ("dataset", "file", "content"),
    [
        ("lvis", "LVIS/lvis_val.pkl", [1, 2]),
        ("lvis", "LVIS/lvis_val.pkl", {1: 2}),
        ("paco_part", "PACO-Part/paco/paco_part_val.pkl", {"cid2img": 3, "img2anno": {}}),
        ("spair", "SPair-71k/PairAnnotation/test", {"category": "x"}),
        (
            "pascal_part",
            "Pascal-Part/VOCdevkit/VOC2010/all_obj_part_to_image.json",
            {"animals": {"object": {"cat": {}}}},
        ),
    ],
)
def test_annotations_that_hold_something_else(
    dataset: str, file: str, content: object, mini: Path, tmp_path: Path
) -> None:
    shutil.copytree(mini / Path(file).parts[0], tmp_path / Path(file).parts[0], symlinks=True)
    path = tmp_path / file
    for each in path.iterdir() if path.is_dir() else [path]:
        each.write_bytes(pickle.dumps(content) if each.suffix == ".pkl" else json.dumps(content).encode())
    with pytest.raises(DataError, match=r"laid out as published|has no entry|no annotation file"):
        draw([dataset], Readers(tmp_path))


def test_a_mask_that_pycocotools_cannot_read_is_named(mini: Path) -> None:
    reader = Reader(mini)
    (name,) = {view.picture for view in (draw(["lvis"], Readers(mini), limit=1)[0].episodes[0].target,)}  # type: ignore[union-attr]
    for segmentation in ("oops", [[1, 2]], {"size": [3, 3], "counts": None}, 7):
        reader.annotations = lambda _, s=segmentation: {1: {"x": {"annotations": [{"segmentation": s}]}}}  # type: ignore[method-assign,misc]
        with pytest.raises(DataError, match="has no mask"):
            reader.mask(View(name, ("lvis", "LVIS/lvis_val.pkl", 1, "x")))


def test_a_class_of_one_picture_is_refused(tmp_path: Path) -> None:
    for name in ("images", "masks/cat"):
        (tmp_path / name).mkdir(parents=True)
    Image.fromarray(scene((0, 0, 8, 8))).save(tmp_path / "images/one.png")
    Image.fromarray(box_mask(0, 0, 8, 8)).save(tmp_path / "masks/cat/one.png")
    with pytest.raises(DataError, match=r"has more than 1 picture \(--shots\): cat has 1 picture, 2 are needed"):
        draw([f"folder:{tmp_path}"])


def test_own_episodes(own: Path) -> None:
    warm, cold = draw([f"episodes:{own}"])
    assert (warm.set, cold.set, warm.root) == ("warm", "cold", str(own))
    assert [episode.id for episode in warm.episodes] == ["red0", "red1", "red2"]
    episode = cold.episodes[0]
    assert isinstance(episode, Episode)
    assert np.array_equal(Reader(own).mask(episode.target), box_mask(32, 32, 64, 64))
    with pytest.raises(DataError, match="episode red0 has 1 references, not 2"):
        draw([f"episodes:{own}"], shots=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no episodes"),
        ('[{"id": 1}]', "expected a list of id, set, cls, ref and tgt"),
        ('{"a": 1}', "expected a list of id, set, cls, ref and tgt"),
        ('[{"id": "../x", "set": "s", "cls": 1, "ref": ["red_a"], "tgt": "red_b"}]', "files cannot be called so"),
        ('[{"id": 1, "set": "s", "cls": 1, "ref": [], "tgt": "red_b"}]', "episode 1 has 0 references"),
        (
            '[{"id": 1, "set": "s", "cls": 1, "ref": ["red_a"], "tgt": "red_b"},'
            ' {"id": 1, "set": "t", "cls": 1, "ref": ["red_a"], "tgt": "red_b"}]',
            "two episodes are called '1'",
        ),
    ],
)
def test_own_episodes_that_cannot_be_used(own: Path, text: str, message: str) -> None:
    (own / "episodes.json").write_text(text)
    with pytest.raises(DataError, match=message):
        draw([f"episodes:{own}"])


def test_two_sets_of_one_name_are_refused(own: Path, mini: Path) -> None:
    text = (own / "episodes.json").read_text().replace("warm", "isic")
    (own / "episodes.json").write_text(text)
    with pytest.raises(DataError, match="both have a set 'isic': run them separately"):
        draw(["isic", f"episodes:{own}"], Readers(mini))


def test_a_folder_of_classes(own: Path) -> None:
    for cls in ("red", "green"):
        (own / "masks" / cls).mkdir()
        for path in (own / "masks").glob(f"{cls}_*.png"):
            path.rename(own / "masks" / cls / path.name)
    (found,) = draw([f"folder:{own}"], shots=2)
    assert (found.set, found.length, [*found.classes]) == ("own", 8, ["green", "red"])
    targets = [episode.target for episode in found.episodes if isinstance(episode, Episode)]
    assert len(set(targets)) == 8  # every mask once
    for episode in found.episodes:
        assert isinstance(episode, Episode)
        assert all(view.picture.startswith(f"images/{episode.cls}_") for view in (episode.target, *episode.references))
        assert episode.target not in episode.references
    assert draw([f"folder:{own}"], shots=2) == [found]
    assert draw([f"folder:{own}"], shots=2, seed=1) != [found]
    next((own / "images").iterdir()).unlink()
    with pytest.raises(DataError, match=r"has no picture .*: add it, or leave out the mask"):
        draw([f"folder:{own}"])


def test_check_counts_what_is_there(mini: Path) -> None:
    for name in DATASETS:
        assert all(count for _, count in check(name, mini)), name
    assert not any(count for _, count in check("coco", mini / "nowhere"))
    with pytest.raises(ConfigError, match="--check knows"):
        check("cocoa", mini)


def test_the_docs_tell_what_check_looks_for() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reproduce.md").read_text()
    for dataset in DATASETS.values():
        assert f"`{dataset.name}`" in text
        for part in dataset.layout:
            assert f"`{part.pattern}`" in text, part.pattern


def test_reader_explains(own: Path) -> None:
    reader = Reader(own)
    with pytest.raises(ImageError, match="no such file"):
        reader.picture(View("images/none.png", ()))
    with pytest.raises(DataError, match="has no mask"):
        reader.mask(View("images/red_a.png", ("lvis", "episodes.json", 3, "x")))
    Image.fromarray(box_mask(0, 0, 4, 4, size=(10, 30))).save(own / "masks" / "red_a.png")
    with pytest.raises(DataError, match=r"is a mask of 30 x 10 pixels, its picture images/red_a.png has 64 x 64"):
        reader.mask(View("images/red_a.png", ("value", "masks/red_a.png", 1)))


def test_own_masks_may_be_empty(own: Path) -> None:
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(own / "masks" / "red_a.png")
    assert not Reader(own).mask(View("images/red_a.png", ("any", "masks/red_a.png"))).any()


def test_own_masks_are_read_like_those_of_references(own: Path) -> None:
    """JPEG artefacts, palettes whose first colour is not black, opaque alpha and the size limit are handled."""
    view = View("images/red_a.png", ("any", "masks/red_a.jpg"))
    mask = Image.fromarray(box_mask(8, 8, 40, 40).astype(np.uint8) * 255)
    mask.save(own / "masks/red_a.jpg", quality=30)
    assert np.array_equal(Reader(own).mask(view), box_mask(8, 8, 40, 40))
    palette = mask.point(lambda value: value == 0).convert("L")
    palette.putpalette([255, 255, 255, 0, 0, 0])
    palette.save(own / "masks/red_a.png")
    assert np.array_equal(
        Reader(own).mask(View("images/red_a.png", ("any", "masks/red_a.png"))), box_mask(8, 8, 40, 40)
    )
    Image.new("RGBA", (64, 64), (0, 0, 0, 255)).save(own / "masks/red_a.png")
    assert not Reader(own).mask(View("images/red_a.png", ("any", "masks/red_a.png"))).any()
    for recipe in (("any", "masks/red_b.png"), ("grey", "masks/red_b.png"), ("value", "masks/red_b.png", 255)):
        with pytest.raises(ImageError, match=r"has 64 x 64 pixels, the limit is 100"):
            Reader(own, max_pixels=100).mask(View("images/red_b.png", recipe))


def test_hidden_files_are_no_data(own: Path, mini: Path, tmp_path: Path) -> None:
    lists = draw([f"folder:{own}"])
    copy = tmp_path / "copy"
    shutil.copytree(mini / "SUIM", copy / "SUIM")
    shutil.copytree(mini / "ISIC", copy / "ISIC")
    before = draw(["suim", "isic"], Readers(copy), limit=5)
    counts = [count for name in ("suim", "isic") for _, count in check(name, copy)]
    for name in ("images/._red_a.png", "masks/._red_a.png", "masks/.ipynb_checkpoints/red_a-checkpoint.png"):
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_bytes(b"junk")
    for name in ("SUIM/masks/FV/._d_r_1_.bmp", "ISIC/ISIC2018_Task1-2_Training_Input/1/._ISIC_1.jpg"):
        (copy / name).write_bytes(b"junk")
    assert draw([f"folder:{own}"]) == lists
    assert draw(["suim", "isic"], Readers(copy), limit=5) == before
    assert [count for name in ("suim", "isic") for _, count in check(name, copy)] == counts


def test_a_fold_of_what_has_none_is_refused(own: Path) -> None:
    for kind in ("folder", "episodes"):
        with pytest.raises(ConfigError, match="has no folds: leave out --fold"):
            draw([f"{kind}:{own}"], fold=1)


def test_published_pictures_are_not_turned(tmp_path: Path) -> None:
    image = Image.fromarray(scene((0, 0, 8, 8), size=(40, 64)))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    view = View("turned.jpg", ())
    assert Reader(tmp_path).picture(view).shape == (40, 64, 3)
    assert Reader(tmp_path).size("turned.jpg") == (40, 64)
    assert Reader(tmp_path, upright=True).picture(view).shape == (64, 40, 3)
    assert Reader(tmp_path, upright=True).size("turned.jpg") == (64, 40)


POLYGON = [2.0, 2, 12, 2, 12, 9, 2, 9]
SHARED: list[Any] = []
for _ in range(60):
    SHARED = [SHARED, SHARED]  # which takes for ever to look at
CODE = {"size": [20, 30], "counts": [45, 5, 15, 5, 530]}


@pytest.mark.parametrize(
    "segmentation", [[POLYGON], [POLYGON, [20.4, 3, 27, 4, 22, 18.5]], [[-4, 3, 9, 9, 50, 2]], CODE]
)
def test_shapes_are_those_of_pycocotools(segmentation: Any) -> None:
    from pycocotools import mask as rle

    encoded = rle.frPyObjects(segmentation, 20, 30)
    encoded = rle.merge(encoded) if isinstance(encoded, list) else encoded
    expected = rle.decode(encoded).astype(bool)
    for form in (segmentation, encoded, {**encoded, "counts": encoded["counts"].decode()}):
        assert np.array_equal(rasterised(form, (20, 30)), expected)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[0, 0, 1e9, 0, 1e9, 1e9]], "lies far outside its picture of 30 x 20 pixels"),
        ([[0, 0, 300, 0, 0, 20] * 10**4], "has an outline of [0-9,]+ pixels, which no object"),
        ([[0, 0, 10**400, 0, 5, 5]], "not a number"),
        ([[0, 0, float("nan"), 0, 5, 5]], "not a number"),
        ([[0, 0, "5", 0, 5, 5]], "something that is not a number as a coordinate"),
        ([[1.0, 2, 3, 4], [], [1.0, 2, 3, 4, 5, 6, 7]], "has a polygon of 4 numbers, which needs three points or more"),
        (POLYGON, "not a number as a coordinate"),
        ([[1.0, 2, 3]], "has a polygon of 3 numbers, which needs three points or more"),
        ([POLYGON, [1.0, float("nan")]], "not a number as a coordinate"),
        ([], "neither polygons nor"),
        ({"size": [10**5, 10**5], "counts": [10**10]}, r"has a mask of 100000 x 100000, its picture has 30 x 20"),
        ({"size": [20, 30], "counts": [10**9, 5]}, "as run"),
        ({"size": [20, 30], "counts": [b"5"]}, "not a number as run"),
        ({"size": [20, 30], "counts": SHARED}, "not a number as run"),
        ([SHARED], "not a number as a coordinate"),
        ({"size": [20, 30], "counts": [5, 5]}, "has runs of 10 pixels, its picture has 30 x 20"),
        ({"size": [20, 30], "counts": "\u00ff" * 9}, "no run-length code"),
        ({"size": [20, 30], "counts": 7}, "not a number as run"),
        ({"size": 600, "counts": [600]}, "not a number as side of a mask"),
    ],
)  # fmt: skip
def test_nothing_reaches_pycocotools_unchecked(
    segmentation: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(Flaw, match=message):
        rasterised(segmentation, (20, 30))


@pytest.mark.parametrize("bad", [[1.0, 2, 3, 4], [], [5.0, 5], [1.0, 2, 3, 4, 5, 6, 7]])
def test_polygons_of_few_points_are_left_out_and_counted(bad: list[float], tmp_path: Path) -> None:
    """Short polygons are left out as by `insid3 convert`; an annotation without other polygons is left out whole."""
    left_out: list[str] = []
    assert np.array_equal(rasterised([bad, POLYGON], (20, 30), left_out), rasterised([POLYGON], (20, 30)))
    assert left_out == [f"has a polygon of {len(bad)} numbers, which needs three points or more"]
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    data = {0: {"a": {"annotations": [{"segmentation": s} for s in ([bad], [POLYGON, bad], [bad, bad])]}}}
    data[1] = {"a": {"annotations": [{"segmentation": [bad]}]}}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(data))
    reader = Reader(tmp_path)
    mask = reader.mask(View("a.png", ("lvis", "a.pkl", 0, "a")))
    assert np.array_equal(mask, rasterised([POLYGON], (20, 30)))
    assert reader.left_out == [f"a.pkl {left_out[0]}"] * 4
    with pytest.raises(DataError, match="has no mask of 1, 'a': it has a polygon of"):
        reader.mask(View("a.png", ("lvis", "a.pkl", 1, "a")))


def test_the_size_that_a_picture_declares_is_bounded(tmp_path: Path) -> None:
    Image.new("1", (400, 300)).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(json.dumps({"img2anno": []}))
    with pytest.raises(ImageError, match=r"a.png has 400 x 300 pixels, the limit is 1,000 in all: raise it with"):
        Reader(tmp_path, max_pixels=1000).mask(View("a.png", ("paco", "a.json", 0, 0, 0)))


@pytest.mark.parametrize(
    ("dataset", "file", "content", "message"),
    [
        ("isaid", "iSAID/splits/val/fold0.txt", "P1__1\nP2__x", "has the line 'P2__x', expected lines like"),
        ("isaid", "iSAID/splits/val/fold0.txt", "P1__1\nP2__9", "lists class 9, its fold has 1 to 5"),
        ("isaid", "iSAID/splits/val/fold0.txt", b"\xff\xfe\xff", "list of patches and classes"),
        ("spair", "SPair-71k/Layout/large/test.txt", "../../x:cat", "has the line '../../x:cat', expected lines like"),
        ("spair", "SPair-71k/Layout/large/test.txt", "x" * 5000, "expected lines like"),
        ("pascal_part", "Pascal-Part/VOCdevkit/VOC2010/all_obj_part_to_image.json", "[" * 10**5, "nests too deeply"),
        ("coco", "COCO2014/splits/val/fold0.pkl", pickle.dumps({c: [None] for c in range(80)}), "name of a pic"),
        ("coco", "COCO2014/splits/val/fold0.pkl", pickle.dumps({c: ["a\0", "../b"] for c in range(80)}), "file name"),
        ("lvis", "LVIS/lvis_val.pkl", pickle.dumps({c: ["a"] for c in range(80)}), "as category 0, not an object"),
    ],
)
def test_annotations_that_are_damaged(
    dataset: str, file: str, content: str | bytes, message: str, mini: Path, tmp_path: Path
) -> None:
    shutil.copytree(mini / Path(file).parts[0], tmp_path / Path(file).parts[0], symlinks=True)
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        draw([dataset], Readers(tmp_path), fold=0, limit=2)
