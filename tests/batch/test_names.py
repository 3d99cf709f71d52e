"""File names that every disk and every format can take."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insid3.batch.names import exists, safe_name, slugs
from insid3.label_map import Label

RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$) *(\..*)?", re.IGNORECASE)


@pytest.mark.parametrize(
    "name",
    ["a", "v1.2", "deep/er/ü b (1)", "日本/猫", ".hidden", "100% sure", "a%3Ab", "console", "COM", "auxiliary.x"],
)
def test_ordinary_names_stay(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        (os.fsdecode(b"caf\xe9"), "caf%E9"),
        ("\ud800", "%ED%A0%80"),  # from JSON, or from Windows
        ("a\nb", "a%0Ab"),
        ("\x1b[31mred", "%1B[31mred"),
        ("a\u0085b\u2028", "a%C2%85b%E2%80%A8"),  # line ends for some
        ('<>:"|?*\\', "%3C%3E%3A%22%7C%3F%2A%5C"),
        ("12:30/shot?", "12%3A30/shot%3F"),
        ("dot.", "dot%2E"),
        ("dots..", "dots.%2E"),
        ("blank /x", "blank%20/x"),
        ("..", ".%2E"),
        ("NUL", "NU%4C"),
        ("con/Aux.v2", "co%6E/Au%78.v2"),
        ("com¹ .x", "com%C2%B9 .x"),
        ("a:100%", "a%3A100%25"),
    ],
)
def test_what_cannot_be_taken_is_escaped(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert safe_name(safe) == safe


@pytest.mark.parametrize("name", ["x" * 250, "é" * 120, "猫" * 84, "a:" * 100, f"{'x' * 250}/{'y' * 250}"])
def test_long_names_are_cut_and_told_apart(name: str) -> None:
    safe = safe_name(name)
    assert len((safe.rpartition("/")[2] + f".{'c' * 56}_overlay.jpg").encode()) <= 255
    assert re.search("~[0-9a-f]{10}$", safe)
    assert safe_name(safe) == safe
    assert safe_name(f"{name}2") != safe
    assert safe.startswith(name[:10].replace("a:", "a%3A")[:10])


def test_a_picture_keeps_its_suffix_and_a_folder_its_room() -> None:
    assert re.fullmatch("x+~[0-9a-f]{10}.JPG", safe_name("x" * 250 + ".JPG"))
    assert safe_name("d" * 255 + "/a") == "d" * 255 + "/a"
    assert len(safe_name("d" * 256 + "/a").partition("/")[0]) == 255


@given(st.lists(st.text(st.characters(exclude_characters="/")), min_size=1, max_size=3).map("/".join))
def test_any_name_becomes_one_that_can_be_taken(name: str) -> None:
    safe = safe_name(name)
    assert safe_name(safe) == safe
    assert (safe.count("/"), bool(safe)) == (name.count("/"), bool(name))
    for part in safe.split("/"):
        assert len(part.encode()) <= 255
        assert not re.search(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\]|[. ]$', part)
        assert not RESERVED.fullmatch(part)


@given(st.lists(st.text('ab%3A:\n?é"', min_size=1, max_size=4), min_size=2, max_size=8, unique=True))
def test_two_names_that_are_changed_never_become_one(names: list[str]) -> None:
    changed = [safe for name in names if (safe := safe_name(name)) != name]
    assert len(changed) == len({*changed})


def test_names_of_concepts() -> None:
    names = ["a/b", "a b", "A_B", "", os.fsdecode(b"\xe9"), "猫" * 60, "猫" * 61, "con"]
    found = slugs([Label(name, 1, (0, 0, 0)) for name in names])
    assert found[:5] == ["a_b", "a_b_2", "A_B_3", "_", "__5"]
    assert found[7] == "con"  # never alone in a file's name
    assert found[5] != found[6]
    assert all(len(slug.encode()) <= 56 for slug in found)


def test_a_name_that_no_disk_can_hold_is_not_there(tmp_path: Path) -> None:
    assert exists(tmp_path)
    assert not exists(tmp_path / ("x" * 300))
    assert not exists(tmp_path / "a\0b")
