"""Measure the preset "plus" on real episodes: its parts, several shots, folders, time, and rejected ideas.

    python benchmarks/plus.py EPISODES [--pictures DIR]

mIoU: pixels are summed over a class at the targets' own size; IoU is averaged over classes, then over sets. Differences
have 95 % intervals from 1,000 paired bootstrap samples of the episodes. With --pictures, the episodes that gain and
lose most are drawn into DIR: target, truth, published, plus.
"""

import argparse
import time
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from calibrate import Bench
from PIL import Image

from insid3 import INSID3
from insid3.config import PLUS
from insid3.eval.episodes import Episode, View
from insid3.eval.metrics import bootstrap_miou, bootstrap_weights, class_iou, interval
from insid3.imaging.draw import overlay
from insid3.stages.cluster import cluster
from insid3.transductive import Together

PUBLISHED = {"rule": "clusters", "threshold": 0.2, "upsample": "mask", "refine": "none"}
OFF = dict.fromkeys(("background", "votes", "regions", "discriminant", "smoothing"), 0.0) | {"refine": "none"}
SHOTS, DRAWS = 3, 8  #: shots of a target, and how often at most they are drawn


def variants(rank: int, own: int) -> dict[str, dict[str, Any]]:
    """Return the settings in which each variant differs from "plus".

    Args:
        rank: the backbone's rank of the published method.
        own: the rank of "plus".
    """
    return {
        "published": {**PUBLISHED, "rank": rank},
        "published, guided on score": {**PUBLISHED, "rank": rank, "refine": "guided", "upsample": "score"},
        f"published, rank {own}": PUBLISHED,
        "similarity alone": OFF,
        "+ background": {k: v for k, v in OFF.items() if k != "background"},
        "+ votes": {k: v for k, v in OFF.items() if k not in ("background", "votes")},
        "+ regions": {"discriminant": 0.0, "smoothing": 0.0, "refine": "none"},
        "+ discriminant": {"smoothing": 0.0, "refine": "none"},
        "+ smoothing": {"refine": "none"},
        "**plus** (+ guided edges)": {},
        "plus without background": {"background": 0.0},
        "plus without votes": {"votes": 0.0},
        "plus without regions": {"regions": 0.0},
        "plus without discriminant": {"discriminant": 0.0},
        "plus without smoothing": {"smoothing": 0.0},
        f"plus, rank {rank}": {"rank": rank},
        "plus, closer": {"closer": True},
    }


class Table:
    """A table of the mIoU of each set, and of the difference to another row."""

    def __init__(self, keys: list[tuple[str, str]]) -> None:
        self.rows = {name: [i for i, key in enumerate(keys) if key[0] == name] for name, _ in keys}
        self.classes = np.unique([f"{name} {cls}" for name, cls in keys], return_inverse=True)[1]

    def miou(self, counts: np.ndarray) -> list[float]:
        found = []
        for rows in self.rows.values():
            sums = [np.bincount(self.classes[rows], counts[rows, i]) for i in (0, 1)]
            seen = np.bincount(self.classes[rows]) > 0
            found.append(float(class_iou(sums[0][seen].astype(np.int64), sums[1][seen].astype(np.int64)).mean()))
        return found

    def gains(self, counts: np.ndarray, base: np.ndarray) -> list[tuple[float, float]]:
        """Return the interval of the difference for each set, and for the mean of the sets."""
        samples = []
        for rows in self.rows.values():
            weights, both = bootstrap_weights(len(rows)), []
            for each in (counts, base):
                pixels = each[rows].astype(np.int64)
                k = len(np.unique(self.classes[rows]))
                both.append(bootstrap_miou(self.classes[rows], pixels[:, 0], pixels[:, 1], k, weights=weights))
            samples.append(both[0] - both[1])
        return [interval(each) for each in (*samples, np.mean(samples, 0))]

    def line(self, name: str, counts: np.ndarray, base: np.ndarray) -> str:
        values, others = self.miou(counts), self.miou(base)
        cells = [f"{value:.1f}" for value in (*values, np.mean(values))]
        low, high = self.gains(counts, base)[-1]
        gain = "" if counts is base else f"{np.mean(values) - np.mean(others):+.1f} [{low:+.1f}, {high:+.1f}]"
        return f"| {name} | {' | '.join(cells)} | {gain} |"

    def head(self, against: str) -> str:
        names = [*self.rows, "mean of sets", f"to {against}"]
        return f"| | {' | '.join(names)} |\n{'|---' * (len(names) + 1)}|"


