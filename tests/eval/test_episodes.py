"""Lists of episodes as values."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from insid3.errors import DataError
from insid3.eval.datasets import DATASETS, checked, draw
from insid3.eval.episodes import Episode, EpisodeList, Pair, View, digest_of, files_of, load, save
from insid3.eval.reader import Readers


def test_saved_lists_come_back_equal(mini: Path, own: Path, tmp_path: Path) -> None:
    lists = draw([*DATASETS, f"episodes:{own}"], Readers(mini), limit=3)
    save(lists, tmp_path / "episodes.json")
    found = load(tmp_path / "episodes.json")
    assert found == lists
    assert digest_of(found) == digest_of(lists)
    save(found, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "episodes.json").read_bytes()


def test_the_hash_tells_what_is_run_and_not_what_it_is_called(own: Path) -> None:
    lists = draw([f"episodes:{own}"])
    warm = lists[0]
    other = replace(warm, episodes=(replace(warm.episodes[0], id="other"), *warm.episodes[1:]))
    assert digest_of([other]) == digest_of([warm])
    other = replace(warm, episodes=(replace(warm.episodes[0], cls="other"), *warm.episodes[1:]))
    assert digest_of([other]) != digest_of([warm])
    assert digest_of(lists[::-1]) != digest_of(lists)


def test_every_file_of_the_miniature_sets_is_there(mini: Path) -> None:
    for each in draw([*DATASETS], Readers(mini), limit=20):
        for episode in each.episodes:
            files = files_of(episode)
            assert len(files) >= 2
            assert all((mini / file).is_file() for file in files)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"id": "red0"', '"id": 5', "has 5 as id, not text"),
        (
            '"picture": "images/red_b.png"',
            '"picture": "../secret.png"',
            "the file name '../secret.png', which lies outside of the data root",
        ),
        ('"masks/red_b.png"', '"/etc/passwd"', "the file name '/etc/passwd', which lies outside of the data root"),
        ('"masks/red_b.png"', "7", "has 7 as file name, not text"),
        ('"box": null', '"box": [1, 2, 3]', r"has the box \(1, 2, 3\)"),
        ('"box": null', '"box": [0, 0, "3", 4]', "has the box"),
        ('"fold": 0', '"fold": "0"', "has '0' as fold, not a whole number"),
        ('"classes": {"red": "red"}', '"classes": {"red": 3}', "has 3 as class, not text"),
    ],
)
def test_values_of_other_types_are_named(own: Path, tmp_path: Path, before: str, after: str, message: str) -> None:
    save(draw([f"episodes:{own}"]), tmp_path / "list.json")
    text = (tmp_path / "list.json").read_text()
    assert before in text
    (tmp_path / "list.json").write_text(text.replace(before, after, 1))
    with pytest.raises(DataError, match=f"list.json is damaged, or no list of episodes file: it .*{message}"):
        load(tmp_path / "list.json")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e8", "-1e8", '"5"', "null"])
@pytest.mark.parametrize("place", ["point", "threshold"])
def test_points_are_numbers_of_pixels(mini: Path, tmp_path: Path, value: str, place: str) -> None:
    (each,) = draw(["spair"], Readers(mini), limit=1)
    (pair,) = each.episodes
    assert isinstance(pair, Pair)
    marked = {"threshold": 4242.0} if place == "threshold" else {"source_points": ((4242.0, 1.0),)}
    save([replace(each, episodes=(replace(pair, **marked),))], tmp_path / "list.json")
    text = (tmp_path / "list.json").read_text()
    assert text.count("4242.0") == 1
    (tmp_path / "list.json").write_text(text.replace("4242.0", value))
    with pytest.raises(DataError, match="that are no numbers of pixels, such as"):
        load(tmp_path / "list.json")


GOOD = ["a b.png", "\u00a0.png", "👩\u200d🚀.png", "\u202e.png", "\ue000.png", "\u0378", "é" * 125, "a" * 251]


@pytest.mark.parametrize("name", GOOD, ids=range(len(GOOD)))
def test_names_that_disks_take(own: Path, tmp_path: Path, name: str) -> None:
    """Blanks of any width, joiners, private and unassigned letters are accepted."""
    lists = draw([f"episodes:{own}"])
    first, *others = lists[0].episodes
    assert isinstance(first, Episode)
    changed = replace(first, id=name, cls=name, target=View(f"{name}/b.png", ("any", f"m/{name}.png"[:-4])))
    one = replace(lists[0], set=name, classes={**lists[0].classes, name: name}, episodes=(changed, *others))
    save([one], tmp_path / "list.json")
    assert checked(load(tmp_path / "list.json")) == [one]


@pytest.mark.parametrize("odd", ["a\0", "a\n", "\x1b[1m", "\x7f", "\x85", "\udcff"])
@pytest.mark.parametrize("place", ["id", "cls", "picture", "mask"])
def test_names_that_nothing_can_have(own: Path, tmp_path: Path, odd: str, place: str) -> None:
    lists = draw([f"episodes:{own}"])
    first, *others = lists[0].episodes
    assert isinstance(first, Episode)
    if place in ("picture", "mask"):
        changed = replace(first, target=replace(first.target, **{place: odd if place == "picture" else ("any", odd)}))  # type: ignore[arg-type]
    else:
        changed = replace(first, **{place: odd})  # type: ignore[arg-type]
    one = replace(lists[0], classes={**lists[0].classes, odd: odd} if place == "cls" else lists[0].classes)
    save([replace(one, episodes=(changed, *others))], tmp_path / "list.json")
    with pytest.raises(DataError, match="holds control characters or bytes that are no text: rename it"):
        load(tmp_path / "list.json")


def test_names_are_as_long_as_disks_have_them(own: Path) -> None:
    """The limit is in bytes, and holds for masks, which are named after their episodes."""
    lists = draw([f"episodes:{own}"])
    first, *others = lists[0].episodes
    assert isinstance(first, Episode)

    def changed(**values: Any) -> list[EpisodeList]:
        return [replace(lists[0], episodes=(replace(first, **values), *others))]

    for most, name in ((251, "a" * 251), (250, "é" * 125)):
        assert len(name.encode()) == most
        checked(changed(id=name))
        checked(changed(target=View(f"{name}aaaa/{name}.png", first.target.mask)))
        with pytest.raises(DataError, match="files cannot be called so, rename it"):
            checked(changed(id=name + "é"))
        with pytest.raises(DataError, match="a part has more than 255 bytes: rename it"):
            checked(changed(target=View(f"{name}/{name}éé.png", first.target.mask)))


@pytest.mark.skipif(sys.platform != "linux", reason="a disk that takes any bytes")
def test_a_folder_whose_own_name_is_no_text(own: Path, tmp_path: Path) -> None:
    root = tmp_path / "\udcff"
    root.symlink_to(own)
    lists = draw([f"episodes:{root}"])
    lists = [replace(each, root=str(root)) for each in lists]
    save(lists, tmp_path / "list.json")
    assert load(tmp_path / "list.json") == lists


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no list of episodes file"),
        ("[]", "no list of episodes file"),
        ('{"format": "insid3-episodes", "version": 2, "lists": []}', "that this insid3 reads: draw it again"),
        ('{"format": "insid3-episodes", "version": 1, "lists": [{}]}', "no list of episodes file"),
        (
            '{"format": "insid3-episodes", "version": 1, "lists": [{"episodes": [{"id": 1}]}]}',
            "no list of episodes file",
        ),
    ],
)
def test_damaged_lists_are_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "episodes.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        load(path)
    with pytest.raises(DataError, match=r"none.json: No such file"):
        load(tmp_path / "none.json")
