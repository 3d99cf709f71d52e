"""Does `Segmentation.score` tell pictures with the concept from those without, and good masks from bad ones?

    python benchmarks/score.py [--shared DIR]

AUC: an episode's own target against targets that do not show its concept (absent.json). Rank correlation: Spearman's,
of score and IoU over the episodes' own targets. An empty mask scores 0. The formula was chosen on coco and davis.
"""

import argparse
import json
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

from scipy.stats import rankdata, spearmanr

from insid3 import INSID3, Encoded
from insid3.images import read_mask

ROOT = Path(__file__).parent.parent
GROUPS = [("coco",), ("davis",), ("ccp",), ("dsb",), ("coco", "davis"), ("ccp", "dsb")]


class Row(NamedTuple):
    """One segmented target; `iou` is None where the concept is absent."""

    group: str
    score: float
    iou: float | None


def measure(dev: Path) -> list[Row]:
    """Segment the episodes' own targets and the absent ones."""
    model = INSID3.from_pretrained()
    pictures = {path.stem: path for path in (dev / "images").iterdir()}
    episodes = json.loads((dev / "episodes.json").read_text())
    absent: dict[int, list[str]] = {}
    for episode, target in json.loads((dev / "absent.json").read_text())["pairs"]:
        absent.setdefault(episode, []).append(target)

    @cache
    def encoded(stem: str) -> Encoded:
        return model.encode(pictures[stem])

    rows = []
    for done, episode in enumerate(episodes, 1):
        shots = [pictures[stem] for stem in episode["ref"]]
        concept = model.concept(shots, [dev / "masks" / f"{stem}.png" for stem in episode["ref"]])
        result = model.segment(encoded(episode["tgt"]), concept)
        truth = read_mask(dev / "masks" / f"{episode['tgt']}.png", result.mask.shape)
        iou = float((result.mask & truth).sum() / max((result.mask | truth).sum(), 1))
        rows.append(Row(episode["set"], result.score, iou))
        for target in absent.get(episode["id"], []):
            rows.append(Row(episode["set"], model.segment(encoded(target), concept).score, None))
        print(f"\r{done}/{len(episodes)}", end="", flush=True)
    print()
    return rows


def auc(present: list[float], absent: list[float]) -> float:
    """Chance that a present target scores above an absent one; ties count half."""
    ranks = rankdata(present + absent)[: len(present)]
    return float((ranks.mean() - (len(present) + 1) / 2) / len(absent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("INSID3_SHARED") or ROOT.parent / "shared")
    parser.add_argument("--shared", type=Path, default=default, help="folder that holds dev/")
    rows = measure(parser.parse_args().shared / "dev")
    print(f"{'':12}present absent   AUC  rank correlation")
    for group in GROUPS:
        own = [(row.score, row.iou) for row in rows if row.group in group and row.iou is not None]
        absent = [row.score for row in rows if row.group in group and row.iou is None]
        scores, ious = zip(*own, strict=True)
        correlation = spearmanr(scores, ious).statistic
        print(f"{' + '.join(group):12}{len(own):7}{len(absent):7}{auc(list(scores), absent):6.3f}{correlation:18.3f}")


if __name__ == "__main__":
    main()