def ablation(bench: Bench, rank: int) -> None:
    table, base = Table(bench.keys), bench.counts(settings({"closer": False}))
    print(table.head("plus"), flush=True)
    for name, changes in variants(rank, bench.model.config.rank).items():
        print(table.line(name, bench.counts(settings({"closer": False, **changes})), base), flush=True)
    published = bench.counts(settings({**PUBLISHED, "rank": rank, "closer": False}))
    gains = table.gains(base, published)
    print("\nplus against published: " + ", ".join(
        f"{name} [{low:+.1f}, {high:+.1f}]" for name, (low, high) in zip([*table.rows, "mean"], gains, strict=True)
    ))  # fmt: skip


def settings(changes: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(changes.items()))


def large(bench: Bench) -> dict[tuple[str, str], list[View]]:
    """Return the pictures of the classes that have enough for several shots and a target."""
    classes: dict[tuple[str, str], dict[str, View]] = defaultdict(dict)
    for key, episode in zip(bench.keys, bench.episodes, strict=True):
        classes[key] |= {view.picture: view for view in (episode.target, *episode.references)}
    return {key: list(views.values()) for key, views in classes.items() if len(views) > SHOTS}


def shots(bench: Bench, rank: int) -> None:
    """Mark every picture of a class of four or more, with three others as shots, and with each of the three alone."""
    random = np.random.default_rng(0)
    several, alone = list[tuple[str, Episode]](), list[tuple[str, Episode]]()
    for (name, cls), views in large(bench).items():
        for target in views:
            threes = list(combinations([view for view in views if view != target], SHOTS))
            for i in random.permutation(len(threes))[:DRAWS]:
                several.append((name, Episode(f"{len(several)}", cls, target, threes[i])))
                alone += [(name, Episode(f"{len(several)}-{j}", cls, target, (v,))) for j, v in enumerate(threes[i])]
    everything = [(name, episode) for (name, _), episode in zip(bench.keys, bench.episodes, strict=True)]
    for title, changes in (("published", {**PUBLISHED, "rank": rank, "closer": False}), ("plus", {"closer": False})):
        for count, episodes in ((1, alone), (SHOTS, several)):
            bench.use(episodes)
            table = Table(bench.keys)
            if (title, count) == ("published", 1):
                print(f"{len(several)} targets\n\n{table.head('')}")
            found = bench.counts(settings(changes))
            print(table.line(f"{title}, {count} shot{'s' * (count > 1)}", found, found), flush=True)
    bench.use(everything)


def together(bench: Bench) -> None:
    """Mark classes of four or more pictures as folders: each picture is once the example of all others."""
    model, counts = bench.model.but(closer=False), defaultdict[str, dict[Any, np.ndarray]](dict)
    classes = large(bench)
    for key, views in classes.items():
        for example in views:
            targets, concept = [view for view in views if view != example], bench.concept((example,))
            with patch("insid3.transductive.LEAST", 1):
                found = Together.from_pool(model, [concept], ((view, bench.encoded(view)) for view in targets))
            for target in targets:
                encoded, truth = bench.encoded(target), bench.reader.mask(target)
                for way, shown in {
                    "plus": concept,
                    "plus, together": found.concepts_for(model, encoded, target)[0],
                    "plus, all other pictures with their true masks": bench.concept(
                        tuple(view for view in views if view != target)
                    ),
                }.items():
                    mask = model.segment(encoded, shown).mask
                    pixels = np.array([(mask & truth).sum(), (mask | truth).sum()])
                    counts[way][key] = counts[way].get(key, 0) + pixels
        for view in views:
            bench.model.cache.forget(bench.encoded(view).tokens)
    names = " | ".join(" ".join(key) for key in classes)
    print(f"| | {names} | mean of classes | to plus |\n{'|---' * (len(classes) + 3)}|")
    values = {way: np.array([100 * both / either for both, either in its.values()]) for way, its in counts.items()}
    weights = bootstrap_weights(len(classes))
    for way, its in values.items():
        gain = its - values["plus"]
        low, high = interval(weights @ gain / len(classes))
        against = "" if way == "plus" else f"{gain.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
        print(f"| {way} | {' | '.join(f'{each:.0f}' for each in its)} | {its.mean():.1f} | {against} |")


