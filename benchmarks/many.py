"""Measure the cost of many concepts in one target, and of many targets in one run.

    python benchmarks/many.py concepts            # 1 and 10 concepts at 518 px, taking turns; embedded backbone
    python benchmarks/many.py targets [--count N] # memory while N tiny pictures are marked with a stub encoder

Prints tables. The pictures are gradio's; the ten concepts are boxes in them, all from one picture or from four.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from speed import gradio_folder

NAMES = ("cheetah1", "lion", "tower", "cheetah")


def concepts(rounds: int) -> None:
    from insid3 import INSID3, Concept
    from insid3.imaging.read import picture_size

    folder = gradio_folder() / "media_assets" / "images"
    model, target = INSID3.from_pretrained(), folder / "cheetah.jpg"

    def boxes(pictures: int) -> list[Concept]:
        made = []
        for i in range(10):
            picture = folder / f"{NAMES[i % pictures]}.jpg"
            height, width = picture_size(picture)
            mask = np.zeros((height, width), bool)
            y, x = height * (i // 4) // 6, width * (i % 4) // 6
            mask[y : y + height // 2, x : x + width // 2] = True
            made.append(model.concept(picture, mask, name=str(i)))
        return made

    print("| ten concepts from | one, s | ten, s | ratio |\n|---|---|---|---|")
    for pictures in (1, 4):
        made, seconds = boxes(pictures), {1: list[float](), 10: list[float]()}
        model.label(target, made)
        for _ in range(rounds):
            for count, taken in seconds.items():
                start = time.perf_counter()
                model.label(target, made[:count])
                taken.append(time.perf_counter() - start)
        one, ten = median(seconds[1]), median(seconds[10])
        print(f"| {pictures} picture{'s' * (pictures > 1)} | {one:.3f} | {ten:.3f} | {ten / one:.2f} |")


def targets(count: int) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from insid3.batch.options import Options
    from insid3.batch.runner import Run
    from insid3.batch.sources import find_targets
    from stubs import box_mask, colour_model, scene

    model = colour_model(size=8)
    concept = model.concept(scene((16, 16, 48, 48)), box_mask(16, 16, 48, 48))
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where, "pictures")
        for i in range(count):
            file = folder / f"{i // 1000:03}" / f"{i % 1000:03}.png"
            if i % 1000 == 0:
                file.parent.mkdir(parents=True)
                Image.fromarray(scene((0, 0, 8, 8), size=(16, 16))).save(file)
            else:
                os.link(file.with_name("000.png"), file)
        out = Path(where, "out")
        print("| done | MB in memory | pictures a second |\n|---|---|---|")
        for again in ("", " when continued"):
            start = time.perf_counter()
            run = Run(model, concept, find_targets([folder], out), out, Options(overlays=False))
            print(f"| 0{again} | {_memory():.0f} | found and compared in {time.perf_counter() - start:.1f} s |")
            start = time.perf_counter()
            for done, _ in enumerate(run, 1):
                if done in (1000, 10_000, count // 2) or done == len(run.todo):
                    print(f"| {done:,} | {_memory():.0f} | {done / (time.perf_counter() - start):.0f} |", flush=True)


def _memory() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("concepts", "targets"))
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    if given.what == "concepts":
        concepts(given.rounds)
    else:
        targets(given.count)
