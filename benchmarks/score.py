"""Measure whether `Segmentation.score` separates targets with and without the concept, and good masks from bad ones.

    python benchmarks/score.py [--preset plus] [--shared DIR] [--plot FILE.svg]

AUC: an episode's own target against targets that do not show the concept (absent.json). Rank correlation: Spearman's,
of score and IoU over the episodes' own targets. An empty mask scores 0.

Class-disjoint halves: the classes of every set are dealt out to two halves at random, twenty times. The weights of the
measures are chosen from a grid on one half, and the score with these weights is measured on the other.

The curve: the share of masks that `min_score` empties, and the mIoU (summed over a class, mean of classes, of sets).
"""

import argparse
import json
import os
from collections import defaultdict
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from calibrate import deal_out
from scipy.stats import rankdata, spearmanr

from insid3 import INSID3, Encoded
from insid3.imaging.masks import read_mask
from insid3.stages.presence import WEIGHTS, measures, presence

ROOT = Path(__file__).parent.parent
SETS = ("coco", "davis", "ccp", "dsb")
PLAIN, TRIP, KIN = (0, 0.125, 0.25, 0.375, 0.5), (0, 0.05, 0.1, 0.15, 0.2), (0, 0.125, 0.25, 0.375, 0.5)
GRIDS = {  # the published method is scored without kinship, as documented
    "published": [(1.0, plain, trip, 0.0) for plain, trip in product(PLAIN, TRIP)],
    "plus": [(1.0, plain, trip, kin) for plain, trip, kin in product(PLAIN, TRIP, KIN)],
}
AIM = (0.90, 0.65)  # AUC and rank correlation
Weights = tuple[float, float, float, float]


class Row(NamedTuple):
    """The result of one target; intersection and union are None if the concept is absent."""

    set: str
    cls: str
    measures: Weights
    score: float
    intersection: int | None = None
    union: int | None = None
    truth: int = 0

    @property
    def iou(self) -> float:
        assert self.intersection is not None
        assert self.union is not None
        return self.intersection / max(self.union, 1)


def measure(dev: Path, preset: Any) -> list[Row]:
    """Mark the episodes' own targets and the targets without the concept."""
    model = INSID3.from_pretrained(preset=preset, min_score=0.0)
    pictures = {path.stem: path for path in (dev / "images").iterdir()}
    episodes = json.loads((dev / "episodes.json").read_text())
    absent: dict[int, list[str]] = {}
    for episode, target in json.loads((dev / "absent.json").read_text())["pairs"]:
        absent.setdefault(episode, []).append(target)

    seen: list[Any] = []  # arguments of the calls of `presence`

    def spy(*arguments: Any) -> float:
        seen.append(arguments)
        return presence(*arguments)

    @cache
    def encoded(stem: str) -> Encoded:
        return model.encode(pictures[stem])

    rows = []
    for done, episode in enumerate(episodes, 1):
        shots = [pictures[stem] for stem in episode["ref"]]
        concept = model.concept(shots, [dev / "masks" / f"{stem}.png" for stem in episode["ref"]])
        for target in (episode["tgt"], *absent.get(episode["id"], [])):
            seen.clear()
            with patch("insid3.methods.base.presence", spy):
                found = model.segment(encoded(target), concept)
            mask, nothing = found.mask, not found.score
            measured = (0.0, 0.0, 0.0, 0.0) if nothing else measures(*seen[0][:-1])
            row = Row(episode["set"], episode["cls"], measured, found.score)
            if target == episode["tgt"]:
                truth = read_mask(dev / "masks" / f"{target}.png", mask.shape)
                row = row._replace(
                    intersection=int((mask & truth).sum()), union=int((mask | truth).sum()), truth=int(truth.sum())
                )
            rows.append(row)
        print(f"\r{done}/{len(episodes)}", end="", flush=True)
    print()
    return rows


def auc(present: list[float], absent: list[float]) -> float:
    """Return the chance that a target with the concept scores above one without; ties count half."""
    ranks = rankdata(present + absent)[: len(present)]
    return float((ranks.mean() - (len(present) + 1) / 2) / len(absent))


def quality(rows: list[Row], weights: Weights) -> tuple[float, float]:
    """Return AUC and rank correlation of the weighted mean of the measures."""
    scores = [sum(weight * value for weight, value in zip(weights, row.measures, strict=True)) for row in rows]
    present = [score for score, row in zip(scores, rows, strict=True) if row.union is not None]
    absent = [score for score, row in zip(scores, rows, strict=True) if row.union is None]
    return auc(present, absent), float(spearmanr(present, [row.iou for row in rows if row.union is not None]).statistic)


