"""Keypoints: kernel soft-argmax over similarity maps."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from insid3.stages.match import match

WIDE = 1e6  # a Gaussian that weighs every patch alike


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize(
    ("similarities", "grid", "sigma", "temperature", "expected"),
    [
        ([1, 0], (1, 2), WIDE, 1, (1 / (1 + math.e), 0)),
        ([1, 0], (2, 1), WIDE, 1, (0, 1 / (1 + math.e))),
        ([1, 1], (1, 2), 1, 1, (1 / (1 + math.exp(1 - math.exp(-0.5))), 0)),  # equal peaks: the window is on the first
        ([0, 0, 0, 0, 0, 1], (2, 3), 7, 0.04, (2, 1)),  # (x, y): patch 5 of two rows of three is at x = 2, y = 1
        ([0, 1, 0, 0, 0, 0], (3, 2), 7, 0.04, (1, 0)),
        ([1, 0, 0, 0, 0, 0], (2, 3), WIDE, 1e9, (1, 0.5)),  # hot: the middle of the grid
        ([0.9, 0, 0, 0, 0, 1], (1, 6), 1, 0.04, (5, 0)),  # far from the peak the window forgets a rival
    ],
)
def test_by_hand(
    similarities: list[float], grid: tuple[int, int], sigma: float, temperature: float, expected: tuple[float, float]
) -> None:
    target = torch.tensor(similarities)[:, None] * torch.ones(1, 1)
    xy, maps = match(torch.ones(1, 1), target, grid, float(sigma), float(temperature))
    assert xy[0].tolist() == pytest.approx(expected, abs=1e-5)
    assert maps[0].tolist() == pytest.approx(similarities)


def test_published_settings_are_the_defaults() -> None:
    queries, target = unit(1, 8), unit(12, 8, seed=1)
    assert match(queries, target, (3, 4))[0].equal(match(queries, target, (3, 4), 7.0, 0.04)[0])
    assert not match(queries, target, (3, 4))[0].equal(match(queries, target, (3, 4), 6.0, 0.04)[0])


@given(st.integers(0, 2**32), st.sampled_from([(1, 1), (3, 5), (6, 2)]), st.integers(0, 4))
def test_parity(seed: int, grid: tuple[int, int], points: int) -> None:
    tokens = unit(points + math.prod(grid), 5, seed=seed)
    queries, target = tokens[:points], tokens[points:]
    xy, maps = match(queries, target, grid, 2.0, 0.1)
    assert maps.shape == (points, len(target))
    for found, row in zip(xy.tolist(), maps.double().numpy(), strict=True):
        assert found == pytest.approx(oracles.soft_argmax(row, grid, 2.0, 0.1), abs=1e-4)
    np.testing.assert_allclose(maps, queries.double() @ target.double().T, atol=1e-6)


def test_points_are_matched_one_by_one() -> None:
    tokens = unit(20, 5)
    together, _ = match(tokens[:4], tokens[4:], (4, 4))
    for i in range(4):
        torch.testing.assert_close(match(tokens[[i]], tokens[4:], (4, 4))[0], together[[i]])
