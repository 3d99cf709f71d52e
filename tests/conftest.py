"""Where the golden data is, and models that tests share."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("INSID3_SHARED") or ROOT.parent / "shared")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The golden data of the published implementation; without it parity tests are skipped (`make parity` insists)."""
    if not (SHARED / "golden").is_dir():
        if os.environ.get("INSID3_REQUIRE_SHARED"):
            pytest.fail(f"no golden data in {SHARED}: set INSID3_SHARED")
        pytest.skip(f"no golden data in {SHARED} (set INSID3_SHARED)")
    return SHARED


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
