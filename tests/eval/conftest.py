"""The miniature data sets, and episodes that the colour encoder can solve."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stubs import box_mask, scene


@pytest.fixture(scope="session")
def mini(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten data sets in their published layouts, a few pictures each."""
    out = tmp_path_factory.mktemp("mini")
    script = runpy.run_path(str(shared / "benchmarks" / "make_mini.py"))
    before, sys.argv = sys.argv, ["make_mini.py", str(out)]
    try:
        script["main"]()
    finally:
        sys.argv = before
    return out


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Six episodes of two sets: find the red box, or the green one."""
    folder = tmp_path / "own"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    boxes = {"a": (0, 0, 32, 32), "b": (32, 32, 64, 64), "c": (8, 8, 40, 56), "d": (16, 16, 48, 48)}
    for colour, cls in enumerate(("red", "green")):
        for stem, box in boxes.items():
            Image.fromarray(scene(box, colour=colour)).save(folder / "images" / f"{cls}_{stem}.png")
            Image.fromarray(box_mask(*box).astype(np.uint8) * 255).save(folder / "masks" / f"{cls}_{stem}.png")
    episodes = [
        {"id": f"{cls}{i}", "set": name, "cls": cls, "ref": [f"{cls}_a"], "tgt": f"{cls}_{stem}"}
        for cls, name in (("red", "warm"), ("green", "cold"))
        for i, stem in enumerate("bcd")
    ]
    (folder / "episodes.json").write_text(json.dumps(episodes))
    return folder
