"""Measure a folder run in several processes: pictures per second, and CPU time of the workers and of Ray.

    python benchmarks/scale.py [--pictures 160] [--ways local:1 ray:1 ray:2 local:2]

A way is an engine with a number of workers of one thread each; "local:2" is one process with two threads. The ways run
one after the other, each in its own process. The rate is measured from the first finished task to four fifths of the
targets, so that neither start nor end counts; the time to the first result is printed. CPU seconds are the kernel's
numbers for all processes of the run during the measured time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

from speed import gradio_folder

ROOT = Path(__file__).parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
KINDS = {"ray::MapWorker": "workers", "ray::": "other workers of Ray", "raylet": "raylet", "gcs_server": "gcs"}


def demo_pictures() -> list[Path]:
    """Return the pictures in gradio's package."""
    folder = gradio_folder()
    return [*sorted((folder / "media_assets/images").glob("*.jpg")), folder / "test_data/cheetah2.jpg"]


def cpu_seconds() -> Counter[str]:
    """Return the CPU seconds of this process and of Ray's, by the role of the process."""
    found: Counter[str] = Counter()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        seconds = (int(fields[11]) + int(fields[12])) / TICKS
        if int(folder.name) == os.getpid():
            found["this process"] += seconds  # type: ignore[assignment]
        elif "ray" in command:
            kind = next((kind for sign, kind in KINDS.items() if sign in command.split("\0")[0]), "agents, monitors")
            found[kind] += seconds  # type: ignore[assignment]
    return found


def one(engine: str, workers: int, count: int) -> None:
    import torch

    from insid3 import INSID3
    from insid3.batch.annotations import from_labelme
    from insid3.batch.options import Options
    from insid3.batch.ray_engine import remote
    from insid3.batch.ray_pool import Pool
    from insid3.batch.runner import Run
    from insid3.batch.sources import find_targets

    pictures = demo_pictures()
    threads = workers if engine == "local" else 1
    torch.set_num_threads(threads)
    load = partial(INSID3.from_pretrained, device="cpu")
    model = load()
    example = next(picture for picture in pictures if picture.stem == "cheetah1")
    concept = model.concept(*from_labelme(ROOT / "src/insid3/app/cheetah1.json", picture=example))
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            picture = pictures[i % len(pictures)]
            Path(folder, f"{i:05}.jpg").symlink_to(picture)
        targets, out = find_targets([folder], Path(folder, "out")), Path(folder, "out")
        pool = partial(remote, load, model.encoder, Pool(workers, 1, "cpu")) if engine == "ray" else None
        most = count * 4 // 5
        begin, arrived = time.perf_counter(), list[float]()
        used: Counter[str] = Counter()
        run = Run(model, concept, targets, out, Options(overlays=False), engine=pool)
        for result in run:
            assert result.error is None
            if not arrived:
                used.subtract(cpu_seconds())
            arrived.append(time.perf_counter() - begin)
            if len(arrived) == most:
                used.update(cpu_seconds())
    arrived = arrived[:most]
    first = sum(moment - arrived[0] < 0.1 for moment in arrived)  # a task's results come together
    rate = (most - first) / (arrived[-1] - arrived[0])
    used = Counter({kind: round(seconds, 1) for kind, seconds in used.items() if seconds > 0.05})
    print(json.dumps({"first": arrived[0], "rate": rate, "seconds": arrived[-1] - arrived[0], "cpu": used}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=160)
    parser.add_argument("--ways", nargs="+", default=["local:1", "ray:1", "ray:2", "local:2"])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        engine, _, workers = arguments.one.partition(":")
        one(engine, int(workers), arguments.pictures)
        return
    base = None
    print(
        "| way | first result, s | pictures/s | against the first | CPU seconds while working |\n|---|---|---|---|---|"
    )
    for way in arguments.ways:
        command = [sys.executable, __file__, "--one", way, "--pictures", str(arguments.pictures)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(said.splitlines()[-1])
        base = base or found["rate"]
        cpu = ", ".join(f"{kind} {seconds:g}" for kind, seconds in found["cpu"].items())
        print(
            f"| {way} | {found['first']:.1f} | {found['rate']:.2f} | {found['rate'] / base:.2f} | "
            f"{cpu} in {found['seconds']:.0f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()
