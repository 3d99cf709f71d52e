"""The search for targets, and the names of their results."""

import io
import os
import re
from pathlib import Path

import pytest

from insid3 import ImageError
from insid3.batch.passed import Passed
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
    (album / "folder.txt" / "in it").mkdir(parents=True)
    with pytest.raises(ImageError, match=r"no pictures in folder folder\.txt"):
        find_targets(["folder.txt"], "out")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_as_other_programs_write_them(album: Path, encoding: str, end: str) -> None:
    (album / "in" / "\u2028é.jpg").write_bytes(b"")
    (album / "list.txt").write_bytes(f"in/4.jpg{end}in/\u2028é.jpg{end}".encode(encoding))
    assert pairs(find_targets(["list.txt"], "out")) == [("in/\u2028é.jpg", "%E2%80%A8é"), ("in/4.jpg", "4")]


def test_a_list_on_standard_input_holds_any_bytes(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = b"in/caf\xe9.jpg\nin/4.jpg\nclip.mp4\n"
    (album / "in" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw), "utf-8"))
    passed = Passed()
    assert [target.name for target in find_targets(["-"], "out", passed)] == ["4", "caf%E9"]
    assert str(passed) == "1 video (insid3 video)"


def test_shards_are_disjoint_and_complete(album: Path) -> None:
    found = find_targets(["in"], "out")
    parts = [Shard(i, 3).select(found) for i in (1, 2, 3)]
    assert sorted(name for part in parts for name in pairs(part)) == sorted(pairs(found))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


ODD = {
    b"caf\xe9.jpg": "caf%E9",
    b"two\nlines.jpg": "two%0Alines",
    b"\x1b[31m.jpg": "%1B[31m",
    b"CON.jpg": "CO%4E",
    b"a:b.jpg": "a%3Ab",
    b"dot..jpg": "dot%2E",
    b"sub./x.jpg": "sub%2E/x",
}


@pytest.mark.skipif(os.name == "nt", reason="names that Windows has not")
def test_results_have_names_that_every_disk_takes(tmp_path: Path) -> None:
    tree(tmp_path / "in", *map(os.fsdecode, ODD), "plain.jpg", f"{'x' * 245}.jpg", f"{'x' * 245}.png", "p.jpg.jpg")
    found = find_targets([tmp_path / "in"], tmp_path / "out")
    made = {os.fsencode(target.path.relative_to(tmp_path / "in")): target for target in found}
    assert {name: made[name].name for name in ODD} == ODD
    assert all(made[name].is_renamed for name in ODD)
    assert not made[b"plain.jpg"].is_renamed
    assert made[b"p.jpg.jpg"].name == "p.jpg"
    long = {target.name for name, target in made.items() if name.startswith(b"xxx")}
    assert len(long) == 2
    assert all(len(name) <= 180 for name in long)


@pytest.mark.skipif(os.name == "nt", reason="names that Windows has not")
def test_a_name_and_what_another_becomes(tmp_path: Path) -> None:
    tree(tmp_path / "in", "a:b.jpg", "a%3Ab.png")  # as equal stems do
    assert names(tmp_path / "in", out=tmp_path / "out") == {"a:b.jpg": "a%3Ab.jpg", "a%3Ab.png": "a%3Ab.png"}
    tree(tmp_path / "in", "a%3Ab.jpg")
    with pytest.raises(OutputError, match=r"would both write a%3Ab\.jpg\.png"):
        find_targets([tmp_path / "in"], tmp_path / "out")


PASSED = {
    "a.HEIC": '1 HEIC (pip install "insid3[heif]" reads them)',
    "a.dng": "1 DNG (raw photographs: develop them first)",
    "a.Cr2": "1 CR2 (raw photographs: develop them first)",
    "a.psd": "1 PSD (save them as PNG or TIFF first)",
    "a.MOV": "1 video (insid3 video)",
    ".a.jpg": "1 hidden file",
    "._a.jpg": "1 hidden file",
    ".git/config": "1 hidden folder",
    "a.json": "1 other file (.json)",
    "README": "1 other file (no suffix)",
}


@pytest.mark.parametrize("name", PASSED)
@pytest.mark.parametrize("pattern", ["in", "in/*", "in/**", "in/**/*"])
def test_what_is_passed_over_is_told_by_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, pattern: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("insid3.batch.sources.SUFFIXES", {".jpg", ".png"})  # some of what is installed reads more
    tree(tmp_path / "in", name, "b.jpg")
    passed = Passed()
    assert [target.name for target in find_targets([pattern], "out", passed)] == ["b"]
    assert str(passed) == PASSED[name]
    (tmp_path / "in" / "b.jpg").unlink()
    with pytest.raises(ImageError, match=f"not below out\\); passed over: {re.escape(PASSED[name])}$"):
        find_targets([pattern], "out")


def test_kinds_are_counted_and_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insid3.batch.sources.SUFFIXES", {".jpg", ".png"})
    many = [f"{i}.{suffix}" for i in range(2) for suffix in ("HEIC", "heif", "dng", "nef", "mp4", "json", "txt")]
    tree(tmp_path / "in", *many, "a.jpg", "out/1.json", "out/a_overlay.jpg", "deep/.x", *(f"z.{c}" for c in "abcdefgh"))
    passed = Passed()
    find_targets([tmp_path / "in", tmp_path / "in", tmp_path / "in" / "deep" / ".x"], tmp_path / "in" / "out", passed)
    assert len(passed) == 2 * 7 + 8  # neither what lies below the output, nor twice, nor what is given by name
    assert str(passed) == (
        '2 HEIC, 2 HEIF (pip install "insid3[heif]" reads them), 2 DNG, 2 NEF (raw photographs: develop them first), '
        "2 videos (insid3 video), 12 other files (.a, .b, .c, .d, .json, .txt, ...)"
    )


@pytest.mark.skipif(os.name == "nt", reason="links and pipes")
@pytest.mark.parametrize("given", ["in", "in/**/*.jpg", "in/**"])
def test_links_and_pipes_are_neither_followed_nor_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "in/a.jpg", "in/sub/b.jpg", "far/c.jpg")
    for link, target in (
        ("in/up", ".."),
        ("in/sub/far", "../../far"),
        ("in/self.jpg", "self.jpg"),
        ("in/l.jpg", "a.jpg"),
    ):
        Path(link).symlink_to(target)
    Path("in/gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo("in/pipe.jpg")
    passed = Passed()
    found = find_targets([given], "out", passed)
    assert [target.name for target in found] == ["a", "gone", "l", "sub/b"]  # what is gone fails on its own
    assert str(passed) == "2 linked folders (not followed), 1 link in a circle, 1 pipe, socket or device"
    assert pairs(find_targets(["in/sub/far"], "out")) == [("in/sub/far/c.jpg", "c")]  # the link itself is given
    assert pairs(find_targets(["in/*/far/*"], "out")) == [("in/sub/far/c.jpg", "sub/far/c")]
    with pytest.raises(ImageError, match=r"^no targets; passed over: 1 pipe, socket or device$"):
        find_targets(["in/pipe.jpg"], "out")
    assert pairs(find_targets(["in/self.jpg", "x" * 300], "out"))[0] == ("in/self.jpg", "self")


def test_a_pattern_tells_of_folders_that_it_does_not_look_into(album: Path) -> None:
    passed = Passed()
    assert pairs(find_targets(["in/*"], "in/a", passed)) == [("in/4.jpg", "4")]
    assert str(passed) == "1 folder (a pattern with ** looks into them)"
    assert pairs(find_targets(["in/a/../*.jpg"], "out")) == [("in/a/../4.jpg", "4")]
