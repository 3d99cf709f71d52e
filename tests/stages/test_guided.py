"""Stage 6: the guided filter."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insid3.stages.guided import _coefficients, guided_filter


def by_definition(values: np.ndarray, picture: np.ndarray, radius: int) -> np.ndarray:
    """Filter by He, Sun & Tang 2013, eqs. 14 to 16: ridge regressions in windows, averaged over a pixel's windows."""
    height, width = values.shape
    guide = picture / 255
    slopes, rests = np.zeros((height, width, 3)), np.zeros((height, width))

    def window(y: int, x: int) -> tuple[slice, slice]:
        return slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)

    for y, x in np.ndindex(height, width):
        colours, wanted = guide[window(y, x)].reshape(-1, 3), values[window(y, x)].ravel()
        covariance = np.cov(colours.T, bias=True) + 1e-4 * np.eye(3)
        cross = (colours * wanted[:, None]).mean(0) - colours.mean(0) * wanted.mean()
        slopes[y, x] = np.linalg.solve(covariance, cross)
        rests[y, x] = wanted.mean() - slopes[y, x] @ colours.mean(0)
    result = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        result[y, x] = slopes[window(y, x)].mean((0, 1)) @ guide[y, x] + rests[window(y, x)].mean()
    return result


@given(st.integers(1, 14), st.integers(1, 14), st.integers(1, 5), st.integers(0, 2**32))
def test_parity(height: int, width: int, radius: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    values = (rng.random((height, width)) > 0.5).astype(np.float32)
    guide = torch.from_numpy(picture).permute(2, 0, 1) / 255
    slope, rest = _coefficients(guide, torch.from_numpy(values), radius)
    found = (slope * guide).sum(0) + rest
    np.testing.assert_allclose(found, by_definition(values, picture, radius), atol=1e-4)
    if radius <= 3:  # no coarser grid
        np.testing.assert_allclose(guided_filter(values, picture, radius), found, atol=1e-4)


def test_a_coarser_grid_changes_little() -> None:
    y, x = np.indices((60, 80))
    picture = np.stack([3 * x, 4 * y, 2 * (x + y) % 256], -1).clip(0, 255).astype(np.uint8)
    values = (np.hypot(y - 30, x - 40) < 20).astype(np.float32)
    found = guided_filter(values, picture, 9)
    exact = by_definition(values, picture, 9)
    assert abs(found - exact).mean() < 0.03
    assert ((found > 0.5) == (exact > 0.5)).mean() > 0.97


def test_the_edge_goes_where_the_picture_has_one() -> None:
    y, x = np.indices((90, 120))
    truth = np.hypot(y - 45, x - 60) < 27
    picture = np.where(truth[..., None], [200, 40, 40], [40, 60, 190]).astype(np.uint8)
    coarse = (truth.reshape(9, 10, 12, 10).mean((1, 3)) > 0.5).repeat(10, 0).repeat(10, 1)
    found = guided_filter(coarse.astype(np.float32), picture, 10) > 0.5
    assert (coarse != truth).mean() > 0.02
    assert (found != truth).mean() < 0.002


@pytest.mark.parametrize("value", [0.0, 1.0, -0.3])
def test_constants_stay(value: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    found = guided_filter(np.full((40, 50), value, np.float32), picture, 9)
    np.testing.assert_allclose(found, value, atol=1e-4)


def test_a_flat_picture_only_blurs() -> None:
    values = np.zeros((30, 30), np.float32)
    values[:, 15:] = 1
    found = guided_filter(values, np.full((30, 30, 3), 90, np.uint8), 4)
    assert (np.diff(found, axis=1) >= -1e-5).all()
    assert (found > 0.5).tolist() == (values > 0.5).tolist()


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    values = np.ones(size, np.float32)
    np.testing.assert_allclose(guided_filter(values, picture, 12), 1, atol=1e-4)
