"""Which files are targets, and what their results are called."""

import io
import os
from pathlib import Path

import pytest

from insid3 import ImageError
from insid3.batch.sources import Shard, Target, find_targets
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


def pairs(found: list[Target]) -> list[tuple[str, str]]:
    return [(target.path.as_posix(), target.name) for target in found]


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a/1.jpg", "a/2.png", "b/deep/3.jpg", "b/text.md", "4.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_patterns(album: Path) -> None:
    everywhere = [("in/4.jpg", "4"), ("in/a/1.jpg", "a/1"), ("in/b/deep/3.jpg", "b/deep/3")]
    assert pairs(find_targets(["in/**/*.jpg"], "out")) == everywhere
    assert pairs(find_targets(["in/*/?.png"], "out")) == [("in/a/2.png", "a/2")]
    assert pairs(find_targets([str(album / "in" / "[ab]" / "*")], "out")) == [
        (str(album / "in/a/1.jpg"), "a/1"),
        (str(album / "in/a/2.png"), "a/2"),
    ]
    with pytest.raises(ImageError, match=r"no pictures in pattern in/\*\.gif"):
        find_targets(["in/*.gif"], "out")
    (album / "in" / "odd[1].jpg").write_bytes(b"")  # a file of that name is no pattern
    assert pairs(find_targets(["in/odd[1].jpg"], "out")) == [("in/odd[1].jpg", "odd[1]")]
    # nor is one that is not there: it fails on its own
    assert pairs(find_targets(["in/gone[1].jpg", "in/4.jpg"], "out")) == [
        ("in/4.jpg", "4"),
        ("in/gone[1].jpg", "gone[1]"),
    ]


def test_lists(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# chosen\nin/a/1.jpg\n\n  in/b/deep/3.jpg  \nin/gone.jpg\n"
    (album / "list.txt").write_text(text, "utf-8-sig")  # as Windows' editor does
    expected = [("in/a/1.jpg", "a/1"), ("in/b/deep/3.jpg", "b/deep/3"), ("in/gone.jpg", "gone")]
    assert pairs(find_targets(["list.txt"], "out")) == expected
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert pairs(find_targets(["-"], "out")) == expected
    (album / "in" / "near.txt").write_text("a/1.jpg\na/2.png\n")  # paths from the list's folder
    assert pairs(find_targets(["in/near.txt"], "out")) == [("in/a/1.jpg", "1"), ("in/a/2.png", "2")]
    (album / "none.txt").write_text("# nothing\n")
    with pytest.raises(ImageError, match=r"no pictures in list none\.txt"):
        find_targets(["none.txt"], "out")
    with pytest.raises(ImageError, match=r"list gone\.txt cannot be read"):
        find_targets(["gone.txt"], "out")
    (album / "bad.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ImageError, match=r"list bad\.txt cannot be read .*: it must hold a path a line"):
        find_targets(["bad.txt"], "out")


def test_shards_are_disjoint_and_complete(album: Path) -> None:
    found = find_targets(["in"], "out")
    parts = [Shard(i, 3).of(found) for i in (1, 2, 3)]
    assert sorted(name for part in parts for name in pairs(part)) == sorted(pairs(found))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
