"""Which files are targets, and what their results are called."""

import os
from pathlib import Path

import pytest

from insid3 import ImageError
from insid3.batch.sources import find_targets
from insid3.errors import OutputError


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def names(*inputs: Path, out: Path) -> dict[str, str]:
    common = inputs[0] if inputs[0].is_dir() else inputs[0].parent
    return {target.path.relative_to(common).as_posix(): target.name for target in find_targets(inputs, out)}


def test_folders_are_recursive_and_mirrored(tmp_path: Path) -> None:
    tree(tmp_path / "in", "b.JPG", "a.png", "deep/er/c.tiff", "notes.txt", ".hidden.jpg", ".git/d.jpg")
    found = find_targets([tmp_path / "in"], tmp_path / "out")
    assert [target.name for target in found] == ["a", "b", "deep/er/c"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["1.jpg", "1.png", "2.jpg"], {"1.jpg": "1.jpg", "1.png": "1.png", "2.jpg": "2"}),
        (["x/1.jpg", "y/1.png"], {"x/1.jpg": "x/1", "y/1.png": "y/1"}),
        (["A.jpg", "a.png"], {"A.jpg": "A.jpg", "a.png": "a.png"}),
        (["1.jpg", "1.png", "1.jpg.gif"], {"1.jpg": "1.jpg", "1.png": "1.png", "1.jpg.gif": "1.jpg.gif"}),
        (["v1.2.jpg"], {"v1.2.jpg": "v1.2"}),
    ],
)
def test_equal_stems_keep_the_extension(tmp_path: Path, files: list[str], expected: dict[str, str]) -> None:
    assert names(tree(tmp_path / "in", *files), out=tmp_path / "out") == expected


@pytest.mark.parametrize("out", ["in/out", "in/deep"])
def test_what_lies_under_the_output_is_no_target(tmp_path: Path, out: str) -> None:
    tree(tmp_path / "in", "a.png", "out/a.png", "deep/b.png")
    found = names(tmp_path / "in", out=tmp_path / out)
    assert not [name for name in found if (tmp_path / "in" / name).is_relative_to(tmp_path / out)]
    assert "a.png" in found


def test_files_as_given_even_if_missing(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "out/b.png")
    given = [tmp_path / "a.png", tmp_path / "gone.jpg", tmp_path / "a.png", tmp_path / "out" / "b.png"]
    assert names(*given, out=tmp_path / "out") == {"a.png": "a", "gone.jpg": "gone"}


def test_nothing_to_do(tmp_path: Path) -> None:
    tree(tmp_path / "in", "notes.txt")
    with pytest.raises(ImageError, match=r"no pictures in .*in \(looked for .*\.jpg"):
        find_targets([tmp_path / "in"], tmp_path / "out")
    tree(tmp_path / "in", "a.png")
    with pytest.raises(ImageError, match=r"no pictures in .*not below"):
        find_targets([tmp_path / "in"], tmp_path / "in")
    with pytest.raises(ImageError, match="no targets: what lies below the output folder"):
        find_targets([tmp_path / "in" / "a.png"], tmp_path / "in")


def test_two_folders_with_the_same_names(tmp_path: Path) -> None:
    tree(tmp_path, "one/a.png", "two/a.png")
    with pytest.raises(OutputError, match=r"would both write a\.png\.png: run them with separate output folders"):
        find_targets([tmp_path / "one", tmp_path / "two"], tmp_path / "out")


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in" / "secret").mkdir(parents=True)
    (tmp_path / "in" / "a.png").write_bytes(b"x")
    listing = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ImageError, match=r"secret cannot be read \(Permission denied\)"):
        find_targets([tmp_path / "in"], tmp_path / "out")