def halves(rows: list[Row], grid: list[Weights], times: int = 20) -> list[tuple[Weights, float, float]]:
    """Return weights chosen on one half of the classes, with AUC and rank correlation on the other half."""
    random, found = np.random.default_rng(0), []
    keys = [(name, row.cls) for name in SETS for row in rows if row.set == name]
    for _ in range(times):
        chosen, _ = deal_out(keys, random)
        parts = [[row for row in rows if ((row.set, row.cls) in chosen) == side] for side in (True, False)]
        for mine, other in (parts, parts[::-1]):
            best = max(grid, key=lambda weights: min(np.subtract(quality(mine, weights), AIM)))
            found.append((best, *quality(other, best)))
    return found


def miou(rows: list[Row], least: float) -> float:
    """Return the mIoU, mean of classes and then of sets, with masks that score below `least` emptied."""
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if row.intersection is not None and row.union is not None:
            kept = row.score >= least
            sums[row.set, row.cls][0] += row.intersection * kept
            sums[row.set, row.cls][1] += row.union if kept else row.truth
    each = [[i / max(u, 1) for (name, _), (i, u) in sums.items() if name == which] for which in SETS]
    return 100 * float(np.mean([np.mean(values) for values in each]))


def curve(rows: list[Row]) -> list[tuple[float, float, float, float]]:
    """Return rows of min_score, per cent of emptied masks without and with the concept, and mIoU."""
    absent = np.array([row.score for row in rows if row.union is None])
    present = np.array([row.score for row in rows if row.union is not None])
    steps = [0, *np.arange(0.5, 0.75, 0.025).round(3)]
    return [(s, *(100 * float(((x == 0) | (x < s)).mean()) for x in (absent, present)), miou(rows, s)) for s in steps]


def plot(points: list[tuple[float, float, float, float]], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 3.6), layout="constrained")
    axes = figure.subplots()
    x, y = [point[1] for point in points], [point[3] for point in points]
    axes.plot(x, y, marker="o", markersize=3.5, color="#0072b2")
    for least, emptied, _, value in points[:-1]:
        axes.annotate(f"{least:g}", (emptied, value), (3, 5), textcoords="offset points", fontsize=8, color="#444444")
    axes.set(xlabel="absent targets emptied, %", ylabel="mIoU of present targets", xlim=(0, 102))
    axes.set_ylim(0, 1.12 * max(y))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("What min_score empties, and what it costs", fontsize=10, loc="left")
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("INSID3_SHARED") or ROOT.parent / "shared")
    parser.add_argument("--shared", type=Path, default=default, help="folder that holds dev/")
    parser.add_argument("--preset", choices=list(GRIDS), default="published")
    parser.add_argument("--plot", type=Path, help="draw the curve")
    arguments = parser.parse_args()
    rows = measure(arguments.shared / "dev", arguments.preset)
    weights = WEIGHTS["field" if arguments.preset == "plus" else "clusters"]
    print("| | present | absent | AUC | rank correlation |\n|---|---|---|---|---|")
    for names in (*((name,) for name in SETS), SETS):
        mine = [row for row in rows if row.set in names]
        present = sum(row.union is not None for row in mine)
        found = quality(mine, weights)
        title = names[0] if len(names) == 1 else "all"
        print(f"| {title} | {present} | {len(mine) - present} | {found[0]:.3f} | {found[1]:.3f} |")
    results = halves(rows, GRIDS[arguments.preset])
    for i, name in ((1, "AUC"), (2, "rank correlation")):
        values = [result[i] for result in results]
        print(
            f"weights from half of the classes, {name} on the other: {np.mean(values):.3f} +- {np.std(values):.3f}, "
            f"least {min(values):.3f}"
        )
    chosen = [found for found, _, _ in results]
    print("weights chosen most often:", max(set(chosen), key=chosen.count), "in the package:", weights)
    print("\n| min_score | absent emptied | present emptied | mIoU |\n|---|---|---|---|")
    points = curve(rows)
    for least, absent, gone, value in points:
        print(f"| {least:g} | {absent:.0f} % | {gone:.0f} % | {value:.1f} |")
    if arguments.plot:
        plot(points, arguments.plot)


if __name__ == "__main__":
    main()
