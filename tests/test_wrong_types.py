"""Arguments of a wrong type are refused in words. Other processes: tests check types before the package can."""

import subprocess
import sys
from pathlib import Path

import pytest

PRELUDE = """
import numpy as np
from insid3 import Concept, Insid3Error
from stubs import box_mask, colour_model, scene
BOX = (16, 16, 48, 48)
model, picture, mask = colour_model(), scene(BOX), box_mask(*BOX)
red = model.concept(picture, mask)
assert model.encode_many([]) == []
assert len(model.encode_many(one for one in [picture, picture])) == 2
for number, call in enumerate([
    lambda: model.segment(picture, "cat"), lambda: model.match(picture, None, [[1, 1]]),
    lambda: model.label(picture, ["cat"]), lambda: model.label(picture, red), lambda: model.segment_many([picture], 3),
    lambda: model.extend("cat", picture, mask), lambda: model.redraw([red], mask),
    lambda: model.segment(3, red), lambda: model.segment(None, red), lambda: model.segment([picture], red),
    lambda: model.segment((one for one in [picture]), red), lambda: model.concept({"a": 1}, mask),
    lambda: model.concept((one for one in [picture]), mask), lambda: model.concept(picture, object()),
    lambda: model.encode_many([picture, 3.5]),
]):
    try:
        call()
    except Insid3Error as error:
        print(number, error)
    else:
        print(number, "nothing")
"""
CONCEPT = "expected a concept, which model.concept or Concept.load makes, got"
PICTURE = "a picture must be a path, a PIL image, an array or a tensor, got"


@pytest.fixture(scope="module")
def told() -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.splitlines()


def test_what_is_no_concept(told: list[str]) -> None:
    assert told[:7] == [
        f"0 {CONCEPT} 'cat'", f"1 {CONCEPT} None", f"2 {CONCEPT} 'cat'",
        "3 concepts must be a list: use segment for one",
        f"4 {CONCEPT} 3", f"5 {CONCEPT} 'cat'", f"6 {CONCEPT} [something of type Concept]",
    ]  # fmt: skip


def test_what_is_no_picture(told: list[str]) -> None:
    assert told[7:9] == [f"7 {PICTURE} 3", f"8 {PICTURE} None"]
    assert told[9] == f"9 {PICTURE} [an array of shape 64 x 64 x 3]"
    assert told[10:] == [
        f"10 {PICTURE} something of type generator", f"11 {PICTURE} something of type dict",
        f"12 {PICTURE} something of type generator", f"13 {PICTURE} something of type object", f"14 {PICTURE} 3.5",
    ]  # fmt: skip
