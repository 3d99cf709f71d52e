"""The docs: their tables are those of the code, their Python runs, and what they point to exists."""

import ast
import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = [
    pytest.param(code, id=f"{page.name}-{i}")
    for page in PAGES
    for i, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
]


@pytest.fixture(scope="module")
def settings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_tables", ROOT / ".ci" / "settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_of_settings_are_fresh(settings: ModuleType) -> None:
    assert settings.stale() == [], "run `make settings`"


def test_a_stale_table_is_seen_and_mended(settings: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in settings.PAGES:
        shutil.copy(ROOT / name, tmp_path / name)
    readme = tmp_path / "README.md"
    readme.write_text(readme.read_text("utf-8").replace("| `tau` |", "| `tow` |"), "utf-8")
    assert settings.stale(tmp_path) == ["README.md"]
    settings.write(tmp_path)
    assert settings.stale(tmp_path) == []
    assert readme.read_text("utf-8") == (ROOT / "README.md").read_text("utf-8")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that snippets name, and a model that sees colours."""
    from clips import moving, write_clip
    from insid3 import INSID3
    from stubs import box_mask, colour_model, scene

    monkeypatch.chdir(tmp_path)
    box = (80, 320, 320, 560)
    for name in ("cat", "dog", "target"):
        Image.fromarray(scene(box, size=(480, 640))).save(f"{name}.jpg")
        Image.fromarray(box_mask(*box, size=(480, 640))).save(f"{name}_mask.png")
    square = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 16, 16], "iscrowd": 0, "area": 256}
    square["segmentation"] = [[8, 8, 24, 8, 24, 24, 8, 24]]
    images = [{"id": 1, "file_name": "cat.jpg", "width": 640, "height": 480}]
    coco = {"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": [square]}
    Path("instances.json").write_text(json.dumps(coco))
    write_clip(Path("clip.mp4"), moving())
    monkeypatch.setattr(INSID3, "from_pretrained", lambda preset=None: colour_model())


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("code", SNIPPETS)
def test_snippets_run(code: str) -> None:
    if "gradio_client" in code:  # asks a server
        ast.parse(code)
        return
    known: dict[str, Any] = {}
    exec(compile(code, "snippet", "exec"), known)


def test_snippets_are_found() -> None:
    assert len(SNIPPETS) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_to_exists(page: Path) -> None:
    """Modules by their paths below `src/insid3`, scripts, other pages and their headings."""
    text = page.read_text("utf-8")
    for path in re.findall(r"`(?:src/insid3/)?((?:\w+/)+\w+\.py)`", text):
        assert any((folder / path).exists() for folder in (ROOT, ROOT / "src" / "insid3")), path
    for module in re.findall(r"`(insid3(?:\.\w+)+)", text):
        path = ROOT / "src" / Path(*module.split("."))
        names = [path.with_suffix(".py"), path, path.parent.with_suffix(".py"), path.parent / "__init__.py"]
        assert any(name.exists() for name in names), module
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in link:
            name, _, anchor = link.partition("#")
            other = page.parent / name if name else page
            assert other.exists(), link
            assert not anchor or anchor in headings(other), link


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}
