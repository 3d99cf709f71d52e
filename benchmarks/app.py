"""Test the page's server under load: many clients ask at once, each with pictures of its own.

    python benchmarks/app.py [--clients 20] [--seconds 120]

Starts `insid3 app` with the embedded backbone. Every client has its own target (a shifted part of one of gradio's
pictures) and its own settings, and asks for a mask or for points until the time is over. The right answers are those of
the library. Prints a table; fails if an answer was wrong, or an error was anything but "busy".
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

from insid3 import INSID3
from insid3.app.cheetahs import POLYGON, cheetah_pictures
from insid3.batch.annotations import from_labelme
from insid3.imaging.masks import read_mask

POINTS = [[90, 80], [160, 130]]


@dataclass
class Visitor:
    """A client, its right answers, and the answers that it got."""

    target: Path
    threshold: float
    mask: np.ndarray
    points: np.ndarray
    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    busy: int = 0
    errors: list[str] = field(default_factory=list)


def make_visitors(count: int, folder: Path, reference: Path, mask: Path) -> list[Visitor]:
    """Return visitors with different targets, and the library's answers."""
    model, made = INSID3.from_pretrained(), []
    concept = model.concept(reference, mask)
    pictures = cheetah_pictures()[1:]
    for i in range(count):
        picture = Image.open(pictures[i % len(pictures)]).convert("RGB")
        left, top = (picture.width * (i % 5)) // 20, (picture.height * (i // 5 % 4)) // 20
        target = folder / f"target{i}.png"
        picture.crop((left, top, left + picture.width * 3 // 4, top + picture.height * 3 // 4)).save(target)
        threshold = round(0.2 + 0.01 * i, 2)
        found = model.but(threshold=threshold).segment(target, concept).mask
        points = model.match(target, concept, POINTS).xy
        made.append(Visitor(target, threshold, found, points))
    return made


def visit(visitor: Visitor, url: str, reference: Path, mask: Path, until: float, folder: Path) -> None:
    """Ask the server until the time is over; every fourth question is for points."""
    client, turn = Client(url, verbose=False, download_files=str(folder)), 0
    while time.monotonic() < until:
        start, turn = time.monotonic(), turn + 1
        try:
            if turn % 4:
                files, rows = client.predict(
                    handle_file(reference),
                    handle_file(mask),
                    [handle_file(visitor.target)],
                    threshold=visitor.threshold,
                    api_name="/segment",
                )
                found = read_mask(files[0], visitor.mask.shape)
                right = rows[0]["error"] is None and rows[0]["target"] == visitor.target.name
                right &= int((found != visitor.mask).sum()) <= 0.002 * found.size
            else:
                rows = client.predict(
                    handle_file(reference), handle_file(visitor.target), json.dumps(POINTS), api_name="/match"
                )
                right = bool(np.allclose([[row["x"], row["y"]] for row in rows], visitor.points, atol=1.5))
            visitor.wrong += not right
            visitor.seconds.append(time.monotonic() - start)
        except Exception as error:
            if "Queue is full" in str(error):
                visitor.busy += 1
                time.sleep(1)
            else:
                visitor.errors.append(str(error))


def memory(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--port", type=int, default=7961)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = cheetah_pictures()[0]
        mask = folder / "mask.png"
        Image.fromarray(from_labelme(POLYGON, picture=reference)[1].astype(np.uint8) * 255).save(mask)
        visitors = make_visitors(args.clients, folder, reference, mask)
        command = [sys.executable, "-m", "insid3", "app", "--port", str(args.port)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            assert "ready at" in server.stderr.readline()
            measured, over = [(0.0, memory(server.pid))], threading.Event()
            start = time.monotonic()

            def watch() -> None:
                while not over.wait(1):
                    measured.append((time.monotonic() - start, memory(server.pid)))

            watcher = threading.Thread(target=watch)
            watcher.start()
            url, until = f"http://127.0.0.1:{args.port}/", start + args.seconds
            with ThreadPoolExecutor(args.clients) as threads:
                for visitor in visitors:
                    threads.submit(visit, visitor, url, reference, mask, until, folder / visitor.target.stem)
            over.set()
            watcher.join()
            server.terminate()
    answers = [second for visitor in visitors for second in visitor.seconds]
    errors = [error for visitor in visitors for error in visitor.errors]
    quarter = [size for at, size in measured if at < args.seconds / 4]
    print(f"clients {args.clients}, seconds {args.seconds:g}")
    print(f"answers {len(answers)}, of one client at least {min(len(visitor.seconds) for visitor in visitors)}")
    print(f"wrong {sum(v.wrong for v in visitors)}, busy {sum(v.busy for v in visitors)}, other errors {len(errors)}")
    print(
        f"seconds for an answer: median {median(answers):.2f}, "
        f"95 of 100 within {np.percentile(answers, 95):.2f}, worst {max(answers):.2f}"
    )
    print(
        f"server's memory in MB: {measured[0][1]:.0f} when ready, at most {max(quarter):.0f} in the first quarter and "
        f"{max(size for _, size in measured):.0f} in all, {measured[-1][1]:.0f} at the end"
    )
    if errors or any(visitor.wrong for visitor in visitors):
        sys.exit("\n".join(dict.fromkeys(errors)) or "wrong answers")


if __name__ == "__main__":
    main()
