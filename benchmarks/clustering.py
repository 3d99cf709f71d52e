"""Compare clustering (stage 3) with scikit-learn's, whose time includes its distance matrix.

    python benchmarks/clustering.py [--out benchmarks/results]

Tokens are those of a real picture, encoded at each number of patches. Above `SKLEARN` patches scikit-learn is left out
(at 21,316 its matrices take 5 GB and a minute). The largest sizes are upsampled tokens with a little noise.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score
from speed import in_own_process, machine, peak, pictures

from insid3 import INSID3
from insid3.stages.cluster import cluster

HERE = Path(__file__).parent
TAU = 0.7
SIDES = [7, 20, 32, 37, 64, 73, 128, 181, 256]  # n = 49 ... 65,536
SKLEARN = 6000


def tokens(side: int) -> torch.Tensor:
    """Return (side * side, 384) unit tokens."""
    seen = min(side, 73)
    model = INSID3.from_pretrained(device="cpu", size=14 * seen, rank=20)
    found = model.encode(pictures()[1]).tokens[0]
    if side > seen:
        grid = found.T.view(1, -1, seen, seen)
        large = F.interpolate(grid, (side, side), mode="bilinear")[0].flatten(1).T
        noise = torch.randn(large.shape, generator=torch.Generator().manual_seed(0))
        found = F.normalize(F.normalize(large, dim=-1) + 0.02 * noise, dim=-1)
    return found.contiguous()


def seconds(compute: Callable[[], object], budget: float = 3.0) -> float:
    """Return the least time of as many calls as fit into the budget of seconds; at least one."""
    best, spent = np.inf, 0.0
    while spent < budget:
        start = time.perf_counter()
        compute()
        spent += (last := time.perf_counter() - start)
        best = min(best, last)
    return float(best)


def by_sklearn(x: torch.Tensor) -> np.ndarray:
    distance = (1 - x @ x.T).clamp(min=0).numpy()
    clustering = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1 - TAU
    )
    return clustering.fit_predict(distance)


def one(side: int) -> dict[str, float | None]:
    x = tokens(side)
    before = peak()
    labels = cluster(x, TAU)
    row: dict[str, float | None] = {
        "n": len(x), "clusters": int(labels.max()) + 1, "ours": seconds(lambda: cluster(x, TAU)), "peak": peak(),
        "more": peak() - before, "sklearn": None, "rand": None,
    }  # fmt: skip
    if len(x) <= SKLEARN:
        row["rand"] = adjusted_rand_score(by_sklearn(x), labels)
        row["sklearn"] = seconds(lambda: by_sklearn(x))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one)))
        return
    lines = [
        "| patches | clusters | ours, ms | scikit-learn, ms | ratio | adjusted Rand index | peak GB of the process |",
        "|---|---|---|---|---|---|---|",
    ]
    for side in SIDES:
        row = in_own_process("--one", side, script=__file__)
        theirs = "- | - | -"
        if row["sklearn"] is not None:
            theirs = f"{1000 * row['sklearn']:.1f} | {row['ours'] / row['sklearn']:.2f} | {row['rand']:.4f}"
        lines.append(
            f"| {row['n']:,} | {row['clusters']:,} | {1000 * row['ours']:.1f} | {theirs} "
            f"| {row['peak']:.2f} (+{row['more']:.2f}) |"
        )
        print(lines[-1], flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "clustering.md").write_text("\n".join([machine(), "", *lines, ""]))


if __name__ == "__main__":
    main()
