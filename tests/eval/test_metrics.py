"""Metrics against tables worked out by hand, published numbers, scipy's boundaries, and a bootstrap in a loop."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import minimum_filter

from insid3.eval.metrics import (
    Counts,
    Tally,
    bootstrap_mean,
    bootstrap_miou,
    bootstrap_weights,
    boundary,
    boundary_counts,
    class_iou,
    correct,
    counts,
    interval,
    pck,
    pck_by_image,
    pck_by_point,
)
from insid3.imaging.resizing import resize_nearest

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


def drawn(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


# Both: 1; prediction or truth: 4. With the last column ignored: both 1, either 2, of 6 pixels.
PREDICTION = drawn("##.", "..#")
TRUTH = drawn("#.#", "...")
LAST_COLUMN = drawn("..#", "..#")


def test_counts_by_hand() -> None:
    assert counts(PREDICTION, TRUTH) == Counts(intersection=(6 - 4, 1), union=(6 - 1, 4))
    assert counts(PREDICTION, TRUTH, LAST_COLUMN) == Counts(intersection=(4 - 2, 1), union=(4 - 1, 2))
    assert counts(PREDICTION, TRUTH, np.ones((2, 3), bool)) == Counts((0, 0), (0, 0))
    json.dumps(counts(PREDICTION, TRUTH, LAST_COLUMN))  # plain integers


@given(MASKS, st.integers(0, 2**32))
def test_what_is_ignored_does_not_matter(mask: np.ndarray, seed: int) -> None:
    other, ignore, noise = np.random.default_rng(seed).random((3, *mask.shape)) > 0.5
    for measure in (counts, boundary_counts):
        noisy = measure(np.where(ignore, noise, mask), np.where(ignore, ~noise, other), ignore)
        assert measure(mask, other, ignore) == noisy


@pytest.mark.parametrize("measure", [counts, boundary_counts])
def test_masks_of_different_sizes_are_refused(measure: Any) -> None:
    with pytest.raises(ValueError, match=r"same size, got \[\(2, 3\), \(3, 2\)\]"):
        measure(PREDICTION, TRUTH.T)
    with pytest.raises(ValueError, match=r"same size, got \[\(2, 3\), \(2, 3\), \(1, 3\)\]"):
        measure(PREDICTION, TRUTH, LAST_COLUMN[:1])


def test_boundary_by_hand() -> None:
    mask = np.zeros((9, 9), bool)
    mask[:5, 2:7] = True
    ring = mask.copy()
    ring[1:4, 3:6] = False  # the upper side lies on the picture's border, which is an edge as well
    assert (boundary(mask) == ring).all()  # 0.02 x 12.7 rounds to 0: at least a pixel
    ring[2, 4] = False
    core = np.zeros((9, 9), bool)
    core[2, 4] = True
    assert (boundary(mask, 2 / math.hypot(9, 9)) == mask & ~core).all()
    assert boundary(mask, 0.5)[mask].all()
    assert not boundary(np.zeros((9, 9), bool)).any()


def test_boundary_counts_by_hand() -> None:
    # 9 x 9 is all edge but for its 7 x 7; with the first column ignored, but for 7 rows x 6 columns of 9 x 8.
    full, column = np.ones((9, 9), bool), np.zeros((9, 9), bool)
    column[:, 0] = True
    assert boundary_counts(full, full) == (81 - 49, 81 - 49)
    assert boundary_counts(full, full, column) == (72 - 42, 72 - 42)
    assert boundary_counts(full, ~full) == (0, 81 - 49)


@given(MASKS, st.floats(0, 0.6))
def test_boundary_as_in_scipy(mask: np.ndarray, ratio: float) -> None:
    mask |= np.roll(mask, 1, 0)  # some that is thicker than a pixel
    reach = max(1, round(ratio * float(np.hypot(*mask.shape))))
    assert (boundary(mask, ratio) == mask & ~minimum_filter(mask, 2 * reach + 1, mode="constant", cval=False)).all()


@pytest.mark.parametrize("size", [(1024, 1024), (375, 500), (1, 900), (700, 2)])
def test_boundary_of_blobs_as_in_scipy(size: tuple[int, int]) -> None:
    coarse = np.random.default_rng(0).random((-(-size[0] // 90), -(-size[1] // 90))) > 0.4
    mask = coarse.repeat(90, 0).repeat(90, 1)[: size[0], : size[1]]
    reach = round(0.02 * math.hypot(*size))
    assert (boundary(mask) == mask & ~minimum_filter(mask, 2 * reach + 1, mode="constant", cval=False)).all()


def test_tally_by_hand() -> None:
    tally = Tally(["cat", "dog", "eel"])
    assert (tally.miou, tally.miou_seen, tally.fb_iou, tally.boundary_iou) == (0, 0, 0, 0)
    tally.add("dog", Counts((60, 10), (90, 40)), (1, 4))
    tally.add("cat", Counts((0, 0), (50, 50)), (0, 10))
    tally.add("dog", Counts((20, 50), (50, 80)), (2, 2))
    # Dog: 60 of 120; boundary 3 of 6. Background of all: 80 of 190; foreground 60 of 170.
    assert tally.classes == ("cat", "dog", "eel")
    assert tally.iou.tolist() == [0, 50, 0]
    assert tally.episodes.tolist() == [1, 2, 0]
    assert tally.miou == pytest.approx(50 / 3)
    assert tally.miou_seen == pytest.approx(50 / 2)
    assert tally.fb_iou == pytest.approx((100 * 80 / 190 + 100 * 60 / 170) / 2)
    assert tally.boundary_iou == pytest.approx(50 / 3)
    with pytest.raises(KeyError):
        tally.add("emu", Counts((0, 0), (0, 0)))


def test_sums_stay_exact() -> None:
    tally = Tally([7])
    for _ in range(40):
        tally.add(7, Counts((2**24 + 1, 1), (2**24 + 1, 3)))
    assert tally.intersection.tolist() == [[40 * (2**24 + 1), 40]]
    assert tally.fb_iou == pytest.approx((100 + 100 / 3) / 2, abs=1e-12)


def test_both_empty_is_zero() -> None:
    assert class_iou(np.array([0, 0, 3]), np.array([0, 5, 4])).tolist() == [0, 0, 75]


@pytest.fixture(scope="module")
def golden(shared: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    folder = shared / "benchmarks"
    with np.load(folder / "metrics.npz") as values:
        return json.loads((folder / "metrics.json").read_text()), {**values}


def counted(values: dict[str, Any]) -> Counts:
    return Counts(tuple(values["intersection"]), tuple(values["union"]))


@pytest.mark.parity
@pytest.mark.parametrize("run", range(4))
def test_runs_are_scored_as_published(golden: tuple[dict[str, Any], dict[str, np.ndarray]], run: int) -> None:
    published, masks = golden[0]["segmentation_runs"][run], golden[1]
    tally = Tally(published["class_ids"])
    for step in published["steps"]:
        pair = f"{step['pair']:02d}"
        found = counts(masks[f"pred_{pair}"], masks[f"gt_{pair}"], masks.get(f"ignore_{pair}"))
        assert found == counted(step)
        assert (f"ignore_{pair}" in masks) == step["ignore"]
        tally.add(step["class_id"], found)
    for row, of_class in enumerate(published["per_class"]):
        assert tally.classes[row] == of_class["class_id"]
        assert tally.intersection[row].tolist() == of_class["intersection"]
        assert tally.union[row].tolist() == of_class["union"]
    assert tally.miou == pytest.approx(published["miou"], abs=1e-4)  # 1e-6 on the scale from 0 to 1
    assert tally.fb_iou == pytest.approx(published["fb_iou"], abs=1e-4)


def digest(mask: np.ndarray) -> str:
    return hashlib.sha256(mask.astype(np.uint8).tobytes()).hexdigest()[:16]


@pytest.mark.parity
@pytest.mark.parametrize("case", range(4))
def test_truth_is_resized_as_published(golden: tuple[dict[str, Any], dict[str, np.ndarray]], case: int) -> None:
    published, masks = golden[0]["resized_ground_truth"][case], golden[1]
    prediction = masks[f"resize_pred_{case}"]
    truth = resize_nearest(masks[f"resize_gt_{case}"], prediction.shape)
    assert digest(truth) == published["gt_mask_after_resize"]
    assert counts(prediction, truth) == counted(published)


@pytest.mark.parity
@pytest.mark.parametrize("case", range(2))
def test_labels_with_ignored_pixels_are_resized_as_published(
    golden: tuple[dict[str, Any], dict[str, np.ndarray]], case: int
) -> None:
    published, arrays = golden[0]["resized_isaid_labels"][case], golden[1]
    prediction = arrays[f"label_pred_{case}"]
    labels = resize_nearest(arrays[f"label_map_{case}"], prediction.shape)
    truth, ignore = labels == published["class_id"] + 1, labels == 255
    assert (digest(truth), digest(ignore)) == (published["mask"], published["ignore"])
    assert counts(prediction, truth, ignore) == counted(published)


def test_points_by_hand() -> None:
    # Distances 0, 5, 10 and 20.5; limits of 100: 5, 10, 15, 20.
    found, truth = np.array([[1, 1], [3, 4], [6, 8], [20.5, 0]]), np.array([[1, 1], [0, 0], [0, 0], [0, 0]])
    marks = correct(found, truth.astype(float), 100.0)
    assert marks.astype(int).tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]
    assert correct(found, truth.astype(float), 100.0, alphas=(0.205,)).all()


def test_a_limit_is_compared_as_float32() -> None:
    at_limit = np.array([[6.9, 0]], np.float32)
    assert at_limit[0, 0].astype(np.float64) > 0.15 * 46
    assert correct(at_limit, np.zeros((1, 2), np.float32), 46.0, (0.15,)).all()


def test_pck_by_hand() -> None:
    # Cat: 1 of 1, and 1 of 4; dog: 1 of 3.
    marks = [np.arange(n)[:, None] < 1 for n in (1, 3, 4)]
    assert pck_by_image(marks).tolist() == pytest.approx([100 * (1 + 1 / 3 + 1 / 4) / 3])
    assert pck_by_point(marks).tolist() == pytest.approx([100 * 3 / 8])
    by_image, by_point = (pck(["cat", "dog", "cat"], marks, by) for by in (pck_by_image, pck_by_point))
    assert by_image.mean_over_everything == pck_by_image(marks)
    assert by_image.per_category == {"cat": 100 * (1 + 1 / 4) / 2, "dog": pytest.approx(100 / 3)}
    assert by_image.mean_over_categories == pytest.approx((62.5 + 100 / 3) / 2)
    assert by_point.mean_over_everything == pck_by_point(marks)
    assert by_point.per_category == {"cat": 100 * 2 / 5, "dog": pytest.approx(100 / 3)}


@pytest.mark.parity
def test_points_are_scored_as_published(golden: tuple[dict[str, Any], dict[str, np.ndarray]]) -> None:
    published, points = golden[0]["keypoints"], golden[1]
    marks = []
    for case in published["sets"]:
        found, truth = (points[f"kp_{name}_{case['set']}"] for name in ("predicted", "target"))
        marks.append(correct(found, truth, case["threshold"], published["alphas"]))
        assert marks[-1].shape == (case["n_points"], 4)
        np.testing.assert_allclose(marks[-1].mean(0), case["pck"], atol=1e-6, rtol=0)
    categories = [case["category"] for case in published["sets"]]
    for name, by in (("by_image", pck_by_image), ("by_point", pck_by_point)):
        ours, theirs = pck(categories, marks, by), published[name]
        np.testing.assert_allclose(ours.mean_over_everything / 100, theirs["mean_over_everything"], atol=1e-6, rtol=0)
        np.testing.assert_allclose(ours.mean_over_categories / 100, theirs["mean_over_categories"], atol=1e-6, rtol=0)
        assert set(ours.per_category) == set(theirs["per_category"])
        for category, values in ours.per_category.items():
            np.testing.assert_allclose(values / 100, theirs["per_category"][category], atol=1e-6, rtol=0)


CLASSES = np.array([4, 0, 4, 2, 0])
INTERSECTION = np.array([10, 5, 0, 8, 3])
UNION = np.array([20, 5, 30, 10, 4])


def test_weights_are_whole_samples() -> None:
    weights = bootstrap_weights(7, samples=50, seed=1)
    assert weights.shape == (50, 7)
    assert (weights.sum(1) == 7).all()
    assert (weights == bootstrap_weights(7, samples=50, seed=1)).all()
    assert (weights != bootstrap_weights(7, samples=50, seed=2)).any()


def test_bootstrap_by_hand() -> None:
    # Classes 0: 8 of 9, 2: 8 of 10, 4: 10 of 50, of six; then 4 alone (10 of 20), then 0 (3 of 4) and 4 (0 of 30).
    weights = np.array([[1, 1, 1, 1, 1], [5, 0, 0, 0, 0], [0, 0, 1, 0, 4]], np.uint16)
    found = bootstrap_miou(CLASSES, INTERSECTION, UNION, 6, weights=weights)
    assert found.tolist() == pytest.approx([100 * (8 / 9 + 0.8 + 0.2) / 6, 50 * 3 / 6, 75 / 2 * 3 / 6])


def test_bootstrap_as_a_loop() -> None:
    weights = bootstrap_weights(5, samples=200)
    found = bootstrap_miou(CLASSES, INTERSECTION, UNION, 6, samples=200)
    for sample, value in zip(weights, found, strict=True):
        tally = Tally(range(6))
        for episode in np.repeat(np.arange(5), sample):
            tally.add(CLASSES[episode], Counts((0, INTERSECTION[episode]), (0, UNION[episode])))
        assert value == pytest.approx(tally.miou_seen * len(set(CLASSES)) / 6)


def test_one_of_everything_gives_the_miou_itself() -> None:
    rng = np.random.default_rng(0)
    classes, union = rng.integers(12, size=60), rng.integers(1, 2**40, 60)
    intersection = rng.integers(0, union)
    tally = Tally(range(20))
    for cls, both, either in zip(classes, intersection, union, strict=True):
        tally.add(cls, Counts((0, both), (0, either)))
    found = bootstrap_miou(classes, intersection, union, 20, weights=np.ones((1, 60), np.uint16))
    assert found.tolist() == pytest.approx([tally.miou])


def test_bootstrap_of_means() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 80.0]])
    weights = np.array([[1, 1, 1], [0, 3, 0], [2, 0, 1]], np.uint16)
    assert bootstrap_mean(values, weights=weights).tolist() == [[7 / 3, 110 / 3], [2, 20], [2, 100 / 3]]
    same = bootstrap_mean(values[:, 0], samples=30, seed=5)
    assert same.tolist() == bootstrap_mean(values, samples=30, seed=5)[:, 0].tolist()


def test_a_pair_of_runs_differs_less_than_each_varies() -> None:
    rng = np.random.default_rng(0)
    classes, union = np.arange(100) % 10, np.full(100, 1000)
    first = rng.integers(0, 990, 100)
    weights = bootstrap_weights(100)
    one, two = (bootstrap_miou(classes, both, union, 10, weights=weights) for both in (first, first + 10))
    np.testing.assert_allclose(two - one, 1)  # 10 of 1000 more, whatever was drawn


def test_interval() -> None:
    assert interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))
    assert interval(np.arange(101.0), level=0.5) == pytest.approx((25, 75))


def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    shares, covered = np.linspace(0.2, 0.9, 8), {"mIoU": 0, "mean": 0}
    for seed in range(100):
        classes = rng.integers(8, size=120)
        values = rng.beta(8 * shares[classes], 8 * (1 - shares[classes]))  # their means are the shares
        miou = bootstrap_miou(classes, (10_000 * values).astype(int), np.full(120, 10_000), 8, samples=200, seed=seed)
        mean = bootstrap_mean(values, samples=200, seed=seed)
        for name, samples in (("mIoU", miou / 100), ("mean", mean)):
            low, high = interval(samples)
            covered[name] += low <= shares.mean() <= high
    assert all(88 <= count <= 99 for count in covered.values()), covered
