"""Where the golden data is, and models that tests share."""

import json
import os
import runpy
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

if TYPE_CHECKING:
    from insid3 import INSID3, Concept
    from insid3.types import Encoder

hypothesis.settings.register_profile("insid3", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("insid3")

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("INSID3_SHARED") or ROOT.parent / "shared")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor fill the user's cache folder, unless told to."""
    os.environ.setdefault("INSID3_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The golden data of the published implementation; without it parity tests are skipped (`make parity` insists)."""
    if not (SHARED / "golden").is_dir():
        if os.environ.get("INSID3_REQUIRE_SHARED"):
            pytest.fail(f"no golden data in {SHARED}: set INSID3_SHARED")
        pytest.skip(f"no golden data in {SHARED} (set INSID3_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def cases(shared: Path) -> Path:
    """Files of other tools out of real life, and what is right in README.md; skipped and insisted on as `shared`."""
    if not (shared / "cases").is_dir():
        if os.environ.get("INSID3_REQUIRE_SHARED"):
            pytest.fail(f"no cases in {shared}: set INSID3_SHARED")
        pytest.skip(f"no cases in {shared}")
    return shared / "cases"


@pytest.fixture(scope="session")
def pictures() -> dict[str, Path]:
    """The real pictures that gradio's wheel ships, by stem."""
    found = find_spec("gradio")
    assert found is not None
    assert found.submodule_search_locations is not None
    folder = Path(found.submodule_search_locations[0])
    images = folder / "media_assets" / "images"
    names = {stem: images / f"{stem}.jpg" for stem in ("cheetah", "cheetah1", "lion", "tower")}
    return {**names, "cheetah2": folder / "test_data" / "cheetah2.jpg"}


@pytest.fixture(scope="session")
def model280() -> "INSID3":
    """The embedded backbone at a quick size, with its own settings."""
    from insid3 import INSID3  # not before the shape checks are in place

    return INSID3.from_pretrained(size=280)


@pytest.fixture(scope="session")
def stand_in(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """DINOv3 ViT-S/16 with made-up weights, as Meta publishes it: `.path` of the .pth, its `.state`, and `.inputs`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the script leaves a file open
        script = runpy.run_path(str(shared / "golden" / "dinov3" / "make_checkpoint.py"))
        state = script["checkpoint"]()
    path = tmp_path_factory.mktemp("dinov3") / "dinov3_vits16.pth"
    torch.save(state, path)
    return SimpleNamespace(path=path, state=state, inputs=script["inputs"]())


@pytest.fixture(scope="session")
def dinov3(stand_in: SimpleNamespace) -> "Encoder":
    """The encoder that holds the stand-in weights."""
    from insid3.backbones import load_encoder

    return load_encoder("dinov3-vits16", weights=stand_in.path, device="cpu", dtype="float32")


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
    from stubs import box_mask, scene

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


@pytest.fixture
def model() -> "INSID3":
    """One that sees colours."""
    from stubs import colour_model

    return colour_model()


@pytest.fixture
def red(model: "INSID3") -> "Concept":
    """What is red, by a box."""
    from stubs import box_mask, scene

    box = (16, 16, 48, 48)
    return model.concept(scene(box), box_mask(*box), name="red")


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Callable[..., Result]":
    """Run a command in tmp_path; models come with the colour encoder and keep their settings."""
    from insid3 import INSID3  # not before the shape checks are in place
    from insid3.cli import COMMANDS, app
    from stubs import box_mask, colour_model, scene

    box = (16, 16, 48, 48)

    for commands in COMMANDS:
        import_module(f"insid3.cli.{commands}")

    def from_pretrained(backbone: str, **options: object) -> "INSID3":
        for name in ("weights", "device", "dtype", "engine"):
            options.pop(name)
        return colour_model(**options)

    monkeypatch.setattr(INSID3, "from_pretrained", from_pretrained)
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(scene(box)).save("ref.png")
    Image.fromarray(box_mask(*box)).save("mask.png")
    Image.fromarray(scene((0, 0, 32, 32))).save("photos/a.png")
    Image.fromarray(scene((32, 0, 64, 64))).save("photos/b.png")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
