"""Compare the output of two checkouts of this repository: python benchmarks/checkouts.py OLD NEW [--dev DIR].

Every run is made by the command line of both checkouts, with the same Python and packages. All masks, heat maps and
scores must be equal in every pixel; lines of results must be equal in all shared entries but seconds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
REFINED = ["--refine", "crf", "--limit", "12"]
SMALL = ["--tile", "280", "--score-at", "original", "--limit", "6"]


def runs(dev: Path) -> dict[str, list[str]]:
    """Return the command of each run, by its name."""
    episodes = json.loads((dev / "episodes.json").read_text())
    pictures = [str(dev / "images" / f"{episode['tgt']}.jpg") for episode in episodes]
    shown = episodes[0]["ref"][0]
    example = ["--reference", str(dev / "images" / f"{shown}.jpg"), "--mask", str(dev / "masks" / f"{shown}.png")]
    targets = pictures[:8]
    evaluate = ["evaluate", f"episodes:{dev}"]
    return {
        "published": evaluate,
        "plus": [*evaluate, "--preset", "plus"],
        "crf": [*evaluate, *REFINED],
        "tiles": [*evaluate, *SMALL],
        "kmeans": [*evaluate, "--kmeans", "25", "--limit", "12"],
        "seed": [*evaluate, "--aggregation", "seed", "--limit", "12"],
        "nearest": [*evaluate, "--method", "nearest", "--limit", "12"],
        "prototype": [*evaluate, "--method", "prototype", "--limit", "12"],
        "folder": ["segment", *example, *targets, "--scores", "npy", "--heatmap", "--instances", "--format", "coco"],
        "together": ["segment", *example, *targets, "--preset", "plus", "--together", "--scores", "npy"],
        "negative": ["segment", *example, *targets, "--negative", pictures[-1]],
    }


def written(checkout: Path, command: list[str], output: Path) -> dict[str, object]:
    """Run a command of a checkout and return the content of the written files, by their names."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    call = [sys.executable, "-m", "insid3", *command, "-o", str(output), "--quiet"]
    subprocess.run(call, env=environment, check=True, cwd=checkout)
    found: dict[str, object] = {}
    for file in sorted(path for path in output.rglob("*") if path.is_file()):
        name = file.relative_to(output).as_posix()
        if file.suffix == ".npy":
            found[name] = np.load(file)
        elif file.suffix in (".png", ".jpg") and "pictures" not in file.parts:
            found[name] = np.asarray(Image.open(file))
        elif file.name == "results.jsonl":
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            found |= {f"{name}:{i}": {k: v for k, v in line.items() if k != "seconds"} for i, line in enumerate(lines)}
    return found


def differing(old: dict[str, object], new: dict[str, object]) -> list[str]:
    """Return the names of the entries that differ, or are on one side only."""

    def same(name: str) -> bool:
        one, other = old.get(name), new.get(name)
        if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
            return np.array_equal(one, other)
        if isinstance(one, dict) and isinstance(other, dict):
            return all(one[key] == other[key] for key in one.keys() & other.keys())
        return False

    return [name for name in sorted(old.keys() | new.keys()) if not same(name)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--dev", type=Path, default=ROOT.parent / "shared" / "dev", help="folder of the dev episodes")
    parser.add_argument("--only", nargs="*", help="names of runs")
    asked = parser.parse_args()
    unequal = 0
    for name, command in runs(asked.dev.resolve()).items():
        if asked.only and name not in asked.only:
            continue
        with tempfile.TemporaryDirectory() as place:
            old = written(asked.old.resolve(), command, Path(place) / "old")
            new = written(asked.new.resolve(), command, Path(place) / "new")
        differ = differing(old, new)
        unequal += len(differ)
        print(f"{name:12}{len(old):5} compared, {len(differ)} differ {differ[:6] or ''}", flush=True)
    return int(unequal > 0)


if __name__ == "__main__":
    sys.exit(main())
