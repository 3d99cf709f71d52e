"""Damaged and hostile data sets of evaluations: published ones in small, a user's own, lists of episodes, results."""

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hostile.values import bytes_changed, json_changed, value
from insid3.errors import Insid3Error
from insid3.eval import compare
from insid3.eval.datasets import draw
from insid3.eval.episodes import Episode, EpisodeList, load, save
from insid3.eval.export import export
from insid3.eval.outputs import write_outputs
from insid3.eval.predict import FolderPredictor
from insid3.eval.reader import Readers
from insid3.eval.run import Evaluation
from stubs import box_mask, scene

KIND = "datasets"
_SIZE = (64, 64)
_RUN = ("results.jsonl", "results.json", "run.json", "episodes.json")


def attempts(folder: Path, seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    rng = random.Random(f"datasets {seed}")
    sound = folder / "sound"
    _make(sound)
    for read in _READERS.values():
        read(sound)  # loads what they need
    for number in range(count):
        name = rng.choice(list(_READERS))
        place = folder / "changed"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(sound, place)
        files = sorted(file for pattern in _CHANGED[name] for file in place.glob(pattern) if file.is_file())
        file = rng.choice(files)
        did = _change(file, rng)
        yield f"{number}: {name}, {file.relative_to(place)}, {did}", partial(_READERS[name], place)


def _change(file: Path, rng: random.Random) -> str:
    what = rng.random()
    if what < 0.03:
        file.unlink()
        os.mkfifo(file)
        return "a pipe"
    if what < 0.06:
        file.unlink()
        file.symlink_to(rng.choice((file, Path("/dev/zero"))))
        return "a link to itself, or to a device"
    if what < 0.25:
        file.write_bytes(bytes_changed(file.read_bytes(), rng))
        return "bytes"
    if file.suffix == ".pkl":
        data = pickle.loads(file.read_bytes())  # noqa: S301  our own
        for _ in range(rng.choice((1, 1, 3))):
            data = _value_changed(data, rng)
        file.write_bytes(pickle.dumps(data))
    elif file.suffix == ".npy":
        frames = np.empty(3, object)
        frames[:] = [{1: _odd_array(rng)} for _ in range(3)]
        np.save(file, frames, allow_pickle=True)
    elif file.suffix in (".json", ".jsonl"):
        lines = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
        at = rng.randrange(len(lines))
        lines[at] = json_changed(lines[at], rng)
        file.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))
    elif file.suffix == ".txt":
        words = file.read_text().split()
        words[rng.randrange(len(words))] = str(value(rng)) + rng.choice(("", "__3", "__0", "__99999999999"))
        file.write_bytes("\n".join(words).encode("utf-8", "surrogatepass"))
    else:
        values = np.asarray(rng.choice((_odd_array(rng), box_mask(2, 2, 30, 30))))
        with suppress(TypeError, ValueError, OSError, KeyError):
            Image.fromarray(values).save(file)
    return "values"


def _value_changed(data: Any, rng: random.Random) -> Any:
    """Return a copy in which some value is changed."""
    if rng.random() < 0.2 or not isinstance(data, dict | list) or not data:
        return _odd(data, rng)
    if isinstance(data, list):
        at = rng.randrange(len(data))
        return [*data[:at], _value_changed(data[at], rng), *data[at + 1 :]]
    key = rng.choice(list(data))
    return {**data, key: _value_changed(data[key], rng)}


def _odd(old: Any, rng: random.Random) -> Any:
    other: Any = value(rng)
    for _ in range(rng.choice((0, 0, 40))):
        other = [other, other]  # shared: small in the file, large for whoever looks at all of it
    side = rng.choice((0, 1, 64, 10**5, 10**9, -1, 2.5, "x"))
    letters = "".join(chr(48 + rng.randrange(70)) for _ in range(rng.choice((1, 8, 500))))
    polygon = [
        rng.choice((1.0, 5, 40, -3, 1e3, 1e5, 1e9, float("nan"), 10**400)) for _ in range(rng.choice((4, 6, 8, 300)))
    ]
    return rng.choice(
        (
            other, old, None, {"size": [64, side], "counts": letters}, {"size": [64, 64], "counts": letters.encode()},
            {"size": [64, 64], "counts": [side, 4096]}, [polygon], [polygon, [1, 2, 3, 4]], polygon, [[1.0, 2.0]],
            {"size": [side, side], "counts": [1]}, (0, 0, 640 * 10**6, 0) * 400, [[0, 0, 700, 700, 0, 700] * 9000],
            np.zeros((2, 2)), np.float64(3), "../../../etc/passwd", "a/b\0c.jpg", {(1, 2): 3}, _odd_array(rng),
        )
    )  # fmt: skip


