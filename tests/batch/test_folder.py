"""Locks of an output folder, shards of one run, and the remains of killed runs."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insid3 import INSID3, Concept
from insid3.batch.lines import last_lines
from insid3.batch.options import Options
from insid3.batch.run_folder import RunFolder
from insid3.batch.runner import Run
from insid3.batch.sources import Shard, find_targets
from insid3.errors import ConfigError, OutputError
from stubs import colour_model, scene

BOX = (16, 16, 48, 48)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for i in range(7):
        Image.fromarray(scene((0, 0, 8 * i + 8, 32))).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def run(model: INSID3, red: Concept, photos: Path, shard: str | None = None, **more: Any) -> Run:
    out = photos.parent / "out"
    part = Shard.parse(shard) if shard else None
    return Run(model, red, find_targets([photos], out), out, Options(overlays=False), shard=part, **more)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in folder.glob("results*.jsonl") for line in file.read_text().splitlines()]


def test_one_run_at_a_time(model: INSID3, red: Concept, photos: Path) -> None:
    first = run(model, red, photos)
    with pytest.raises(OutputError, match=r"another run is at work on .*out \(\.lock\): wait for it, stop it, or use"):
        run(model, red, photos)
    with pytest.raises(OutputError, match="another run is at work"):
        run(model, red, photos, overwrite=True)
    assert len(list(first)) == 7
    assert run(model, red, photos).todo == []  # it ended, so that the folder is free


def test_a_run_that_is_given_up_lets_go(model: INSID3, red: Concept, photos: Path) -> None:
    run(model, red, photos).close()
    unfinished = iter(run(model, red, photos))
    next(unfinished)
    unfinished.close()  # type: ignore[attr-defined]
    with pytest.raises(OutputError, match="results of another run"):
        run(colour_model(tau=0.5), red, photos)
    assert run(model, red, photos).done_before == 1


def test_the_lock_of_a_dead_process_is_taken_over(model: INSID3, red: Concept, photos: Path) -> None:
    out = photos.parent / "out"
    code = f"""
import os, sys
from pathlib import Path
from insid3.batch.run_folder import RunFolder
folder = RunFolder(Path({str(out)!r}))
print("locked", flush=True)
sys.stdin.read()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(OutputError, match="another run is at work"):
            run(model, red, photos)
    finally:
        other.kill()
        other.communicate()
    assert len(list(run(model, red, photos))) == 7


def test_what_a_kill_left_is_cleared_away(model: INSID3, red: Concept, photos: Path) -> None:
    out = photos.parent / "out"
    (out / "sub").mkdir(parents=True)
    (out / "run.json").write_text("{}")
    left = [out / f".insid3-{'ab' * 16}.png", out / "sub" / f".insid3-{'0' * 32}.jpg", out / f".insid3-{'f' * 32}"]
    kept = [out / ".insid3-hidden.png", out / f".{'ab' * 16}.png"]
    for file in (*left, *kept):
        file.write_text("x")
    RunFolder(out).close()
    assert [file.exists() for file in (*left, *kept)] == [False] * 3 + [True] * 2


def test_shards_do_their_parts_and_one_run_ends_it(model: INSID3, red: Concept, photos: Path) -> None:
    out = photos.parent / "out"
    (photos / "broken.jpg").write_text("x")
    first, second = run(model, red, photos, "1/3"), run(model, red, photos, "2/3")  # at the same time
    assert len(first.todo) == 3
    results = [result.target for pair in zip(first, second, strict=True) for result in pair]
    assert len(set(results)) == 6
    assert (out / "results.1-of-3.jsonl").exists()
    assert not (out / "results.jsonl").exists()
    assert {line["target"] for line in last_lines(out)} == set(results)
    assert run(model, red, photos, "1/3").todo == []
    last = run(model, red, photos)  # the part that nobody did, and what failed
    assert {Path(target.path).stem for target in last.todo} >= {"broken"}
    assert len(list(last)) == 2 + (not any("broken" in str(target.path) for target in last.todo[:2]))
    assert not list(out.glob("results.*-of-*.jsonl"))
    assert sorted(Path(line["target"]).stem for line in lines(out)) == sorted([*map(str, range(7)), "broken"])
    for i in range(7):
        assert np.asarray(Image.open(out / f"{i}.png")).any() or i == 0


def test_shards_and_whole_runs_exclude_each_other(model: INSID3, red: Concept, photos: Path, monkeypatch: Any) -> None:
    part = run(model, red, photos, "1/2")
    with pytest.raises(OutputError, match=r"another run is at work on .* \(\.lock\.1-of-2\)"):
        run(model, red, photos, "1/2")
    with pytest.raises(OutputError, match=r"\(\.lock\.1-of-2\)"):
        run(model, red, photos)
    with pytest.raises(OutputError, match=r"\(\.lock\.1-of-2\)"):
        run(model, red, photos, "2/3")  # shards of another count would do the same targets
    part.close()
    whole = run(model, red, photos)
    monkeypatch.setattr("insid3.batch.run_folder._PATIENCE", 0.1)
    with pytest.raises(OutputError, match=r"\(\.lock\)"):
        run(model, red, photos, "2/2")
    whole.close()


