"""Measure the worth of a memory of earlier frames, and the peak memory of a long video.

    python benchmarks/video.py clips [--shared DIR]     the video clips of the dev episodes, with and without a memory
    python benchmarks/video.py long [--seconds 60]      a synthetic 1080p clip: peak memory as the run goes on

Clips: mIoU as in the paper, summed over a clip's targets; the first still is the example. A clip has four stills, 16 to
35 frames apart, so that every confident still is remembered (gap 1).
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from insid3 import INSID3
from insid3.imaging.masks import read_mask
from insid3.video.memory import Memory, MemoryConfig

ROOT = Path(__file__).parent.parent
MEMORIES = {
    "frame by frame": None,
    "1 frame": MemoryConfig(1, 0.6, 1),
    "2 frames (default)": MemoryConfig(2, 0.6, 1),
    "2 frames, any score": MemoryConfig(2, 0.0, 1),
    "2 frames, score 0.65": MemoryConfig(2, 0.65, 1),
    "2 frames, score 0.7": MemoryConfig(2, 0.7, 1),
}


def clips(dev: Path) -> None:
    model = INSID3.from_pretrained()
    pictures = {path.stem: path for path in (dev / "images").iterdir()}
    stills: dict[tuple[str, str], list[str]] = defaultdict(list)
    for episode in json.loads((dev / "episodes.json").read_text()):
        if episode["set"] == "davis":
            stills[episode["cls"], episode["ref"][0]].append(episode["tgt"])
    encoded = {name: model.encode(pictures[name]) for names in stills.values() for name in names}
    print(f"| memory | {' | '.join(name for name, _ in stills)} | mean |\n|---|{'---|' * (len(stills) + 1)}")
    for title, settings in MEMORIES.items():
        values = []
        for (_, example), names in stills.items():
            concept = model.concept(pictures[example], dev / "masks" / f"{example}.png")
            memory = Memory(model, [concept], settings) if settings else None
            intersection = union = 0
            for index, name in enumerate(names):
                found = memory.label(encoded[name]) if memory else model.label(encoded[name], [concept])
                mask = found.masks[0]
                if memory:
                    memory.keep(index, encoded[name], found.masks)
                truth = read_mask(dev / "masks" / f"{name}.png", mask.shape)
                intersection, union = intersection + (mask & truth).sum(), union + (mask | truth).sum()
            values.append(100 * intersection / union)
        print(f"| {title} | {' | '.join(f'{value:.1f}' for value in values)} | {np.mean(values):.1f} |")


def long(seconds: int) -> None:
    """Measure the peak memory of a long clip, with a stub encoder so that nothing else is measured."""
    sys.path.insert(0, str(ROOT / "tests"))
    from clips import write_clip
    from insid3.batch.options import Options
    from insid3.batch.runner import Run
    from insid3.video.clip import Clip
    from insid3.video.film import film
    from insid3.video.frames import ClipFrames, mark_in_order, overlays
    from stubs import box_mask, colour_model, scene

    def moving() -> Iterator[np.ndarray]:
        for i in range(25 * seconds):
            left = 8 * (i % 150)
            yield scene((300, left, 700, left + 400), size=(1080, 1920))

    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "long.mp4"), Path(folder, "out")
        write_clip(path, moving(), rate=25)
        model, settings = colour_model(), MemoryConfig()
        concept = model.concept(
            scene((300, 200, 700, 600), size=(1080, 1920)), box_mask(300, 200, 700, 600, (1080, 1920))
        )
        clip, start = Clip(path), time.perf_counter()
        frames = ClipFrames(clip, range(len(clip.moments)))
        run = Run(
            model,
            concept,
            frames.targets,
            out,
            Options(overlays=False),
            engine=partial(mark_in_order, model, frames, settings),
        )
        print(f"{len(clip.moments)} frames of 1920 x 1080\n\n| after | peak memory, MB | s |\n|---|---|---|")
        for count, result in enumerate(run, 1):
            assert result.error is None
            if count in (25, 250) or count % 500 == 0:
                print(f"| {count} frames | {_peak()} | {time.perf_counter() - start:.0f} |", flush=True)
        start = time.perf_counter()
        film(out / "overlay.mp4", overlays(frames, run.work), clip.rate)
        print(f"| the film | {_peak()} | {time.perf_counter() - start:.0f} |")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("INSID3_SHARED") or ROOT.parent / "shared")
    parser.add_argument("what", choices=["clips", "long"])
    parser.add_argument("--shared", type=Path, default=default, help="folder that holds dev/")
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    if arguments.what == "clips":
        clips(arguments.shared / "dev")
    else:
        long(arguments.seconds)


if __name__ == "__main__":
    main()