def _odd_array(rng: random.Random) -> Any:
    shape = rng.choice((_SIZE, _SIZE, (64, 63), (0, 0), (1,), (64, 64, 3), (4, 4, 4, 4)))
    kind = rng.choice((bool, np.uint8, np.uint16, np.int32, np.float32, np.float64, "U1", complex))
    array = np.zeros(shape, kind)
    if array.size > 50 and array.dtype.kind in "uif":
        array.flat[: array.size // 2] = rng.choice((1, 3, 128, 200))
        array.flat[array.size // 3 : array.size // 2] = rng.choice((1, 255))
        if array.dtype.kind == "f":
            array.flat[0] = rng.choice((np.nan, np.inf, 1e30))
    return array


def _picture(file: Path, mask: np.ndarray | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene((8, 8, 40, 40)) if mask is None else mask).save(file)


def _make(root: Path) -> None:
    """Make six sets of few pictures, and a run."""
    polygon, box = [[8.0, 8, 40, 8, 40, 40, 8, 40]], box_mask(8, 8, 40, 40)
    code = {"size": [64, 64], "counts": [520, *[32] * 63, 1560]}
    names = [f"val2014/{i}.jpg" for i in range(4)]
    for name in names:
        _picture(root / "COCO2014" / name)
        _picture(root / "COCO2014/annotations" / name.replace(".jpg", ".png"), box.astype(np.uint8))
        _picture(root / "LVIS/coco" / name)
        _picture(root / "PACO-Part/coco" / name)
    splits = root / "COCO2014/splits/val"
    splits.mkdir(parents=True)
    for fold in range(4):
        (splits / f"fold{fold}.pkl").write_bytes(pickle.dumps({cls: names for cls in range(fold, 80, 4)}))
    annotations = [{"segmentation": polygon, "category_id": 1}, {"segmentation": code, "category_id": 1}]
    lvis = {cls: {name: {"annotations": annotations} for name in names} for cls in range(20)}
    (root / "LVIS/lvis_val.pkl").write_bytes(pickle.dumps(lvis))
    paco: dict[str, Any] = {"cid2img": {c: [{i: f"x/{name}"} for i, name in enumerate(names)] for c in range(448)}}
    parts = [
        {"segmentation": polygon, "category_id": c, "obj_ann_id": 7, "obj_bbox": [4.0, 4, 50, 50]} for c in range(8)
    ]
    paco["img2anno"] = {i: parts for i in range(4)}
    (root / "PACO-Part/paco").mkdir(parents=True)
    small = {"cid2img": {c: paco["cid2img"][c] for c in range(8)}, "img2anno": paco["img2anno"]}
    (root / "PACO-Part/paco/paco_part_val.pkl").write_bytes(pickle.dumps(small))
    (root / "PACO-Part/paco/paco_part_train.pkl").write_bytes(pickle.dumps({"cid2img": paco["cid2img"]}))
    for video in ("1", "2"):
        for frame in range(3):
            _picture(root / f"PerMIRS/{video}/{frame}.jpg")
        frames = np.empty(3, object)
        frames[:] = [{7: box}, {7: box.astype(np.uint8), 3: box}, {7: box}]
        np.save(root / f"PerMIRS/{video}/masks.npz.npy", frames, allow_pickle=True)
    _make_voc(root, code)
    for i in range(4):
        _picture(root / f"iSAID/val/images/P{i}.png")
        labels = np.where(box, 1 + i % 2, 0).astype(np.uint8)
        labels[:4] = 255
        _picture(root / f"iSAID/val/semantic_png/P{i}_instance_color_RGB.png", labels)
    (root / "iSAID/splits/val").mkdir(parents=True)
    (root / "iSAID/splits/val/fold0.txt").write_text("\n".join(f"P{i}__{1 + i % 2:02}" for i in range(4)))
    _make_spair(root)
    for i in range(4):
        _picture(root / f"own/images/{i}.png")
        void = np.where(box, 1, 0).astype(np.uint8)
        void[40:44, 8:40] = 255
        _picture(root / f"own/masks/cat/{i}.png", void)
        _picture(root / f"own/masks/{i}.png", box)
        _picture(root / f"theirs/e{i}.png", box)
    entries = [{"id": f"e{i}", "set": "s", "cls": "cat", "ref": ["0"], "tgt": f"{i}"} for i in range(1, 4)]
    entries[0]["ignore"] = "1"
    _picture(root / "own/ignore/1.png", box_mask(0, 0, 4, 64))
    (root / "own/episodes.json").write_text(json.dumps(entries))
    _evaluated(root)
    save(draw([f"folder:{root / 'own'}"], limit=2), root / "list.json")


def _make_voc(root: Path, code: dict[str, Any]) -> None:
    voc, names = root / "Pascal-Part/VOCdevkit/VOC2010", [f"2008_{i}" for i in range(3)]
    for name in names:
        _picture(voc / f"JPEGImages/{name}.jpg")
        thing = {"name": "cat", "bndbox": {"xmin": "2", "ymin": 2, "xmax": 60, "ymax": 60}}
        (voc / "Annotations_Part_json_merged_part_classes").mkdir(exist_ok=True)
        file = voc / f"Annotations_Part_json_merged_part_classes/{name}.json"
        file.write_text(json.dumps({"object": [{**thing, "parts": [{"name": "HEAD", "mask": [code]}]}]}))
    part = {"HEAD": {"train": names, "val": names}}
    groups = {group: {"object": {"cat": {"part": part}}} for group in ("animals", "indoor", "person", "vehicles")}
    (voc / "all_obj_part_to_image.json").write_text(json.dumps(groups))


def _make_spair(root: Path) -> None:
    spair = root / "SPair-71k"
    for name in ("a", "b"):
        _picture(spair / f"JPEGImages/cat/{name}.jpg")
    (spair / "Layout/large").mkdir(parents=True)
    (spair / "PairAnnotation/test").mkdir(parents=True)
    (spair / "Layout/large/test.txt").write_text("000001-a-b:cat\n000002-b-a:cat\n")
    for number, (source, target) in enumerate((("a", "b"), ("b", "a")), 1):
        pair = {"category": "cat", "src_imname": f"{source}.jpg", "trg_imname": f"{target}.jpg"}
        pair |= {"src_kps": [[9, 9], [30, 12.5]], "trg_kps": [[10, 9], [31, 13]], "trg_bndbox": [8, 8, 40, 40]}  # type: ignore[dict-item]
        name = f"00000{number}-{source}-{target}:cat"
        (spair / f"PairAnnotation/test/{name}.json").write_text(json.dumps(pair))


def _published(name: str, root: Path) -> None:
    _looked_at(draw([name], Readers(root), fold=0, limit=2), Readers(root))


def _own(root: Path) -> None:
    _looked_at(draw([f"folder:{root / 'own'}"], Readers(), shots=2, limit=2), Readers())


def _listed(root: Path) -> None:
    lists = draw([f"episodes:{root / 'own'}"])
    _looked_at(lists, Readers())
    export(lists, Readers(), root / "exported")


def _saved(root: Path) -> None:
    lists = load(root / "list.json")
    for each in lists:
        _looked_at([each], Readers() if each.root is None else Readers(root))


def _looked_at(lists: list[EpisodeList], readers: Readers) -> None:
    """Do all that a run does with episodes but marking; raise the first of failures that a run would report."""
    failed: list[Insid3Error] = []
    for each in lists:
        reader = readers(each.root)
        for episode in each.episodes:
            if not isinstance(episode, Episode):
                continue
            for view in (episode.target, *episode.references):
                try:
                    assert reader.mask(view).shape == reader.picture(view).shape[:2]
                    if episode.ignore:
                        reader.mask(episode.target, episode.ignore)
                except Insid3Error as error:
                    failed.append(error)
    if failed:
        raise failed[0]


def _evaluated(root: Path) -> None:
    lists = draw([f"episodes:{root / 'own'}"])
    with Evaluation({".": FolderPredictor(root / "theirs", "original")}, lists, root / "run") as evaluation:
        for _ in evaluation.run():
            pass
        write_outputs(evaluation)


def _compared(root: Path) -> None:
    said: list[Insid3Error] = []
    run = root / "run"
    for read in (lambda: compare.text_of_one(run), lambda: compare.text_of(run, run), lambda: _evaluated(root)):
        try:
            read()
        except Insid3Error as error:
            said.append(error)
    if said:
        raise said[0]


_READERS: dict[str, Callable[[Path], None]] = {
    **{
        name: partial(_published, name)
        for name in ("coco", "lvis", "paco_part", "pascal_part", "permis", "isaid", "spair")
    },
    "folder": _own,
    "episodes": _listed,
    "list": _saved,
    "results": _compared,
}
_CHANGED: dict[str, tuple[str, ...]] = {
    "coco": ("COCO2014/splits/val/fold0.pkl", "COCO2014/annotations/**/*.png"),
    "lvis": ("LVIS/*.pkl",),
    "paco_part": ("PACO-Part/paco/*.pkl",),
    "pascal_part": ("Pascal-Part/**/*.json",),
    "permis": ("PerMIRS/*/*.npy",),
    "isaid": ("iSAID/splits/val/*.txt", "iSAID/val/semantic_png/*.png"),
    "spair": ("SPair-71k/Layout/large/*.txt", "SPair-71k/PairAnnotation/test/*.json"),
    "folder": ("own/masks/cat/*.png", "own/images/*.png"),
    "episodes": ("own/episodes.json", "own/masks/*.png", "own/ignore/*.png"),
    "list": ("list.json",),
    "results": tuple(f"run/{name}" for name in _RUN),
}
