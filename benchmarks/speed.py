"""Compare time and memory per target with the published code's way, on the same pictures and backbone.

    python benchmarks/speed.py [--sizes 518 1022 1540 2044] [--out benchmarks/results]

Writes speed.json, speed.md and speed.svg. Every measurement runs in its own process, so that peak memory can be
measured; the ways take turns, so that another job on the machine slows all of them. "plain" works as the published code
does: both pictures are encoded for every target in torch float32, with whole similarity and distance matrices,
scikit-learn's clustering and a loop over clusters.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

HERE = Path(__file__).parent
WAYS = {
    "plain": "published way, torch float32",
    "float32": "ours, float32",
    "bfloat16": "ours, bfloat16",
    "torch": "ours, float32, torch engine",
}
REPEATS = {518: 5, 1022: 2}  # targets in each process; 1 for larger sizes
ROUNDS = {518: 3, 1022: 2}  # processes of each way; 1 for larger sizes


def gradio_folder() -> Path:
    """Return the folder of gradio's package, which holds pictures."""
    found = find_spec("gradio")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0])


def pictures() -> tuple[Path, Path]:
    """Return reference and target: cheetahs in gradio's package."""
    folder = gradio_folder()
    return folder / "media_assets" / "images" / "cheetah1.jpg", folder / "test_data" / "cheetah2.jpg"


Run = Callable[[], np.ndarray]


def plain(size: int) -> Run:
    """Return a function that marks one target as the published code does, starting from both pictures."""
    import torch
    import torch.nn.functional as F
    from sklearn.cluster import AgglomerativeClustering

    from insid3.backbones import find, load_encoder
    from insid3.batch.annotations import from_labelme
    from insid3.imaging.read import read_image
    from insid3.imaging.resizing import resize_image, resize_mask
    from insid3.stages.encode import normalise

    encoder = load_encoder("dinov2-vits14", device="cpu", engine="torch")
    defaults = find("dinov2-vits14").defaults
    assert defaults is not None
    rank, tau, threshold = defaults.rank, defaults.tau, defaults.threshold
    reference, target = pictures()
    _, drawn = from_labelme(HERE.parent / "src/insid3/app/cheetah1.json", picture=reference)
    side = size // encoder.patch_size

    def encode(picture: np.ndarray) -> torch.Tensor:
        square = torch.from_numpy(resize_image(picture, (size, size)).copy())
        (tokens,) = encoder(normalise(square[None], encoder.mean, encoder.std))
        return F.normalize(tokens.flatten(1, 2)[0], dim=-1)

    black = encode(np.zeros((size, size, 3), np.uint8))
    basis = torch.linalg.svd(black - black.mean(0), full_matrices=False).Vh[:rank].T

    def run() -> np.ndarray:
        picture = read_image(target)
        first, second = encode(read_image(reference)), encode(picture)
        mask = F.interpolate(
            torch.from_numpy(resize_mask(drawn, (size, size)))[None, None].float(), (side, side), mode="bilinear"
        )
        inside = (mask > 0.5).flatten()
        there, here = (F.normalize(x - x @ basis @ basis.T, dim=-1) for x in (first, second))
        prototype = F.normalize(there[inside].mean(0), dim=0)
        forward = here @ prototype
        candidates = (forward > 0) & inside[(here @ there.T).argmax(1)]
        distance = (1 - second @ second.T).clamp(min=0).numpy()
        clustering = AgglomerativeClustering(
            n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1 - tau
        )
        labels = torch.from_numpy(clustering.fit_predict(distance))
        clusters = [labels == k for k in range(int(labels.max()) + 1)]
        raw = torch.stack([F.normalize(second[c].mean(0), dim=0) for c in clusters])
        holding = [k for k, c in enumerate(clusters) if candidates[c].any()]
        seed = max(holding, key=lambda k: float(F.normalize(here[clusters[k]].mean(0), dim=0) @ prototype))
        kept = torch.zeros(len(second), dtype=torch.bool)
        for k, members in enumerate(clusters):
            area = 1.0 if k == seed else float(candidates[members].float().mean())
            if float(forward[members].mean()) * float(raw[k] @ raw[seed]) * area > threshold:
                kept |= members
        pixels = kept.view(1, 1, side, side).float()
        for shape in ((size, size), picture.shape[:2]):
            pixels = (F.interpolate(pixels, shape, mode="bilinear") > 0.5).float()
        return pixels[0, 0].bool().numpy()

    return run


def ours(way: str, size: int) -> tuple[Run, Run, Callable[[], dict[str, float]]]:
    """Return functions that mark a target with a kept concept and with a new one, and that time the stages."""
    from insid3 import INSID3
    from insid3.batch.annotations import from_labelme

    reference, target = pictures()
    _, drawn = from_labelme(HERE.parent / "src/insid3/app/cheetah1.json", picture=reference)
    dtype, engine = ("float32", "torch") if way == "torch" else (way, "auto")
    model = INSID3.from_pretrained(device="cpu", dtype=dtype, engine=engine, size=size)
    kept = model.concept(reference, drawn)
    return (
        lambda: model.segment(target, kept).mask,
        lambda: model.segment(target, model.concept(reference, drawn)).mask,
        lambda: stages(model, target, kept),
    )


