"""Measures: IoU of sums over classes, boundary IoU, PCK, and bootstrap intervals over episodes.

IoU and PCK are percentages, 0 to 100, everywhere in this module; counts are numbers of pixels or points.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt16

ALPHAS = (0.05, 0.1, 0.15, 0.2)
# Dimensions without names: masks of different sizes get the message of `counts`, with or without shape checks.
Mask = Bool[np.ndarray, "_ _"]
Marks = Sequence[Bool[np.ndarray, "_ a"]]  # results of `correct`, one for each pair
Weights = UInt16[np.ndarray, "s e"]


class Counts(NamedTuple):
    """Numbers of pixels, (background, foreground), of one predicted mask and the true mask."""

    intersection: tuple[int, int]
    union: tuple[int, int]


def counts(prediction: Mask, truth: Mask, ignore: Mask | None = None) -> Counts:
    """Count the pixels of intersection and union; ignored pixels count neither as foreground nor as background.

    >>> truth = np.array([[True, True, False, False]])
    >>> counts(np.array([[True, False, False, False]]), truth)
    Counts(intersection=(2, 1), union=(3, 2))

    Raises:
        ValueError: the masks differ in size.
    """
    prediction, truth = _without(ignore, prediction, truth)
    pixels = prediction.size - (0 if ignore is None else _area(ignore))
    both, either = _area(prediction & truth), _area(prediction | truth)
    return Counts((pixels - either, both), (pixels - both, either))


def boundary(mask: Bool[np.ndarray, "h w"], ratio: float = 0.02) -> Bool[np.ndarray, "h w"]:
    """Return the boundary of a mask: its pixels whose surrounding square reaches out of the mask or the picture.

    As for boundary IoU (Cheng et al. 2021), the square reaches `ratio` times the picture's diagonal in each direction,
    rounded, at least one pixel.
    """
    window = 2 * max(1, round(ratio * float(np.hypot(*mask.shape)))) + 1
    inside = mask
    for _ in range(2):  # columns, then rows
        inside, length = np.pad(inside, ((window // 2, window // 2), (0, 0))), 1
        while length < window:  # each pixel stands for a run of `length` pixels; two runs make a longer one
            step = min(length, window - length)
            inside, length = inside[step:] & inside[:-step], length + step
        inside = inside.T
    return mask & ~inside


def boundary_counts(prediction: Mask, truth: Mask, ignore: Mask | None = None, ratio: float = 0.02) -> tuple[int, int]:
    """Count the pixels of intersection and union of the masks' boundaries; `ignore` and errors as in `counts`."""
    a, b = (boundary(mask, ratio) for mask in _without(ignore, prediction, truth))
    return _area(a & b), _area(a | b)


def class_iou(intersection: Int[np.ndarray, "*k"], union: Int[np.ndarray, "*k"]) -> Float[np.ndarray, "*k"]:
    """Return the IoU of sums of pixels in per cent; an empty union gives 0, even if that is right (as published)."""
    return 100 * intersection / np.maximum(union, 1)


class Tally:
    """Exact sums of pixels over the episodes of each class, and their IoU in per cent.

    Attributes:
        classes: the k classes, in the order of all arrays.
        episodes: (k,) number of episodes.
        intersection, union: (k, 2) pixels, (background, foreground).
        boundaries: (k, 2) pixels, (intersection, union).
    """

    def __init__(self, classes: Iterable[Hashable]) -> None:
        self.classes = tuple(dict.fromkeys(classes))
        self._row = {cls: row for row, cls in enumerate(self.classes)}
        self.episodes = np.zeros(len(self.classes), np.int64)
        self.intersection, self.union, self.boundaries = np.zeros((3, len(self.classes), 2), np.int64)

    def add(self, cls: Hashable, found: Counts, boundary: tuple[int, int] = (0, 0)) -> None:
        """Add an episode of one of `classes`."""
        row = self._row[cls]
        self.episodes[row] += 1
        self.intersection[row] += found.intersection
        self.union[row] += found.union
        self.boundaries[row] += boundary

    @property
    def iou(self) -> Float[np.ndarray, "k"]:
        """IoU of each class's foreground."""
        return class_iou(self.intersection[:, 1], self.union[:, 1])

    @property
    def miou(self) -> float:
        """Mean IoU over all classes; a class that never occurred counts as 0, as published."""
        return float(self.iou.mean())

    @property
    def miou_seen(self) -> float:
        """Mean IoU over the classes that occurred; 0 before the first episode."""
        return float(self.iou.sum() / max(np.count_nonzero(self.episodes), 1))

    @property
    def fb_iou(self) -> float:
        """Mean of the background's and the foreground's IoU, each of sums over all classes."""
        return float(class_iou(self.intersection.sum(0), self.union.sum(0)).mean())

    @property
    def boundary_iou(self) -> float:
        """Mean IoU of the boundaries over all classes, counted as in `miou`."""
        return float(class_iou(*self.boundaries.T).mean())


