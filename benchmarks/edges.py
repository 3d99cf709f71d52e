"""Measure the worth of refined edges: every way of stage 6 on the dev episodes.

    python benchmarks/edges.py [--shared DIR] [--sizes 518 1022] [--pictures DIR]

Prints, for each set, mIoU as in the paper, and boundary IoU (Cheng et al. 2021, ratio 0.02) summed over a class in the
same way; the median seconds of stage 6 for one picture on one thread; and for each way the mean difference of the
episodes' values to "none", with a 95 % interval from 10,000 paired bootstrap samples. With --pictures, the episodes
that the CRF helps and harms most are drawn into DIR: target, truth, none, guided, crf.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from insid3 import INSID3
from insid3.eval.metrics import Counts, Tally, bootstrap_mean, boundary_counts, class_iou, counts, interval
from insid3.features import upsample
from insid3.imaging.draw import overlay
from insid3.imaging.masks import read_mask
from insid3.imaging.read import read_image
from insid3.methods import base as ending

ROOT = Path(__file__).parent.parent
WAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "score": {"upsample": "score"},
    "guided": {"refine": "guided"},
    "guided on score": {"refine": "guided", "upsample": "score"},
    "crf, mean-field": {"refine": "crf"},
    "crf, frank-wolfe": {"refine": "crf", "solver": "frank-wolfe"},
    "crf on score": {"refine": "crf", "upsample": "score"},
}
Found = tuple[Counts, tuple[int, int]]  # pixels of a mask and its truth; of the boundaries' intersection and union


def iou(found: Found) -> np.ndarray:
    """Return the IoU of the masks and of their boundaries for one episode, in per cent."""
    (_, both), (_, either) = found[0]
    return class_iou(np.array([both, found[1][0]]), np.array([either, found[1][1]]))


def measured(dev: Path, episodes: list[dict], size: int) -> tuple[dict, dict, dict]:
    """Run all ways, and return masks and pixel counts by way and episode, and seconds by way."""
    base = INSID3.from_pretrained(size=size)
    ways = WAYS
    if size > 640:  # frank-wolfe at R is the paper's
        at_r = {way: settings | {"crf_size": size} for way, settings in WAYS.items() if way.startswith("crf,")}
        ways = WAYS | {f"{way}, at {size} px": settings for way, settings in at_r.items()}
    models = {way: INSID3(base.encoder, base.config.but(**settings)) for way, settings in ways.items()}
    masks: dict[str, dict] = defaultdict(dict)
    found: dict[str, dict[Any, Found]] = defaultdict(dict)
    seconds: dict[str, list] = defaultdict(list)
    spent, to_mask, threads = [], upsample.to_mask, torch.get_num_threads()

    def timed(*arguments: Any) -> Any:
        torch.set_num_threads(1)
        start = time.perf_counter()
        result = to_mask(*arguments)
        spent.append(time.perf_counter() - start)
        torch.set_num_threads(threads)
        return result

    setattr(ending, "to_mask", timed)  # noqa: B010
    for episode in episodes:
        shots = [dev / "images" / f"{stem}.jpg" for stem in episode["ref"]]
        concept = base.concept(shots, [dev / "masks" / f"{stem}.png" for stem in episode["ref"]], label="any")
        picture = read_image(dev / "images" / f"{episode['tgt']}.jpg")
        truth = read_mask(dev / "masks" / f"{episode['tgt']}.png", picture.shape[:2], "any")
        target = base.encode(picture)
        for way, model in models.items():
            start = time.perf_counter()
            seen = upsample.picture_to_refine(picture, target.grid, model.config)
            resizing = time.perf_counter() - start
            spent.clear()
            mask = model.segment(replace(target, picture=seen), concept).mask
            seconds[way] += [resizing + stage for stage in spent]  # empty if no patch was a candidate
            masks[way][episode["id"]] = mask
            found[way][episode["id"]] = counts(mask, truth), boundary_counts(mask, truth)
        print(f"\r{size} px: {len(masks['none'])}/{len(episodes)}", end="", flush=True)
    print()
    setattr(ending, "to_mask", to_mask)  # noqa: B010
    return masks, found, seconds


def by_set(found: dict[Any, Found], episodes: list[dict]) -> dict[str, np.ndarray]:
    """Return (mIoU, boundary IoU) of each set in per cent, of sums over a class, averaged over classes."""
    tallies = {}
    for name in dict.fromkeys(episode["set"] for episode in episodes):
        own = [episode for episode in episodes if episode["set"] == name]
        tallies[name] = Tally(episode["cls"] for episode in own)
        for episode in own:
            tallies[name].add(episode["cls"], *found[episode["id"]])
    return {name: np.array([tally.miou, tally.boundary_iou]) for name, tally in tallies.items()}


def table(found: dict[str, dict[Any, Found]], seconds: dict, episodes: list[dict]) -> str:
    scores = {way: by_set(of_way, episodes) for way, of_way in found.items()}
    sets = list(scores["none"])
    lines = [
        f"| way | {' | '.join(sets)} | mean of sets | per episode, to none | seconds |",
        "|---" * (len(sets) + 4) + "|",
    ]
    each = {way: np.array([iou(episode) for episode in of_way.values()]) for way, of_way in found.items()}
    for way, score in scores.items():
        cells = [f"{a:.1f} / {b:.1f}" for a, b in [*score.values(), np.mean([*score.values()], 0)]]
        difference = each[way] - each["none"]
        gains = []
        for mean, samples in zip(difference.mean(0), bootstrap_mean(difference, 10_000).T, strict=True):
            low, high = interval(samples)
            gains.append(f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]")
        gain = " / ".join(gains) if way != "none" else ""
        lines.append(f"| {way} | {' | '.join(cells)} | {gain} | {median(seconds[way]):.3f} |")
    return "\n".join(lines)


def draw(dev: Path, episodes: list[dict], masks: dict, found: dict, folder: Path, count: int = 4) -> None:
    """Draw the episodes that the CRF helps and harms most."""
    gain = {e["id"]: iou(found["crf, mean-field"][e["id"]])[0] - iou(found["none"][e["id"]])[0] for e in episodes}
    ranked = sorted(episodes, key=lambda e: gain[e["id"]])
    folder.mkdir(parents=True, exist_ok=True)
    for episode in [*ranked[:count], *ranked[-count:]]:
        picture = read_image(dev / "images" / f"{episode['tgt']}.jpg")
        truth = read_mask(dev / "masks" / f"{episode['tgt']}.png", picture.shape[:2], "any")
        shown = [truth, *(masks[way][episode["id"]] for way in ("none", "guided", "crf, mean-field"))]
        row = np.concatenate([picture, *(overlay(picture, mask) for mask in shown)], 1)
        Image.fromarray(row).save(folder / f"{gain[episode['id']]:+.1f}_{episode['id']}.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("INSID3_SHARED") or ROOT.parent / "shared"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[518, 1022])
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    dev = arguments.shared / "dev"
    episodes = json.loads((dev / "episodes.json").read_text())
    for size in arguments.sizes:
        masks, found, seconds = measured(dev, episodes, size)
        print(f"\nR = {size}, mIoU / boundary IoU:\n\n{table(found, seconds, episodes)}\n")
        if arguments.pictures:
            draw(dev, episodes, masks, found, arguments.pictures / str(size))


if __name__ == "__main__":
    main()