def stages(model: Any, target: Path, concept: Any) -> dict[str, float]:
    """Return the seconds of each stage of one target, by wrapping the functions that the method calls."""
    from insid3.features import cache, encoded
    from insid3.methods import base
    from insid3.methods import insid3 as method

    spent: dict[str, float] = {}
    undo = []

    def watch(module: Any, name: str, what: str) -> None:
        original = getattr(module, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                spent[what] = spent.get(what, 0) + time.perf_counter() - start

        setattr(module, name, timed)
        undo.append((module, name, original))

    watch(encoded, "_tokens", "encoder")
    for module, name, what in [
        (encoded, "read_image", "read"), (encoded, "resize_image", "resize"), (encoded, "normalise", "normalise"),
        (cache, "debias", "debias"), (cache, "nearest", "match"), (method, "cluster_windows", "cluster"),
        (method, "cluster_means", "cluster means"), (base, "to_mask", "pixels"), (base, "presence", "trust"),
    ]:  # fmt: skip
        watch(module, name, what)
    start = time.perf_counter()
    model.segment(target, concept)
    spent["rest"] = time.perf_counter() - start - sum(spent.values())
    for module, name, original in undo:
        setattr(module, name, original)
    return spent


def peak() -> float:
    """Return the largest resident memory of this process so far, in GB."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


def one(way: str, size: int) -> dict[str, Any]:
    """Return seconds per target, peak memory in GB, the mask, and the seconds of the stages."""
    repeats = REPEATS.get(size, 1)
    if way == "plain":
        runs: dict[str, Run] = {"kept": plain(size)}
    else:
        kept, new, shares = ours(way, size)
        runs = {"kept": kept, "new": new}
    row: dict[str, Any] = {"way": way, "size": size}
    if repeats > 1:
        runs["kept"]()  # warm
    for name, run in runs.items():
        row[name] = []
        for _ in range(repeats):
            start = time.perf_counter()
            mask = run()
            row[name].append(time.perf_counter() - start)
    row["peak"] = peak()
    if way != "plain":
        found = [shares() for _ in range(repeats)]
        row["stages"] = {stage: median(f[stage] for f in found) for stage in found[0]}
    return {**row, "mask": np.packbits(mask).tobytes().hex()}


def in_own_process(*words: object, script: str = __file__) -> dict[str, Any]:
    """Call a script with these words, and return its last line, decoded from JSON."""
    command = [sys.executable, "-W", "ignore", script, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def merged(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge the rows of one way's processes."""
    row = {**turns[0], "peak": max(turn["peak"] for turn in turns)}
    for name in {"kept", "new"} & row.keys():
        row[name] = [seconds for turn in turns for seconds in turn[name]]
    if "stages" in row:
        row["stages"] = {stage: median(turn["stages"][stage] for turn in turns) for stage in row["stages"]}
    return row


def iou(first: str, second: str) -> float:
    a, b = (np.unpackbits(np.frombuffer(bytes.fromhex(mask), np.uint8)) for mask in (first, second))
    return float((a & b).sum() / max(1, (a | b).sum()))


def machine() -> str:
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "openvino", "timm", "scikit-learn", "numpy"))
    return f"{os.cpu_count()} x {model}; Python {platform.python_version()}, {packages}"


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table in Markdown; ratios are to the plain way at the same size."""
    lines = [
        "| size | way | s per target, kept concept | faster | s, new concept | faster | peak GB | IoU with plain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        base = next((r for r in rows if r["way"] == "plain" and r["size"] == row["size"]), None)

        def column(name: str, row: dict[str, Any] = row, base: dict[str, Any] | None = base) -> str:
            if name not in row:
                return "- | -"
            seconds = median(row[name])
            ratio = f"{median(base['kept']) / seconds:.1f}x" if base else "-"
            return f"{seconds:.3g} | {ratio}"

        alike = f"{iou(row['mask'], base['mask']):.4f}" if base else "-"
        cells = f"{row['size']} | {WAYS[row['way']]} | {column('kept')} | {column('new')} | {row['peak']:.2f} | {alike}"
        lines.append(f"| {cells} |")
    lines += ["", "Where the time goes, milliseconds per target with a kept concept:", ""]
    timed = [row for row in rows if "stages" in row]
    names = list(timed[0]["stages"]) if timed else []
    lines += [f"| size | way | {' | '.join(names)} | outside the encoder |", "|---" * (len(names) + 3) + "|"]
    for row in timed:
        spent = row["stages"]
        outside = sum(spent.values()) - spent["encoder"]
        times = " | ".join(f"{1000 * seconds:.1f}" for seconds in [*spent.values(), outside])
        lines.append(f"| {row['size']} | {WAYS[row['way']]} | {times} |")
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for way, label in WAYS.items():
        mine = [row for row in rows if row["way"] == way]
        if not mine:
            continue
        sizes = [row["size"] for row in mine]
        axes[0].plot(sizes, [median(row["kept"]) for row in mine], "o-", label=label)
        axes[1].plot(sizes, [row["peak"] for row in mine], "o-", label=label)
    axes[0].set(xlabel="R, pixels", ylabel="seconds per target (kept concept)", yscale="log")
    axes[1].set(xlabel="R, pixels", ylabel="peak memory, GB", ylim=(0, None))
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.set_xticks(sorted({row["size"] for row in rows}))
    axes[0].legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[518, 1022, 1540, 2044])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS])
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one, arguments.sizes[0])))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for size in arguments.sizes:
        turns = []
        for _ in range(ROUNDS.get(size, 1)):
            for way in arguments.ways:
                turns.append(in_own_process("--one", way, "--sizes", size))
                kept, memory = median(turns[-1]["kept"]), turns[-1]["peak"]
                print(f"{size:5} {WAYS[way]:32} {kept:8.3f} s {memory:6.2f} GB", flush=True)
        rows += [merged([turn for turn in turns if turn["way"] == way]) for way in arguments.ways]
        (arguments.out / "speed.json").write_text(json.dumps({"machine": machine(), "rows": rows}))
    text = f"{machine()}\n\n{table(rows)}\n"
    (arguments.out / "speed.md").write_text(text)
    plot(rows, arguments.out / "speed.svg")
    print("", text, f"written to {arguments.out}", sep="\n")


if __name__ == "__main__":
    main()
