"""Connected parts on tables drawn by hand."""

import numpy as np
import pytest

from insid3.imaging.components import Instance, cleaned, split

MASK = np.array(
    [
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 1, 1],
        [0, 0, 0, 0, 1, 1],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 1],
    ],
    bool,
)


def test_neighbours_are_eight() -> None:
    parts = split(MASK, concept=2)
    assert [part.box for part in parts] == [(0, 0, 3, 2), (4, 1, 6, 3), (0, 3, 3, 6), (5, 5, 6, 6)]
    assert [part.area for part in parts] == [3, 4, 8, 1]
    assert {part.concept for part in parts} == {2}
    assert (np.add.reduce([part.whole(MASK.shape).astype(int) for part in parts]) == MASK).all()


def test_scores_are_means_of_the_similarity() -> None:
    similarity = np.where(np.arange(6) < 3, 0.5, -0.25) * np.ones((6, 1))
    similarity[1, 2] = 2.0
    assert [part.score for part in split(MASK, similarity)] == [1.0, 0.0, 0.5, 0.0]
    assert [part.score for part in split(MASK)] == [1.0] * 4


def test_a_whole_mask_is_one_object() -> None:
    whole = Instance.from_mask(MASK, score=0.3)
    assert (whole.box, whole.area, whole.score) == ((0, 0, 6, 6), MASK.sum(), 0.3)
    inner = np.zeros((9, 9), bool)
    inner[2:4, 5] = True
    assert Instance.from_mask(inner).box == (5, 2, 6, 4)
    with pytest.raises(ValueError, match="no object"):
        Instance.from_mask(np.zeros((3, 3), bool))
    assert split(np.zeros((3, 3), bool)) == []


def test_small_parts_and_holes() -> None:
    assert cleaned(MASK, min_area=4).sum() == 12
    filled = cleaned(MASK, fill_holes=True)
    assert filled[4, 1]
    assert filled.sum() == MASK.sum() + 1
    assert cleaned(MASK, 9, fill_holes=True).sum() == 9  # holes are filled before parts are measured
    assert (cleaned(MASK) == MASK).all()
    assert not cleaned(MASK, 100).any()
