"""What must be installed: versions without known holes, here and for whoever installs the oldest that is allowed."""

import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from conftest import ROOT

#: The first version in which the holes that are known of a package are mended, and what they were.
SOUND = {
    "torch": ("2.10", "weights_only=True runs code: CVE-2025-32434, CVE-2026-24747"),
    "Pillow": ("12.2", "writes beyond its memory, bombs: CVE-2025-48379, CVE-2026-25990, CVE-2026-40192"),
    "filelock": ("3.20.3", "follows links: CVE-2025-68146, CVE-2026-22701"),
    "onnx": ("1.21", "writes outside its folder: CVE-2024-7776, CVE-2025-51480, CVE-2026-27489"),
    "protobuf": ("6.33.5", "recursion without end: CVE-2025-4565, CVE-2026-0994"),
    "ray": ("2.55", "browsers reach its dashboard: CVE-2025-62593, CVE-2026-27482"),
    "gradio": ("6.7", "reads other files, asks other servers: CVE-2026-28414, CVE-2026-28416"),
    "starlette": ("0.49.1", "hangs on a header: CVE-2025-54121, CVE-2025-62727"),
    "python-multipart": ("0.0.26", "hangs on a form: CVE-2024-53981, CVE-2026-24486"),
    "pillow-heif": ("1.3", "reads beyond its memory: CVE-2026-28231"),
    "pyyaml": ("5.4", "runs code: CVE-2020-14343"),
    "pytest": ("9.0.3", "a folder that all may write to: CVE-2025-71176"),
}
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIRED = [
    Requirement(one)
    for some in (_PROJECT["dependencies"], *_PROJECT["optional-dependencies"].values())
    for one in some
    if not one.startswith("insid3[")
]


@pytest.mark.parametrize("name", SOUND)
def test_no_version_with_a_known_hole_is_allowed(name: str) -> None:
    bounds = [found for found in REQUIRED if found.name.casefold() == name.casefold()]
    assert bounds
    for bound in bounds:
        lowest = [Version(one.version) for one in bound.specifier if one.operator in (">=", "==")]
        assert lowest, bound
        assert max(lowest) >= Version(SOUND[name][0]), SOUND[name][1]


@pytest.mark.parametrize("requirement", REQUIRED, ids=str)
def test_what_is_installed_is_what_is_asked_for(requirement: Requirement) -> None:
    assert requirement.specifier.contains(version(requirement.name), prereleases=True)
