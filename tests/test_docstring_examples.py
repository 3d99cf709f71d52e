"""The examples in docstrings are true or at least run; every stage and every public name has one."""

import doctest
import importlib
import inspect
import json
import pkgutil
from pathlib import Path

import pytest
from PIL import Image

import insid3
from clips import write_clip
from insid3 import INSID3, stages
from stubs import box_mask, colour_model, scene

STAGES = [each.name for each in pkgutil.walk_packages(stages.__path__, "insid3.stages.") if not each.ispkg]
OTHERS = ["backbones", "backbones.layouts", "backbones.registry"]
OTHERS += [f"imaging.{name}" for name in ("components", "depth", "points", "resizing")]


@pytest.mark.parametrize("name", [*STAGES, *(f"insid3.{name}" for name in OTHERS)])
def test_examples_are_true(name: str) -> None:
    """`doctest.testmod` would skip functions that the shape checks wrap, so each one is searched by itself."""
    module = importlib.import_module(name)
    described = [each for each in vars(module).values() if inspect.isroutine(each) or inspect.isclass(each)]
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(verbose=False)
    found = [
        example
        for each in described
        if each.__module__ == name
        for example in finder.find(each, each.__name__, module=False, globs=vars(module))
    ]
    for example in found:
        runner.run(example)
    assert any(example.examples for example in found)
    assert not runner.failures


BOX = (16, 16, 48, 48)
PUBLIC = [name for name in insid3.__all__ if not name.endswith("Error")]


def make_files(folder: Path) -> None:
    """Write the files that the examples of public names read."""
    (folder / "cats").mkdir()
    for name in ("cat.jpg", "dog.jpg", "target.jpg", "cats/7.jpg"):
        Image.fromarray(scene(BOX, colour=int(name == "dog.jpg"))).save(folder / name, quality=95)
    for name in ("cat_mask.png", "dog_mask.png"):
        Image.fromarray(box_mask(*BOX)).save(folder / name)
    points = [[16, 16], [48, 16], [48, 48], [16, 48]]
    shape = {"label": "cat", "shape_type": "polygon", "points": points}
    facts = {"imagePath": "cat.jpg", "imageHeight": 64, "imageWidth": 64, "shapes": [shape]}
    (folder / "cat.json").write_text(json.dumps(facts))
    outline = [coordinate for point in points for coordinate in point]
    coco = {
        "images": [{"id": 1, "file_name": "cats/7.jpg", "height": 64, "width": 64}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [outline]}],
    }
    (folder / "instances.json").write_text(json.dumps(coco))


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_of_public_names_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(INSID3, "from_pretrained", colour_model)
    make_files(tmp_path)
    model = colour_model()
    names = {each: getattr(insid3, each) for each in insid3.__all__} | {"model": model}
    names |= {each: model.concept(f"{each}.jpg", f"{each}_mask.png", name=each) for each in ("cat", "dog")}
    if name == "Memory":
        write_clip(tmp_path / "clip.mp4", [scene(BOX)] * 12)
        names["clip"] = importlib.import_module("insid3.video.clip").Clip(tmp_path / "clip.mp4")
    lines = doctest.script_from_examples(getattr(insid3, name).__doc__)
    assert lines.strip()
    exec(lines.replace("range(0, 300, 5)", "range(0, 12, 5)"), names)
