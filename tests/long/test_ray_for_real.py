"""The command line on two workers of a local cluster, with the real encoder; one worker is killed half-way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stubs import ray_workers

EXAMPLE = Path(__file__).parents[2] / "src/insid3/app/cheetah1.json"


def lines(out: Path) -> list[dict[str, object]]:
    file = out / "results.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.long
def test_a_killed_worker_and_a_stopped_run_lose_nothing(pictures: dict[str, Path], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(24):
        (photos / f"{i:02}.jpg").symlink_to(list(pictures.values())[i % len(pictures)])
    (photos / "broken.jpg").write_bytes(b"no picture")
    example = ["--reference", str(pictures["cheetah1"]), "--mask", str(EXAMPLE)]
    words = [sys.executable, "-m", "insid3", "segment", *example, str(photos)]
    words += ["--size", "280", "-o"]
    subprocess.run([*words, str(tmp_path / "here"), "--threads", "1"], check=False, capture_output=True, timeout=200)
    there = tmp_path / "there"
    command = [*words, str(there), "--engine", "ray", "--workers", "2", "--threads", "1"]

    def running(until: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 150
        while len(lines(there)) < until:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    first = running(4)
    first.send_signal(signal.SIGINT)
    told = first.communicate(timeout=120)[1]
    assert first.returncode == 130
    assert "the same command continues" in told
    done = len(lines(there))
    assert 4 <= done < 25
    second = running(done + 2)
    two = ray_workers()
    assert len(two) == 2
    os.kill(two[0], signal.SIGKILL)
    told = second.communicate(timeout=200)[1]
    assert second.returncode == 1  # the broken one
    assert "broken.jpg is not a picture" in told
    found = lines(there)
    assert len(found) == len({line["target"] for line in found}) == 25
    for file in (tmp_path / "here").glob("*.*g"):
        assert (there / file.name).read_bytes() == file.read_bytes()
    timeless = [sorted(({**x, "seconds": 0} for x in lines(o)), key=str) for o in (tmp_path / "here", there)]
    assert timeless[0] == timeless[1]
    assert not ray_workers()


@pytest.mark.long
def test_an_evaluation_by_the_command_line(own: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "insid3", "evaluate", f"episodes:{own}", "--size", "280", "--sweep", "tau=0.6,0.7"]
    for name, more in (("here", []), ("there", ["--engine", "ray", "--workers", "2"])):
        command = [*words, "--threads", "1", "--quiet", "-o", str(tmp_path / name), *more]
        subprocess.run(command, check=True, capture_output=True, timeout=200)
    for tau in ("tau=0.6", "tau=0.7"):
        timeless = [
            sorted(({**line, "seconds": 0} for line in lines(tmp_path / name / tau)), key=str)
            for name in ("here", "there")
        ]
        assert len(timeless[0]) == 6
        assert timeless[0] == timeless[1]
