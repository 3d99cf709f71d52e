"""Measure the accuracy of bfloat16 against float32: masks and mIoU on the dev episodes.

    python benchmarks/precision.py [--shared DIR] [--size 518]

Prints, for each set, mIoU as in the paper and the mean IoU of the two masks with each other; and for all episodes the
mean difference of the IoU, with a 95 % interval from 10,000 paired bootstrap samples.
"""

import argparse
import json
import os
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np

from insid3 import INSID3
from insid3.imaging.masks import read_mask

ROOT = Path(__file__).parent.parent


def iou(first: np.ndarray, second: np.ndarray) -> float:
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


def masks(dev: Path, episodes: list[dict], size: int, dtype: str) -> dict[str, np.ndarray]:
    model = INSID3.from_pretrained(size=size, dtype=dtype)
    found = {}
    for episode in episodes:
        shots = [dev / "images" / f"{stem}.jpg" for stem in episode["ref"]]
        concept = model.concept(shots, [dev / "masks" / f"{stem}.png" for stem in episode["ref"]], label="any")
        found[str(episode["id"])] = model.segment(dev / "images" / f"{episode['tgt']}.jpg", concept).mask
        print(f"\r{dtype} {len(found)}/{len(episodes)}", end="", flush=True)
    print()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("INSID3_SHARED") or ROOT.parent / "shared"))
    parser.add_argument("--size", type=int, default=518)
    arguments = parser.parse_args()
    dev = arguments.shared / "dev"
    episodes = json.loads((dev / "episodes.json").read_text())
    exact, half = (masks(dev, episodes, arguments.size, dtype) for dtype in ("float32", "bfloat16"))

    sys.argv = ["score.py", str(dev)]  # the script reads it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        table = runpy.run_path(str(dev / "score.py"))["table"]
    scores = {"float32": table(exact), "bfloat16": table(half)}
    difference, alike = {}, {}
    for episode in episodes:
        key = str(episode["id"])
        truth = read_mask(dev / "masks" / f"{episode['tgt']}.png", exact[key].shape, "any")
        difference[key] = 100 * (iou(half[key], truth) - iou(exact[key], truth))
        alike[key] = iou(exact[key], half[key])
    print("| set | mIoU float32 | bfloat16 | mean IoU of the two masks | identical |\n|---|---|---|---|---|")
    for name in scores["float32"]:
        mine = [alike[str(e["id"])] for e in episodes if e["set"] == name] or [*alike.values()]
        identical = sum(value == 1 for value in mine)
        print(
            f"| {name} | {scores['float32'][name]:.1f} | {scores['bfloat16'][name]:.1f} | {np.mean(mine):.3f} "
            f"| {identical} of {len(mine)} |"
        )
    values = np.array([*difference.values()])
    rng = np.random.default_rng(0)
    means = rng.choice(values, (10_000, len(values))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    print(f"all {len(values)}: masks' mean IoU {np.mean([*alike.values()]):.3f}, ", end="")
    print(f"IoU with the truth {values.mean():+.2f} points, 95 % interval [{low:+.2f}, {high:+.2f}]")


if __name__ == "__main__":
    main()
