"""The paired comparison of two runs of the same episodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from insid3.checks.parsing import Flaw, as_dict, parsing, read_json
from insid3.errors import DataError
from insid3.eval import report
from insid3.eval.episodes import load
from insid3.eval.metrics import bootstrap_mean, bootstrap_miou, bootstrap_weights, class_iou, interval
from insid3.eval.outcome import Outcome, read_outcomes
from insid3.storage import flat

_Both = tuple[Outcome, Outcome]


@dataclass(frozen=True)
class Comparison:
    """The comparison of one set on the episodes that both runs have, in per cent.

    Attributes:
        values: (first run, second run): mIoU over the classes that occur, mean over folds; for points PCK at 0.10.
        difference: second minus first.
        interval: 95 % interval of the difference, paired bootstrap over episodes.
        wins, losses: share of episodes in which the second run is better, or worse.
    """

    set: str
    episodes: int
    values: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    wins: float
    losses: float


def compare(first: Path, second: Path) -> tuple[list[Comparison], int]:
    """Return the comparison of two runs for each set, and the number of episodes that only one run has.

    Raises:
        DataError: a folder holds no results, or the runs have no episode in common.
    """
    ours, theirs = _outcomes(first), _outcomes(second)
    shared = [id for id in ours if id in theirs and ours[id].fingerprint == theirs[id].fingerprint]
    if not shared:
        raise DataError(f"{first} and {second} have no episode in common: run both on the same list (--episodes FILE)")
    sets: dict[str, list[_Both]] = {}
    for id in shared:
        sets.setdefault(ours[id].set, []).append((ours[id], theirs[id]))
    resampled = {name: _resampled(pairs) for name, pairs in sets.items()}
    found = [_comparison(name, sets[name], *each) for name, each in resampled.items()]
    masks = [name for name, pairs in sets.items() if pairs[0][0].intersection is not None]
    if len(masks) > 1:
        values, samples = zip(*(resampled[name] for name in masks), strict=True)
        pairs = [pair for name in masks for pair in sets[name]]
        found.append(_comparison("mean of sets", pairs, np.mean(values, 0), np.mean(samples, 0)))
    return found, len(ours.keys() | theirs.keys()) - len(shared)


def read_results(folder: Path) -> dict[str, Any]:
    """Read the results.json of a run.

    Raises:
        DataError: the file is missing or cannot be read, or the folder is that of a sweep.
    """
    if not (folder / "results.json").exists() and (folder / "sweep.json").exists():
        variants = ", ".join(sorted(file.parent.name for file in folder.glob("*/results.json")))
        raise DataError(f"{folder} is a sweep: read {folder / 'sweep.md'}, or give one of its folders ({variants})")
    return _json(folder / "results.json", "sets", "settings")


def text_of_one(folder: Path) -> str:
    """Return the report of one run in Markdown.

    Raises:
        DataError: the results are missing, or are those of another version.
    """
    results, file = read_results(folder), folder / "results.json"
    try:
        with parsing(file, "insid3 evaluate"):
            return report.text_of(results)
    except DataError as error:
        raise DataError(f"{file} is laid out otherwise: run insid3 evaluate again, it keeps what is done") from error


def text_of(first: Path, second: Path) -> str:
    """Return the comparison of two runs in Markdown."""
    found, lonely = compare(first, second)
    rows = [
        [
            each.set,
            str(each.episodes),
            *(f"{value:.1f}" for value in each.values),
            f"{each.difference:+.2f}",
            f"{each.interval[0]:+.2f} to {each.interval[1]:+.2f}",
            f"{each.wins:.0f} %",
            f"{each.losses:.0f} %",
        ]
        for each in found
    ]
    settings = [_json(folder / "run.json", "score_at", flatten=True) for folder in (first, second)]
    names = dict.fromkeys([*settings[0], *settings[1]])
    differ = [
        f"- {name}: {settings[0].get(name)} and {settings[1].get(name)}"
        for name in names
        if settings[0].get(name) != settings[1].get(name)
    ]
    head = ["set", "episodes", "A", "B", "B - A", "95 % interval", "B better", "B worse"]
    notes = [f"{lonely} episodes are in one run only and left out.", ""] if lonely else []
    measure = "mIoU over the classes that occur (points: correct within 0.10), per cent"
    explained = f"{measure}; paired bootstrap over episodes."
    title = [f"# {first} and {second}", "", f"- A: {first}", f"- B: {second}"]
    return "\n".join([*title, *differ, "", *report.table(head, rows), explained, "", *notes])


def _json(file: Path, *keys: str, flatten: bool = False) -> dict[str, Any]:
    if not file.exists():
        raise DataError(f"{file}: no such file; is {file.parent} the output of an insid3 evaluate that has finished?")
    with parsing(file, "insid3 evaluate"):
        found = as_dict(read_json(file), "content")
        if missing := [key for key in keys if key not in found]:
            raise Flaw(f"has no {missing[0]!r}: run insid3 evaluate again, it keeps what is done")
        return flat(found) if flatten else found


def _outcomes(folder: Path) -> dict[str, Outcome]:
    file = folder / "results.jsonl"
    if not file.exists():
        raise DataError(f"{folder} holds no results.jsonl: give a folder that insid3 evaluate wrote (-o)")
    lists = next((each for each in (folder / "episodes.json", folder.parent / "episodes.json") if each.exists()), None)
    ids = None if lists is None else {episode.id for each in load(lists) for episode in each.episodes}
    found = read_outcomes(file)
    return {outcome.id: outcome for outcome in found if outcome.iou is not None and (ids is None or outcome.id in ids)}


def _resampled(pairs: Sequence[_Both]) -> tuple[np.ndarray, np.ndarray]:
    """Return the two runs' values of a set, (2,), and bootstrap samples of their difference."""
    if pairs[0][0].intersection is None:
        each = _ious(pairs)
        return each.mean(0), bootstrap_mean(each[:, 1] - each[:, 0])
    folds: dict[int, list[_Both]] = {}
    for pair in pairs:
        folds.setdefault(pair[0].fold, []).append(pair)
    values, samples = [], []
    for fold, mine in folds.items():
        classes = np.unique([first.cls for first, _ in mine], return_inverse=True)[1]
        weights, mious = bootstrap_weights(len(mine), seed=fold + 1), []
        for side in (0, 1):
            both = np.array([(pair[side].intersection or (0, 0))[1] for pair in mine])
            either = np.array([(pair[side].union or (0, 0))[1] for pair in mine])
            values.append(class_iou(_summed(classes, both), _summed(classes, either)).mean())
            mious.append(bootstrap_miou(classes, both, either, int(classes.max()) + 1, weights=weights))
        samples.append(mious[1] - mious[0])
    return np.reshape(values, (-1, 2)).mean(0), np.mean(samples, 0)


def _summed(classes: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    return np.bincount(classes, pixels).astype(np.int64)


def _ious(pairs: Sequence[_Both]) -> np.ndarray:
    return np.array([[outcome.iou or 0.0 for outcome in pair] for pair in pairs])


def _comparison(name: str, pairs: Sequence[_Both], values: np.ndarray, samples: np.ndarray) -> Comparison:
    each = _ious(pairs)
    return Comparison(
        set=name,
        episodes=len(pairs),
        values=(float(values[0]), float(values[1])),
        difference=float(values[1] - values[0]),
        interval=interval(samples),
        wins=float(100 * (each[:, 1] > each[:, 0]).mean()),
        losses=float(100 * (each[:, 1] < each[:, 0]).mean()),
    )
