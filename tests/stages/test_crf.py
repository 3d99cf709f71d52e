"""Stage 6: the dense CRF, its zones and its lattice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from insid3.stages.crf import Lattice, crf_reach, dense_crf, within, zones

CASES = ["swan_256", "bowl_256", "camel_384", "dress_384", "exact_48", "exact_crop_80"]
DISC = [(y, x) for y in range(-5, 6) for x in range(-5, 6) if y * y + x * x <= 25]
MASKS = arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24)))


def golden(shared: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(shared / "golden" / "crf" / f"{name}.npz") as arrays:
        return {**arrays}


@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
def test_band_is_the_published_one(shared: Path, name: str) -> None:
    case = golden(shared, name)
    core, outside = zones(case["coarse"])
    assert (~(core | outside) == case["band"]).all()


@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
def test_mean_field_decides_as_pydensecrf(shared: Path, name: str) -> None:
    case = golden(shared, name)
    band = case["band"]
    found = dense_crf(*zones(case["coarse"]), case["rgb"], float(case["scale"]))
    assert (found == case["refined"])[band].mean() >= 0.9999
    assert (found == case["coarse"])[~band].all()
    if name != "exact_48":  # its kernels are narrower than the lattice is wide
        assert (found == case["refined_exact"])[band].mean() >= 0.96


@pytest.mark.parity
@pytest.mark.parametrize("name", [name for name in CASES if name != "exact_48"])
def test_frank_wolfe_decides_as_the_published_solver(shared: Path, name: str) -> None:
    case = golden(shared, name)
    band = case["band"]
    found = dense_crf(*zones(case["coarse"]), case["rgb"], float(case["scale"]), "frank-wolfe")
    assert (found == case["refined_reference"])[band].mean() >= 0.9999
    assert (found == case["coarse"])[~band].all()


@given(MASKS)
def test_zones_by_hand(mask: np.ndarray) -> None:
    padded = np.pad(mask, 5)
    height, width = mask.shape
    shifted = np.stack([padded[5 + y : 5 + y + height, 5 + x : 5 + x + width] for y, x in DISC])
    core, outside = zones(mask)
    assert (core == shifted.all(0)).all()
    assert (outside == ~shifted.any(0)).all()


@given(MASKS, st.floats(1, 30))
def test_within_leaves_nothing_near_out_and_takes_little_else_in(mask: np.ndarray, radius: float) -> None:
    found = within(mask, radius)
    y, x = np.nonzero(mask)
    grid = np.indices(mask.shape)
    distance = np.full(mask.shape, np.inf)
    for a, b in zip(y, x, strict=True):
        distance = np.minimum(distance, np.hypot(grid[0] - a, grid[1] - b))
    assert found[distance <= radius].all()
    assert not found[distance > radius + 12].any()


@given(st.integers(1, 6), st.integers(1, 60), st.floats(0.01, 30), st.integers(0, 2**32))
def test_a_point_gets_most_of_itself_and_sums_are_kept(d: int, m: int, spread: float, seed: int) -> None:
    """Barycentric weights are positive and add up to one, wherever a point lies in its simplex."""
    features = np.random.default_rng(seed).normal(0, spread, (d, m)).astype(np.float32)
    lattice = Lattice(features)
    assert lattice._weight.min() > -1e-4
    np.testing.assert_allclose(lattice._weight.sum(0), 1, atol=1e-4)
    kept = lattice.filter(np.ones(m, np.float32))
    assert (kept > 0).all()
    far = Lattice(np.concatenate([features, features + 1000], 1).astype(np.float32))  # two crowds: no cross-talk
    ones = np.zeros(2 * m, np.float32)
    ones[:m] = 1
    assert (far.filter(ones)[m:] == 0).all()


@pytest.mark.parametrize("d", [2, 5])
def test_filtering_is_nearly_gaussian(d: int) -> None:
    rng = np.random.default_rng(0)
    features = rng.uniform(0, 4 if d == 2 else 1.5, (d, 4000)).astype(np.float32)
    values = (features[0] > features.mean()).astype(np.float32)
    distance = np.square(features[:, :, None] - features[:, None, :300]).sum(0)
    exact = np.exp(-distance / 2)
    lattice = Lattice(features)
    found = lattice.filter(values) / lattice.filter(np.ones_like(values))
    expected = (values @ exact) / exact.sum(0)
    assert abs(found[:300] - expected).max() < 0.06


def scene(height: int = 90, width: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a red disc on a blue ground with a little noise, the disc's mask, and the mask in blocks of 10 pixels."""
    y, x = np.indices((height, width))
    truth = np.hypot(y - height / 2, x - width / 2) < 0.3 * height
    picture = np.where(truth[..., None], [200, 40, 40], [40, 60, 190])
    noise = np.random.default_rng(0).normal(0, 4, picture.shape)
    coarse = truth.reshape(height // 10, 10, width // 10, 10).mean((1, 3)) > 0.5
    return (picture + noise).clip(0, 255).astype(np.uint8), truth, coarse.repeat(10, 0).repeat(10, 1)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("solver", ["mean-field", "frank-wolfe"])
def test_the_edge_goes_where_the_picture_has_one(solver: str) -> None:
    picture, truth, coarse = scene()
    found = dense_crf(*zones(coarse), picture, 90 / 512, solver)
    assert iou(coarse, truth) < 0.9
    assert iou(found, truth) > 0.985


@pytest.mark.parity
@pytest.mark.parametrize("name", ["swan_256", "bowl_256", "camel_384", "dress_384"])
def test_parts_decide_as_the_whole(shared: Path, name: str) -> None:
    """The right half, with what its edge needs of the left, is refined like the whole: the lattice does not move."""
    case = golden(shared, name)
    coarse, scale = case["coarse"], float(case["scale"])
    core, outside = zones(coarse)
    half = coarse.shape[1] // 2
    start = half - crf_reach(scale)
    part = np.s_[:, start:]
    whole = dense_crf(core, outside, case["rgb"], scale)
    found = dense_crf(core[part], outside[part], case["rgb"][part], scale, origin=(0, start))
    band = ~(core | outside)[:, half:]
    assert (found[:, half - start :] == whole[:, half:])[band].mean() > 0.9995


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr])
def test_a_mirrored_picture_gives_nearly_the_mirrored_mask(turn: object) -> None:
    """The masks differ a little, since the lattice has no axis of symmetry."""
    picture, _, coarse = scene()
    there = dense_crf(*zones(coarse), picture, 0.3)
    back = dense_crf(*zones(turn(coarse)), turn(picture).copy(), 0.3)  # type: ignore[operator]
    assert iou(there, turn(back)) > 0.98  # type: ignore[operator]