def correct(
    found: Float[np.ndarray, "p 2"],
    truth: Float[np.ndarray, "p 2"],
    threshold: float,
    alphas: Sequence[float] = ALPHAS,
) -> Bool[np.ndarray, "p a"]:
    """Tell which points lie at most alpha x threshold from their true places, all in pixels.

    Distances are compared as float32, as published, which decides on points at the limit.

    >>> correct(np.array([[0.0, 6.0]]), np.array([[0.0, 0.0]]), threshold=50)
    array([[False, False,  True,  True]])
    """
    distances = np.linalg.norm(np.float32(found) - np.float32(truth), axis=1)
    return distances[:, None] <= np.float32(np.multiply(alphas, threshold))


def pck_by_image(marks: Marks) -> Float[np.ndarray, "a"]:
    """Return the mean over pairs of the per cent of a pair's points that are correct; papers report this PCK."""
    return 100 * np.mean([pair.mean(0) for pair in marks], 0)


def pck_by_point(marks: Marks) -> Float[np.ndarray, "a"]:
    """Return the per cent of all pairs' points that are correct."""
    return 100 * np.concatenate(marks).mean(0)


class Pck(NamedTuple):
    """PCK in per cent, for each alpha."""

    mean_over_everything: Float[np.ndarray, "a"]
    mean_over_categories: Float[np.ndarray, "a"]
    per_category: dict[Hashable, Float[np.ndarray, "a"]]


def pck(
    categories: Sequence[Hashable], marks: Marks, by: Callable[[Marks], Float[np.ndarray, "a"]] = pck_by_image
) -> Pck:
    """Return the PCK of all pairs and of each category, in the order of the categories' first pairs.

    Args:
        categories: category of each pair.
        marks: correct points of each pair, as `correct` returns them.
        by: `pck_by_image` or `pck_by_point`.
    """
    groups: dict[Hashable, list[Bool[np.ndarray, "_ a"]]] = {}
    for category, pair in zip(categories, marks, strict=True):
        groups.setdefault(category, []).append(pair)
    each = {category: by(pairs) for category, pairs in groups.items()}
    return Pck(by(marks), np.mean([*each.values()], 0), each)


def bootstrap_weights(episodes: int, samples: int = 1000, seed: int = 0) -> Weights:
    """Draw bootstrap samples, and return how often each episode occurs in each sample.

    Two runs of the same episodes that share weights are resampled in pairs, so that their difference has an interval.
    """
    rng = np.random.default_rng(seed)
    weights = np.empty((samples, episodes), np.uint16)
    for row in weights:
        row[:] = np.bincount(rng.integers(episodes, size=episodes), minlength=episodes)
    return weights


def bootstrap_miou(
    classes: Int[np.ndarray, "e"],
    intersection: Int[np.ndarray, "e"],
    union: Int[np.ndarray, "e"],
    n_classes: int,
    samples: int = 1000,
    seed: int = 0,
    weights: Weights | None = None,
) -> Float[np.ndarray, "s"]:
    """Return the mIoU in per cent of each bootstrap sample of the episodes.

    A sample misses classes of the run, most of all in a short run. Missing classes counted as 0 would pull the sample
    below the run's own mIoU. So a sample's mean is taken over the classes in the sample, and multiplied by the share of
    the `n_classes` that occur in the run.

    Args:
        classes: class of each episode, as any integer.
        intersection, union: foreground pixels of each episode.
        weights: result of `bootstrap_weights`, which replaces `samples` and `seed`.
    """
    if weights is None:
        weights = bootstrap_weights(len(classes), samples, seed)
    order = np.argsort(classes, kind="stable")
    starts = np.unique(classes[order], return_index=True)[1]
    parts = np.stack([intersection, union, np.ones_like(union)], dtype=np.int64)[:, order]
    result = np.empty(len(weights))
    for sample, row in enumerate(weights):
        both, either, drawn = np.add.reduceat(parts * row[order], starts, axis=1)
        result[sample] = class_iou(both, either)[drawn > 0].mean()
    return result * len(starts) / n_classes


def bootstrap_mean(
    values: Float[np.ndarray, "e *a"], samples: int = 1000, seed: int = 0, weights: Weights | None = None
) -> Float[np.ndarray, "s *a"]:
    """Return the mean of the episodes' values in each bootstrap sample; `weights` as in `bootstrap_miou`."""
    if weights is None:
        weights = bootstrap_weights(len(values), samples, seed)
    return np.stack([row @ values for row in weights]) / len(values)


def interval(samples: Float[np.ndarray, "s"], level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval that holds the middle `level` of bootstrap samples."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _area(mask: Mask) -> int:
    return int(np.count_nonzero(mask))


def _without(ignore: Mask | None, *masks: Mask) -> list[Mask]:
    """Return the masks without the ignored pixels; ValueError if sizes differ."""
    shapes = [mask.shape for mask in (*masks, ignore) if mask is not None]
    if len(set(shapes)) > 1:
        raise ValueError(f"prediction, truth and ignored pixels must have the same size, got {shapes}")
    return [*masks] if ignore is None else [mask & ~ignore for mask in masks]
