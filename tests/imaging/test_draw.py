"""Pictures to look at: right size, right place, input untouched."""

import numpy as np
import pytest

from insid3.imaging.colours import MAGENTA
from insid3.imaging.draw import heat, matches, overlay, relief, sheet
from stubs import box_mask, scene


def test_overlay_tints_inside_and_darkens_outside() -> None:
    picture, mask = np.full((64, 64, 3), 200, np.uint8), box_mask(16, 16, 48, 48)
    shown = overlay(picture, mask)
    assert shown.shape == (64, 64, 3)
    assert np.abs(shown[32, 32] - (0.6 * 200 + 0.4 * np.array(MAGENTA))).max() <= 1
    assert (shown[2, 2] == 150).all()
    assert (shown[15, 32] == MAGENTA).all()  # the outline, then its white rim
    assert (shown[14, 32] == 255).all()
    assert (picture == 200).all()


def test_overlay_of_a_large_picture_is_smaller() -> None:
    shown = overlay(np.zeros((300, 900, 3), np.uint8), np.ones((300, 900), bool), longest=450)
    assert shown.shape == (150, 450, 3)


@pytest.mark.parametrize("mask", [np.zeros((5, 7), bool), np.ones((5, 7), bool)])
def test_overlay_of_nothing_and_everything(mask: np.ndarray) -> None:
    shown = overlay(np.full((5, 7, 3), 100, np.uint8), mask)
    assert (shown == shown[0, 0]).all()


def test_heat_is_red_above_and_blue_below_zero() -> None:
    shown = heat(np.full((1, 3, 3), 128, np.uint8), np.array([[-1, 0, 1]], np.float32)).astype(int)
    assert shown[0, 0, 2] > shown[0, 0, 0]
    assert (shown[0, 1] == 128).all()
    assert shown[0, 2, 0] > shown[0, 2, 2]


def test_relief_goes_from_dark_at_the_lowest_to_bright_at_the_highest() -> None:
    grey = np.full((1, 3, 3), 128, np.uint8)
    low, middle, high = relief(grey, np.array([[0.4, 0.5, 0.6]])).astype(int)[0]
    assert low.sum() < middle.sum() < high.sum()
    assert low[2] > low[0]  # blue
    assert high[0] > high[2]  # yellow
    flat = relief(grey, np.full((1, 3), 0.7))
    assert (flat == flat[0, 0]).all()


def test_matches_marks_both_sides() -> None:
    left, right = scene(size=(64, 64)), scene(size=(32, 64))
    plain = matches(left, right, np.zeros((0, 2)), np.zeros((0, 2)), height=128)
    assert plain.shape == (128, 128 + 12 + 256, 3)
    drawn = matches(left, right, np.array([[32.0, 32.0]]), np.array([[48.0, 16.0]]), height=128)
    changed = (drawn != plain).any(-1)
    assert changed[64, 64]  # (32, 32) at twice the size
    assert changed[64, 128 + 12 + 192]  # (48, 16) at four times
    assert not changed[:40].any()


def test_sheet_holds_every_picture() -> None:
    page = sheet([scene(), scene(size=(20, 60))] * 2, list("abcd"), columns=3, side=100)
    assert page.shape == ((100 + 34 + 16) + (33 + 34 + 16) + 16, 3 * 116 + 16, 3)  # a row is as high as it must be
    assert (page[66, 66] == [0, 0, 200]).all()
