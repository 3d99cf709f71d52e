"""Stage 6: patches to pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import oracles
from insid3.stages.refine import blend_to_pixels, to_pixels


@pytest.mark.parametrize(
    ("patches", "side", "size", "expected"),
    [
        ("1. ..", 4, (4, 4), "11.. 11.. .... ...."),  # weights 1, 3/4, 1/4, 0 on each axis: 9/16 is above half
        ("1. ..", 4, (2, 4), "11.. ...."),
        ("11 1.", 4, (4, 4), "1111 1111 11.. 11.."),  # inside its quarter the empty corner weighs 9/16
        ("1. .1", 4, (4, 4), "11.. 11.. ..11 ..11"),
        ("11 11", 4, (3, 5), "11111 11111 11111"),
        (".. ..", 4, (3, 5), "..... ..... ....."),
        ("1. 1.", 6, (1, 1), "."),  # half of the picture is not above half
    ],
)
def test_by_hand(patches: str, side: int, size: tuple[int, int], expected: str) -> None:
    grid = torch.tensor([[patch == "1" for patch in row] for row in patches.split()])
    found = " ".join(
        "".join(".1"[pixel] for pixel in row) for row in to_pixels(grid, side // 2, (side, side), size).tolist()
    )
    assert found == expected


@given(arrays(bool, (4, 4)), st.sampled_from([(16, 16), (32, 16), (8, 64), (21, 13), (5, 47)]))
def test_parity(patches: np.ndarray, size: tuple[int, int]) -> None:
    square = oracles.bilinear(patches, (16, 16)) > 0.5
    exact = oracles.bilinear(square, size)
    found = to_pixels(torch.from_numpy(patches), 4, (16, 16), size).numpy()
    decided = abs(exact - 0.5) > 1e-5  # a pixel at just half may round to either side where sizes do not divide
    assert (found == (exact > 0.5))[decided].all()
    assert size not in [(16, 16), (32, 16), (8, 64)] or (found == (exact > 0.5)).all()


@given(arrays(bool, (5, 5)))
def test_mirrored_patches_give_the_mirrored_mask(patches: np.ndarray) -> None:
    mask = to_pixels(torch.from_numpy(patches), 8, (40, 40), (64, 24))
    for axis in (0, 1):
        mirrored = torch.from_numpy(np.flip(patches, axis).copy())
        assert to_pixels(mirrored, 8, (40, 40), (64, 24)).equal(mask.flip(axis))


def test_padding_is_cut_off() -> None:
    """A picture of 6 x 12 in a square of 12 x 12 with patches of 4: the second row of patches is half padding."""
    patches = torch.tensor([[False, False, False], [True, True, True]])
    mask = to_pixels(patches, 4, (6, 12), (6, 12))
    assert mask.tolist() == [[False] * 12] * 4 + [[True] * 12] * 2


def test_blended_margins_are_cut_at_zero() -> None:
    mask = blend_to_pixels(torch.tensor([[-1.0, 1.0], [-1.0, -1.0]]), (4, 4))
    exact = oracles.bilinear(np.array([[-1.0, 1.0], [-1.0, -1.0]]), (4, 4)) > 0
    assert mask.tolist() == exact.tolist()