def test_another_division_goes_on_with_what_is_there(model: INSID3, red: Concept, photos: Path) -> None:
    done = [result.target for result in run(model, red, photos, "1/2")]
    rest = [result.target for part in ("1/3", "2/3", "3/3") for result in run(model, red, photos, part)]
    assert len(done) + len(rest) == 7
    assert not set(done) & set(rest)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3/4", ""])
def test_shards_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="a shard is I/N"):
        Shard.parse(text)


def test_pictures_are_decoded_ahead_and_never_too_many(
    model: INSID3, red: Concept, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import insid3.batch.worker as module

    threads, waiting = set(), 0
    most, lock, original = 0, threading.Lock(), vars(module)["read_image"]

    def counting(*words: Any, **more: Any) -> np.ndarray:
        nonlocal waiting, most
        with lock:
            threads.add(threading.current_thread())
            waiting += 1
            most = max(most, waiting)
        return original(*words, **more)

    monkeypatch.setattr(module, "read_image", counting)
    for _ in run(model, red, photos):
        waiting -= 1
    assert threading.main_thread() not in threads
    assert most <= 4
    assert waiting == 0


def test_stopping_leaves_the_rest(model: INSID3, red: Concept, photos: Path) -> None:
    running = run(model, red, photos)
    for i, _ in enumerate(running):
        running.stop = i == 2
    assert len(lines(photos.parent / "out")) == 3
    assert run(model, red, photos).done_before == 3


def test_two_hundred_pictures_of_which_twenty_are_broken(model: INSID3, red: Concept, tmp_path: Path) -> None:
    folder, good = tmp_path / "photos", scene(BOX)
    folder.mkdir()
    for i in range(180):
        Image.fromarray(good).save(folder / f"{i:03}.{('png', 'jpg', 'webp', 'tif', 'bmp')[i % 5]}")
    whole = {suffix: next(folder.glob(f"*.{suffix}")).read_bytes() for suffix in ("png", "jpg", "webp", "tif", "bmp")}
    broken: dict[str, bytes] = {
        "empty.png": b"", "text.jpg": b"hello", "zeros.bmp": bytes(500), "html.png": b"<html></html>",
        "json.webp": b'{"a": 1}', "newline.gif": b"\n", "gzip.jp2": b"\x1f\x8b\x08" + bytes(50), "magic.gif": b"GIF89a",
    }  # fmt: skip
    broken |= {f"cut{len(data) % 97}.{suffix}": data[: len(data) // 2] for suffix, data in whole.items()}
    broken |= {f"head.{suffix}": data[:20] for suffix, data in whole.items()}
    broken |= {"huge.bmp": whole["bmp"][:18] + b"\xff\xff\x00\x00" * 2 + whole["bmp"][26:]}
    for name, content in broken.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    missing = folder / "missing.jpg"
    assert len(broken) == 19
    out = tmp_path / "out"
    results = list(Run(model, red, find_targets([folder, missing], out), out, Options(overlays=False)))
    failed = {Path(result.target).name: result.error for result in results if result.error}
    assert set(failed) == {*broken, "missing.jpg"}
    assert len(results) - len(failed) == 180
    for name, error in failed.items():
        assert name in str(error)
    assert len(set(failed.values())) == 20
    assert len(list(out.glob("*.png"))) == 180


def test_a_hundred_thousand_lines_are_read_as_a_stream(tmp_path: Path) -> None:
    """The last line of a target counts, in whichever file."""
    with (tmp_path / "results.jsonl").open("w") as file:
        for i in range(100_000):
            file.write(json.dumps({"target": f"{i % 40_000}.png", "n": i}) + "\n")
    found = list(last_lines(tmp_path))
    assert len(found) == 40_000
    assert {line["n"] for line in found} == set(range(60_000, 100_000))


def test_full_lock_errors_are_explained(tmp_path: Path) -> None:
    if os.getuid() == 0:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="cannot write results"):
            RunFolder(tmp_path / "file" / "out")
    else:
        tmp_path.chmod(0o500)
        with pytest.raises(OutputError, match="cannot write results"):
            RunFolder(tmp_path / "out")


def test_shards_that_begin_in_different_folders(
    model: INSID3, red: Concept, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = photos.parent / "out"
    for where, part in ((photos.parent, "1/2"), (photos, "2/2")):
        monkeypatch.chdir(where)
        inputs = find_targets([os.path.relpath(photos)], out)
        list(Run(model, red, inputs, out, Options(overlays=False), shard=Shard.parse(part)))
    monkeypatch.chdir(photos.parent)
    assert Run(model, red, find_targets(["photos"], out), out, Options(overlays=False)).todo == []
