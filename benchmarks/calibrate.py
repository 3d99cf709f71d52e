"""Find settings of the preset "plus" for a backbone, on episodes of your own.

    python benchmarks/calibrate.py EPISODES [--backbone NAME] [--weights FILE] [--deals 6]

EPISODES is a folder for `insid3 evaluate episodes:DIR`. One setting at a time is varied around the preset, with edges
unrefined. A setting moves to its best value if that gains more than 0.3 points of mIoU (summed over a class, mean of
classes, mean of sets). To show how much of the gain is luck, the classes of every set are dealt out to two halves at
random: settings are chosen on one half, and their gains on both halves are printed.
The settings belong into `plus` of the backbone's defaults (`backbones/registry.py`).
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from insid3 import INSID3, Concept, Encoded
from insid3.eval.datasets.own import read_episodes
from insid3.eval.episodes import Episode, View
from insid3.eval.reader import Reader

GAIN = 0.3
Key = tuple[str, str]


def grid(model: INSID3) -> dict[str, list[Any]]:
    channels, tau = model.encoder.channels, model.config.tau
    return {
        "rank": sorted(
            {*(round(share * channels) for share in (0.03, 0.08, 0.12, 0.16, 0.25, 0.5)), model.config.rank}
        ),
        "tau": [round(tau + step, 2) for step in (-0.2, -0.1, 0, 0.1)],
        "background": [0.0, 0.4, 0.8, 1.2],
        "votes": [0.0, 0.15, 0.3, 0.5],
        "regions": [0.0, 0.25, 0.5, 0.75],
        "discriminant": [0.0, 0.4, 0.6, 0.8],
        "smoothing": [0.0, 2.0, 4.0, 8.0, 16.0],
        "threshold": [0.45, 0.5, 0.55],
    }


class Bench:
    """Episodes in memory, of which every picture is encoded once."""

    def __init__(self, folder: Path, model: INSID3) -> None:
        self.model, self.reader = model, Reader(folder)
        lists = read_episodes(folder, None)
        self.use([(each.set, e) for each in lists for e in each.episodes if isinstance(e, Episode)])
        self.encoded = cache(self._encoded)
        self.concept = cache(self._concept)

    def use(self, episodes: list[tuple[str, Episode]]) -> None:
        """Set the episodes to measure on, each with the name of its set."""
        self.episodes = [episode for _, episode in episodes]
        self.keys: list[Key] = [(name, episode.cls) for name, episode in episodes]
        self.counts = cache(self._counts)

    def _encoded(self, view: View) -> Encoded:
        return self.model.encode(self.reader.picture(view))

    def _concept(self, views: tuple[View, ...]) -> Concept:
        return self.model.concept(
            [self.reader.picture(view) for view in views], [self.reader.mask(view) for view in views], label="any"
        )

    def _counts(self, settings: tuple[tuple[str, Any], ...]) -> np.ndarray:
        """Return (e, 2) pixels of intersection and union with these settings."""
        model, found = self.model.but(**dict(settings)), []
        for episode in self.episodes:
            mask = model.segment(self.encoded(episode.target), self.concept(episode.references)).mask
            truth = self.reader.mask(episode.target)
            found.append(((mask & truth).sum(), (mask | truth).sum()))
        for episode in self.episodes:  # another rank's debiased tokens are not needed again
            self.model.cache.forget(self.encoded(episode.target).tokens)
        return np.array(found)

    def miou(self, settings: dict[str, Any], classes: set[Key]) -> float:
        sums: dict[Key, np.ndarray] = defaultdict(lambda: np.zeros(2))
        for key, pixels in zip(self.keys, self.counts(tuple(sorted(settings.items()))), strict=True):
            if key in classes:
                sums[key] += pixels
        sets: dict[str, list[float]] = defaultdict(list)
        for (name, _), (both, either) in sums.items():
            sets[name].append(both / max(either, 1))
        return 100 * float(np.mean([np.mean(each) for each in sets.values()]))

    def best(self, values: dict[str, list[Any]], classes: set[Key]) -> dict[str, Any]:
        """Return the best value of each setting that, changed alone, gains on these classes."""
        base, chosen = self.miou({}, classes), {}
        for name, options in values.items():
            found = max(options, key=lambda value, name=name: self.miou({name: value}, classes))  # type: ignore[misc]
            if self.miou({name: found}, classes) > base + GAIN:
                chosen[name] = found
        return chosen


def deal_out(keys: Sequence[Key], random: np.random.Generator) -> tuple[set[Key], set[Key]]:
    """Return the classes of every set, dealt out to two halves at random."""
    chosen: set[Key] = set()
    for name in dict.fromkeys(name for name, _ in keys):
        classes = random.permutation(sorted({cls for own, cls in keys if own == name}))
        extra = int(random.integers(2)) if len(classes) % 2 else 0
        chosen |= {(name, str(cls)) for cls in classes[: len(classes) // 2 + extra]}
    return chosen, set(keys) - chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("episodes", type=Path)
    parser.add_argument("--backbone", default="dinov2-vits14")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--deals", type=int, default=6, help="how often the classes are dealt out")
    arguments = parser.parse_args()
    model = INSID3.from_pretrained(
        arguments.backbone, preset="plus", weights=arguments.weights, refine="none", min_score=0.0
    )
    bench, values = Bench(arguments.episodes, model), grid(model)
    everything = set(bench.keys)
    base = bench.miou({}, everything)
    print(
        f"plus, edges unrefined: mIoU {base:.1f}\n\n| setting | preset | others, and what they change |\n|---|---|---|"
    )
    for name, options in values.items():
        own = getattr(model.config, name)
        cells = [f"{v}: {bench.miou({name: v}, everything) - base:+.1f}" for v in options if v != own]
        print(f"| {name} | {own} | {', '.join(cells)} |", flush=True)
    random, rows = np.random.default_rng(0), []
    for _ in range(arguments.deals):
        one, other = deal_out(bench.keys, random)
        for mine, theirs in ((one, other), (other, one)):
            found = bench.best(values, mine)
            gains = [bench.miou(found, half) - bench.miou({}, half) for half in (mine, theirs)]
            rows.append(gains)
            print(f"chosen {found}: {gains[0]:+.1f} where chosen, {gains[1]:+.1f} on the other half", flush=True)
    mean = np.mean(rows, 0)
    print(f"\nmean: {mean[0]:+.1f} where chosen, {mean[1]:+.1f} on the other half")
    print("on all classes:", bench.best(values, everything) or "the preset as it is")


if __name__ == "__main__":
    main()
