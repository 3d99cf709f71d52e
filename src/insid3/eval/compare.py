"""Two runs of the same episodes, in pairs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from insid3.errors import DataError
from insid3.eval.metrics import Counts, Tally, bootstrap_mean, bootstrap_miou, bootstrap_weights, interval
from insid3.eval.report import table
from insid3.eval.run import Outcome
from insid3.storage import flat, read_lines


@dataclass(frozen=True)
class Comparison:
    """One set of both runs, on the episodes that both have; in per cent. mIoU over the classes that occur.

    Attributes:
        values: (mIoU, or the share of correct points at 0.10, of the first and of the second run).
        difference: second minus first; `interval`: 95 %, paired bootstrap over episodes.
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
    """What the second run does better, set by set, and how many episodes only one of the runs has.

    Raises:
        DataError: a folder without results, or runs without an episode in common.
    """
    ours, theirs = _outcomes(first), _outcomes(second)
    shared = [id for id in ours if id in theirs and ours[id].fingerprint == theirs[id].fingerprint]
    if not shared:
        raise DataError(f"{first} and {second} have no episode in common: run both on the same list (--episodes FILE)")
    sets = dict.fromkeys(ours[id].set for id in shared)
    found = [_compared(name, [(ours[id], theirs[id]) for id in shared if ours[id].set == name]) for name in sets]
    return found, len(ours.keys() | theirs.keys()) - len(shared)


def read_results(folder: Path) -> dict[str, Any]:
    """The results.json of a run.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    file = folder / "results.json"
    try:
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        found["sets"], found["settings"]
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}; is {folder} the output of insid3 evaluate?") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} is damaged ({error!r:.120}): run insid3 evaluate again, it keeps what is done"
        ) from error
    return found


def text_of(first: Path, second: Path) -> str:
    """The comparison in Markdown."""
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
    settings = [flat(read_results(folder)["settings"]) for folder in (first, second)]
    names = dict.fromkeys([*settings[0], *settings[1]])
    differ = [
        f"- {name}: {settings[0].get(name)} and {settings[1].get(name)}"
        for name in names
        if settings[0].get(name) != settings[1].get(name)
    ]
    head = ["set", "episodes", "A", "B", "B - A", "95 % interval", "B better", "B worse"]
    notes = [f"{lonely} episodes are in one run only and left out.", ""] if lonely else []
    explained = (
        "mIoU over the classes that occur (points: correct within 0.10), per cent; paired bootstrap over episodes."
    )
    return "\n".join(
        [
            f"# {first} and {second}",
            "",
            f"- A: {first}",
            f"- B: {second}",
            *differ,
            "",
            *table(head, rows),
            explained,
            "",
            *notes,
        ]
    )


def _outcomes(folder: Path) -> dict[str, Outcome]:
    file = folder / "results.jsonl"
    if not file.exists():
        raise DataError(f"{folder} holds no results.jsonl: give a folder that insid3 evaluate wrote (-o)")
    try:
        found = [Outcome.of(line) for line in read_lines(file)]
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is not from insid3 evaluate ({error!r:.120})") from error
    return {outcome.id: outcome for outcome in found if outcome.iou is not None}


def _compared(name: str, pairs: list[tuple[Outcome, Outcome]]) -> Comparison:
    each = np.array([[outcome.iou or 0.0 for outcome in pair] for pair in pairs])
    weights = bootstrap_weights(len(pairs))
    if pairs[0][0].intersection is None:
        values = each.mean(0)
        samples = bootstrap_mean(each[:, 1] - each[:, 0], weights=weights)
    else:
        keys = [(first.fold, first.cls) for first, _ in pairs]
        rows = {key: row for row, key in enumerate(dict.fromkeys(keys))}
        classes = np.array([rows[key] for key in keys])
        tallies, mious = (Tally(rows), Tally(rows)), []
        for side, tally in enumerate(tallies):
            pixels = []
            for key, pair in zip(keys, pairs, strict=True):
                both, either = pair[side].intersection or (0, 0), pair[side].union or (0, 0)
                tally.add(key, Counts(both, either))
                pixels.append((both[1], either[1]))
            intersection, union = np.array(pixels).T
            mious.append(bootstrap_miou(classes, intersection, union, len(rows), weights=weights))
        values, samples = np.array([tally.miou for tally in tallies]), mious[1] - mious[0]
    return Comparison(
        set=name,
        episodes=len(pairs),
        values=(float(values[0]), float(values[1])),
        difference=float(values[1] - values[0]),
        interval=interval(samples),
        wins=float(100 * (each[:, 1] > each[:, 0]).mean()),
        losses=float(100 * (each[:, 1] < each[:, 0]).mean()),
    )
