"""Stage 0: unit tokens, normalised pictures, patch masks."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

import oracles
from insid3.stages.encode import normalise, patch_mask, unit_tokens


class Fake:
    """An encoder that returns two patches of three channels, in row-major order 1 0 0 and 0 3 4."""

    name, weights_hash, patch_size, channels, device = "fake", "0", 4, 3, torch.device("cpu")
    mean = std = (0.5, 0.5, 0.5)

    def __call__(self, images: Tensor, layers: Sequence[int] = (-1,), *, float32: bool = False) -> tuple[Tensor, ...]:
        self.float32 = float32
        return (torch.tensor([[[[1.0, 0, 0], [0, 3, 4]]]]),)


def test_unit_tokens_are_row_major_and_divided_by_their_norm() -> None:
    encoder = Fake()
    tokens = unit_tokens(encoder, torch.zeros(1, 3, 4, 4), float32=True)
    assert tokens.tolist() == [[[1, 0, 0], [0, pytest.approx(0.6), pytest.approx(0.8)]]]
    assert encoder.float32  # the basis asks for it; it must arrive


def test_normalise_scales_shifts_and_puts_channels_first() -> None:
    picture = torch.tensor([[[[0, 51, 255], [255, 0, 0]], [[0, 0, 0], [0, 0, 0]]]], dtype=torch.uint8)
    out = normalise(picture, (0.0, 0.2, 0.5), (1.0, 0.4, 0.5))
    assert out.shape == (1, 3, 2, 2)
    assert out[0, :, 0, 0].tolist() == pytest.approx([0, 0, 1])  # (0 - 0) / 1, (0.2 - 0.2) / 0.4, (1 - 0.5) / 0.5
    assert out[0, :, 0, 1].tolist() == pytest.approx([1, -0.5, -1])


@pytest.mark.parametrize(
    ("pixels", "patches"),
    [  # an 8 x 8 mask, patches of 4 x 4: a patch looks at its four central pixels, (1 .. 2, 1 .. 2)
        ("1111.... 1111.... 1111.... 1111.... ........ ........ ........ ........", [1, 0, 0, 0]),
        ("........ .11..11. .1....1. ........ ........ .1...11. .....11. ........", [1, 1, 0, 1]),  # 3/4, 3/4, 1/4, 4/4
        ("........ .11..11. .11..... ........ ........ ........ ........ ........", [1, 0, 0, 0]),  # 4/4, and just half
        (
            "......11 ........ ........ .......1 1....... ........ ........ ........",
            [0, 0, 1, 0],
        ),  # nearest: corner
        ("........ ........ ........ .......1 ........ ........ ........ ........", [0, 1, 0, 0]),  # centroid: y 3, x 7
        ("........ ........ ........ ...1.... ........ ........ ........ .......1", [0, 0, 0, 1]),  # centroid: y 5, x 5
    ],
)
def test_patch_mask(pixels: str, patches: list[int]) -> None:
    mask = torch.tensor([[pixel == "1" for pixel in row] for row in pixels.split()])
    assert patch_mask(mask, 4).int().tolist() == patches


@given(arrays(bool, (12, 12)), st.sampled_from([2, 4, 6]))
def test_patch_mask_is_bilinear_above_half_and_never_empty(mask: np.ndarray, patch_size: int) -> None:
    mask[5, 7] = True
    grid = 12 // patch_size
    centres = oracles.bilinear(mask, (grid, grid)) > 0.5
    found = patch_mask(torch.from_numpy(mask), patch_size).view(grid, grid).numpy()
    assert found.any()
    assert not centres.any() or (found == centres).all()
