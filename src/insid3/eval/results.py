"""The numbers of a run, computed from the outcomes: the content of `results.json`."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from insid3.eval.episodes import Episode, EpisodeList, digest_of
from insid3.eval.metrics import (
    ALPHAS,
    Counts,
    Tally,
    bootstrap_mean,
    bootstrap_miou,
    class_iou,
    interval,
    pck,
    pck_by_point,
)
from insid3.eval.outcome import Outcome

_MEANS = ("miou", "miou_seen", "fb_iou", "boundary_iou")
_PACKAGES = ("torch", "torchvision", "timm", "openvino", "numpy", "pillow", "pycocotools")


def results(
    lists: Sequence[EpisodeList], outcomes: Mapping[str, Outcome], settings: Mapping[str, Any], limit: int | None = None
) -> dict[str, Any]:
    """Return all numbers of a run, in per cent, with settings, versions and machine.

    `miou` is the mean over the segmentation sets. The mIoU of a set is the mean over its folds, that of a fold the mean
    over its classes: over all classes of a published set, over those that occur in a user's own.
    Intervals: 95 %, bootstrap over episodes.
    """
    sets: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(each.set for each in lists):
        mine = [each for each in lists if each.set == name]
        found = (_points if mine[0].has_points else _masks)(mine, outcomes)
        sets[name] = {"dataset": mine[0].dataset, "shots": mine[0].shots, **found, **_remarks(mine, outcomes)}
    mious = [found["miou"] for found in sets.values() if "miou" in found]
    done = [outcomes[episode.id] for each in lists for episode in each.episodes if episode.id in outcomes]
    return {
        "miou": float(np.mean(mious)) if mious and None not in mious else None,
        "sets": sets,
        "episodes": len(done),
        "errors": sum(outcome.error is not None for outcome in done),
        "empty": sum(outcome.is_empty for outcome in done),
        "doubtful": sum(outcome.is_doubtful for outcome in done),
        "left_out": sum(len(each.left_out) for each in lists),
        "settings": dict(settings),
        "seed": max(each.seed for each in lists),  # a list that is not drawn has 0
        "limit": limit,
        "episodes_hash": digest_of(lists),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": {"platform": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "seconds": round(sum(outcome.seconds for outcome in done), 3),
    }


def _masks(lists: Sequence[EpisodeList], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    folds: dict[str, dict[str, Any]] = {}
    samples: list[Any] = []
    for each in lists:
        done = _done(each, outcomes)
        seen = {outcome.cls for outcome in done}
        tally = Tally(cls for cls in each.classes if each.root is None or cls in seen)
        for outcome in done:
            assert outcome.intersection is not None
            assert outcome.union is not None
            tally.add(outcome.cls, Counts(outcome.intersection, outcome.union), outcome.boundary or (0, 0))
        if done:
            rows = {cls: row for row, cls in enumerate(tally.classes)}
            pixels = np.array([[rows[o.cls], (o.intersection or (0, 0))[1], (o.union or (0, 0))[1]] for o in done])
            classes, both, either = pixels.T
            samples.append(bootstrap_miou(classes, both, either, len(rows), seed=each.fold + 1))
        means = {key: getattr(tally, key) if done else None for key in _MEANS}
        folds[str(each.fold)] = {
            **means,
            "interval": interval(samples[-1]) if done else None,
            **_counted(each, outcomes),
            "classes": _classes(each, tally),
        }
    whole = len(samples) == len(lists)  # a fold without outcomes has no numbers, and so its set has none
    return {
        **{key: float(np.mean([fold[key] for fold in folds.values()])) if whole else None for key in _MEANS},
        "interval": interval(np.mean(samples, 0)) if whole else None,
        **_summed(folds),
        "folds": folds,
    }


def _remarks(lists: Sequence[EpisodeList], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return what was left out of a set, and how many pixels were ignored; only entries that are not empty."""
    left_out = {cls: why for each in lists for cls, why in each.left_out.items()}
    notes = [note for each in lists for note in each.notes]
    masked = [e for each in lists for e in each.episodes if isinstance(e, Episode) and e.ignore is not None]
    found = [outcome for e in masked if (outcome := outcomes.get(e.id)) is not None and outcome.error is None]
    counted = sum((o.intersection or (0, 0))[0] + (o.union or (0, 0))[1] for o in found)
    pixels = sum(outcome.ignored for outcome in found)
    ignored = {
        "pixels": pixels,
        "per_cent": 100 * pixels / max(pixels + counted, 1),
        "episodes": sum(outcome.ignored > 0 for outcome in found),
        "of_episodes": len(found),
        "values": sorted({e.ignore[2] for e in masked if e.ignore and len(e.ignore) > 2}),
    }
    polygons = sum(outcomes[e.id].left_out for each in lists for e in each.episodes if e.id in outcomes)
    remarks = {"left_out": left_out, "notes": notes, "ignored": masked and ignored, "polygons_left_out": polygons}
    return {name: value for name, value in remarks.items() if value}


def _classes(each: EpisodeList, tally: Tally) -> dict[str, dict[str, Any]]:
    edges = class_iou(*tally.boundaries.T)
    return {
        str(cls): {
            "name": each.classes[str(cls)],
            "iou": float(tally.iou[row]),
            "boundary_iou": float(edges[row]),
            "episodes": int(tally.episodes[row]),
        }
        for row, cls in enumerate(tally.classes)
    }


def _points(lists: Sequence[EpisodeList], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    done = [outcome for each in lists for outcome in _done(each, outcomes)]
    counted = _summed({str(each.fold): _counted(each, outcomes) for each in lists})
    if not done:
        return {"pck": None, **counted}
    # PCK depends on the number of correct points alone, so the first points stand for them.
    marks = [np.arange(len(o.found or ()))[:, None] < np.array(o.correct) for o in done]
    classes = [outcome.cls for outcome in done]
    by_image, by_point = pck(classes, marks), pck(classes, marks, pck_by_point)
    samples = bootstrap_mean(np.array([100 * each.mean(0) for each in marks]), seed=1)
    return {
        "pck": _by_alpha(by_image.mean_over_everything),
        "intervals": {str(alpha): interval(column) for alpha, column in zip(ALPHAS, samples.T, strict=True)},
        "pck_mean_over_categories": _by_alpha(by_image.mean_over_categories),
        "pck_by_point": _by_alpha(by_point.mean_over_everything),
        **counted,
        "categories": {
            str(category): {"pck": _by_alpha(values), "pairs": classes.count(str(category))}
            for category, values in sorted(by_image.per_category.items(), key=lambda item: str(item[0]))
        },
    }


def _by_alpha(values: np.ndarray) -> dict[str, float]:
    return {str(alpha): float(value) for alpha, value in zip(ALPHAS, values, strict=True)}


def _done(each: EpisodeList, outcomes: Mapping[str, Outcome]) -> list[Outcome]:
    """Return the outcomes without an error, in the order of the list."""
    found = [outcomes[episode.id] for episode in each.episodes if episode.id in outcomes]
    return [outcome for outcome in found if outcome.error is None]


def _counted(each: EpisodeList, outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    found = [outcomes[episode.id] for episode in each.episodes if episode.id in outcomes]
    failed = sum(outcome.error is not None for outcome in found)
    return {"episodes": len(found) - failed, "errors": failed, "length": each.length}


def _summed(folds: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    return {key: sum(fold[key] for fold in folds.values()) for key in ("episodes", "errors", "length")}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123  reads a file of the system
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or sys.platform
