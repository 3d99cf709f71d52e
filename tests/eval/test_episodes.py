"""Lists of episodes as values."""

from dataclasses import replace
from pathlib import Path

import pytest

from insid3.errors import DataError
from insid3.eval.datasets import DATASETS, draw
from insid3.eval.episodes import digest_of, files_of, load, save
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
        ('"id": "red0"', '"id": 5', "5 is no text"),
        (
            '"picture": "images/red_b.png"',
            '"picture": "../secret.png"',
            "'../secret.png' lies outside of the data root",
        ),
        ('"masks/red_b.png"', '"/etc/passwd"', "'/etc/passwd' lies outside of the data root"),
        ('"masks/red_b.png"', "7", "7 is no text"),
        ('"box": null', '"box": [1, 2, 3]', r"box \(1, 2, 3\)"),
        ('"box": null', '"box": [0, 0, "3", 4]', "box"),
        ('"fold": 0', '"fold": "0"', "fold, shots, seed, length"),
        ('"classes": {"red": "red"}', '"classes": {"red": 3}', "3 is no text"),
    ],
)
def test_values_of_other_types_are_named(own: Path, tmp_path: Path, before: str, after: str, message: str) -> None:
    save(draw([f"episodes:{own}"]), tmp_path / "list.json")
    text = (tmp_path / "list.json").read_text()
    assert before in text
    (tmp_path / "list.json").write_text(text.replace(before, after, 1))
    with pytest.raises(DataError, match=f"list.json is not a list of episodes .*{message}"):
        load(tmp_path / "list.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a list of episodes"),
        ("[]", "is not a list of episodes"),
        ('{"format": "insid3-episodes", "version": 2, "lists": []}', "that this insid3 reads: draw it again"),
        ('{"format": "insid3-episodes", "version": 1, "lists": [{}]}', "is not a list of episodes"),
        ('{"format": "insid3-episodes", "version": 1, "lists": [{"episodes": [{"id": 1}]}]}', "not a list of episodes"),
    ],
)
def test_damaged_lists_are_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "episodes.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        load(path)
    with pytest.raises(DataError, match=r"none.json: No such file"):
        load(tmp_path / "none.json")