def seconds(bench: Bench, rank: int) -> None:
    """Print the mean time for encoding a target, and for all that follows; reading is left out."""
    model, ways = bench.model, {
        "published": bench.model.but(**{**PUBLISHED, "rank": rank, "closer": False}),
        "plus, without guided edges": bench.model.but(refine="none", closer=False),
        "plus": bench.model.but(closer=False),
        "plus, closer": bench.model,
    }  # fmt: skip
    encoding, spent = [], defaultdict(list)
    for episode in bench.episodes[::3]:
        picture = bench.reader.picture(episode.target)
        concept = bench.concept(episode.references)
        start = time.perf_counter()
        target = model.but(closer=False, refine="none").encode(picture)
        encoding.append(time.perf_counter() - start)
        target = model.encode(picture)
        for way, its in ways.items():
            its.segment(target, concept)  # fills the cache with the concept's part
            model.cache.forget(target.tokens)
            start = time.perf_counter()
            its.segment(target, concept)
            spent[way].append(time.perf_counter() - start)
            model.cache.forget(target.tokens)
    encode = mean(encoding)
    base = encode + mean(spent["published"])
    print(f"encoding {1000 * encode:.0f} ms\n\n| | ms after encoding | per target, to published |\n|---|---|---|")
    for way, times in spent.items():
        print(f"| {way} | {1000 * mean(times):.0f} | {(encode + mean(times)) / base:.2f} |")


def parts(bench: Bench) -> None:
    """Measure whether another tau for every concept would help, and whether the reference's partition tells which."""
    taus, chosen = (0.4, 0.5, 0.6, 0.7, 0.8), []
    for episode in bench.episodes:
        concept, found = bench.concept(episode.references), {}
        tokens, mask = concept.tokens[0], concept.patch_masks[0]
        for tau in taus:
            labels = cluster(tokens, tau)
            inside = torch.zeros(int(labels.max()) + 1).index_add_(0, labels, mask.float()) / labels.bincount()
            rebuilt = (inside > 0.5)[labels]
            found[tau] = float((rebuilt & mask).sum() / (rebuilt | mask).sum())
        chosen.append(next(i for i, tau in enumerate(taus) if found[tau] >= 0.9 * max(found.values())))
    each = np.stack([bench.counts(settings({"closer": False, "refine": "none", "tau": tau})) for tau in taus])
    table, base = Table(bench.keys), bench.counts(settings({"closer": False, "refine": "none"}))
    perfect = base.copy()
    for cls in np.unique(table.classes):
        rows = table.classes == cls
        sums = each[:, rows].sum(1)
        perfect[rows] = each[(sums[:, 0] / sums[:, 1].clip(1)).argmax(), rows]
    print(f"edges unrefined\n\n{table.head('the preset')}")
    print(table.line(f"tau {bench.model.config.tau}, the preset", base, base))
    print(table.line("the best tau of each class, by the truth", perfect, base))
    print(table.line("the coarsest that rebuilds the reference's mask", each[chosen, np.arange(len(chosen))], base))


def draw(bench: Bench, rank: int, folder: Path, count: int = 6) -> None:
    ways = [bench.model.but(**{**PUBLISHED, "rank": rank, "closer": False}), bench.model.but(closer=False)]
    gains = []
    for episode in bench.episodes:
        truth, concept = bench.reader.mask(episode.target), bench.concept(episode.references)
        masks = [way.segment(bench.encoded(episode.target), concept).mask for way in ways]
        ious = [(mask & truth).sum() / (mask | truth).sum() for mask in masks]
        gains.append((100 * (ious[1] - ious[0]), episode, truth, masks))
    gains.sort(key=lambda each: each[0])
    folder.mkdir(parents=True, exist_ok=True)
    for gain, episode, truth, masks in [*gains[:count], *gains[-count:]]:
        picture = bench.reader.picture(episode.target)
        row = np.concatenate([picture, *(overlay(picture, mask) for mask in (truth, *masks))], 1)
        Image.fromarray(row).save(folder / f"{gain:+.0f}_{episode.id}.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("episodes", type=Path)
    parser.add_argument("--backbone", default="dinov2-vits14")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--only", choices=["ablation", "shots", "together", "seconds", "parts"])
    arguments = parser.parse_args()
    model = INSID3.from_pretrained(arguments.backbone, preset="plus", closer=True, min_score=0.0)
    rank, bench = model.match_config.rank, Bench(arguments.episodes, model)
    assert model.config.rule == PLUS["rule"]
    steps = {
        "ablation": lambda: ablation(bench, rank),
        "shots": lambda: shots(bench, rank),
        "together": lambda: together(bench),
        "seconds": lambda: seconds(bench, rank),
        "parts": lambda: parts(bench),
    }
    for name, step in steps.items():
        if arguments.only in (None, name):
            print(f"\n## {name}\n")
            step()
    if arguments.pictures:
        draw(bench, rank, arguments.pictures)


if __name__ == "__main__":
    main()