@pytest.mark.parametrize("solver", ["mean-field", "frank-wolfe"])
@pytest.mark.parametrize(
    ("size", "foreground"),
    [
        ((60, 70), np.s_[:0]),
        ((60, 70), np.s_[:]),
        ((60, 70), np.s_[[0, -1], :]),
        ((60, 70), np.s_[30:31]),
        ((60, 70), np.s_[30, 35]),
        ((1, 5000), np.s_[:, 2000:3000]),
        ((5000, 1), np.s_[2000:3000]),
        ((1, 1), np.s_[:]),
    ],
    ids=["nothing", "everything", "two borders", "a line", "a pixel", "a wide row", "a high column", "one pixel"],
)
def test_odd_masks(size: tuple[int, int], foreground: Any, solver: str) -> None:
    mask = np.zeros(size, bool)
    mask[foreground] = True
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = dense_crf(*zones(mask), picture, 1.0, solver)
    core, outside = zones(mask)
    assert found.shape == size
    assert found[core].all()
    assert not found[outside].any()
    if not mask.any():
        assert not found.any()


def test_flat_colour_leaves_the_decision_to_the_shape() -> None:
    """A square of 40 px on a picture of one colour keeps its core and half its band, more or less."""
    mask = np.zeros((100, 100), bool)
    mask[30:70, 30:70] = True
    found = dense_crf(*zones(mask), np.full((100, 100, 3), 128, np.uint8), 0.2)
    assert iou(found, mask) > 0.85


def test_what_lies_beyond_the_reach_does_not_matter() -> None:
    picture, _, coarse = scene(120, 400)
    coarse[:, 100:] = False
    coarse[40:80, 40:80] = True
    reach = crf_reach(0.2)
    edge = 80 + reach + 20
    changed = picture.copy()
    changed[:, edge:] = 255 - changed[:, edge:]
    assert (dense_crf(*zones(coarse), picture, 0.2) == dense_crf(*zones(coarse), changed, 0.2)).all()
