"""Runs on Ray, on a real local cluster of two workers: the same files as without Ray, also if a worker dies."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image

from insid3 import INSID3, Concept, ConfigError
from insid3.batch import ray_pool
from insid3.batch.options import Options
from insid3.batch.ray_engine import encoder_identity, remote, same_encoder
from insid3.batch.ray_pool import Pool, distribute
from insid3.batch.runner import Run
from insid3.batch.sources import find_targets
from insid3.batch.worker import Result
from insid3.errors import MissingExtraError, OutputError
from insid3.eval.companions import Companions
from insid3.eval.datasets import draw
from insid3.eval.predict import ModelPredictor
from insid3.eval.ray_engine import evaluate_on_ray
from insid3.eval.reader import Readers
from insid3.eval.run import Evaluation
from insid3.eval.sweep_predictors import model_predictors
from stubs import box_mask, colour_model, other_model, ray_workers, scene, slow_model

TWO = Pool(workers=2, threads=1, device="cpu")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Start a cluster of two CPUs whose processes find the stubs."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        patch.delenv("RAY_ADDRESS", raising=False)
        ray_pool._connect(ray, 2)
        yield
        ray.shutdown()


@pytest.fixture
def concepts(model: INSID3) -> list[Concept]:
    box = (16, 16, 48, 48)
    return [model.concept(scene(box, colour=i), box_mask(*box), name=name) for i, name in enumerate(("red", "green"))]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(24):
        Image.fromarray(scene((8, i, 40, i + 30), colour=i % 2)).save(folder / f"{i:02}.png")
    (folder / "05.png").write_bytes(b"broken")
    return folder


def start(model: INSID3, concepts: list[Concept], photos: Path, out: Path, load: Any = None, **more: Any) -> Run:
    engine = partial(remote, load, model.encoder, TWO) if load else None
    return Run(model, concepts, find_targets([photos], out), out, Options(instances=True), engine=engine, **more)


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".png", ".jpg")}


def told(results: list[Result]) -> list[dict[str, Any]]:
    return sorted(({**result.line(), "seconds": 0} for result in results), key=lambda line: line["target"])


def dead_port(answer: bytes | None = None) -> int:
    """Return a port of this machine that refuses connections, or answers with `answer` only."""
    listening = socket.create_server(("0.0.0.0", 0))
    port = int(listening.getsockname()[1])
    if answer is None:
        listening.close()
        return port

    def serve() -> None:
        with listening, listening.accept()[0] as line:
            line.sendall(answer)
            line.recv(1)
            time.sleep(1)

    Thread(target=serve, daemon=True).start()
    return port


@pytest.mark.parametrize(
    ("address", "answer", "told"),
    [
        ("no address", None, "Invalid address format"),
        ("10.0.0.5", None, "Invalid address format"),
        ("http://127.0.0.1:PORT", None, "Invalid address format"),
        ("127.0.0.1:PORT", None, "refused"),
        ("localhost:PORT", None, "refused"),
        ("ray://127.0.0.1:PORT", None, "refused"),
        ("127.0.0.1:99999", None, "99999 is no port"),
        ("127.0.0.1:PORT", b"", "takes connections and does not answer"),
        ("ray://localhost:PORT", b"", "takes connections and does not answer"),
        ("127.0.0.1:PORT", b"HTTP/1.1 400 Bad Request\r\n", "is not Ray"),
    ],
)
def test_a_dead_address_is_said_at_once(
    address: str, answer: bytes | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = address.replace("PORT", str(dead_port(answer)))
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray_pool, "_PATIENCE", 0.3)
    ray_pool._ray()  # importing takes seconds
    before = time.monotonic()
    with pytest.raises(ConfigError) as error:
        list(distribute(_broken, [{}], TWO))  # type: ignore[arg-type]
    assert time.monotonic() - before < 5
    assert str(error.value).startswith(f"no cluster answers at RAY_ADDRESS={address} (")
    assert told in str(error.value)
    assert str(error.value).endswith("or unset RAY_ADDRESS to use processes of this machine")
    assert "Errno" not in str(error.value)


def test_what_ray_needs_for_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "_check_answers", lambda *_: None)
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:1")
    monkeypatch.setattr(ray_pool, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as error:
        list(distribute(_broken, [{}], TWO))  # type: ignore[arg-type]
    told = "RAY_ADDRESS=ray://127.0.0.1:1 needs a part of Ray that is not installed: pip install"
    assert str(error.value) == f'{told} "ray[client]"'


@pytest.mark.parametrize(("last", "told"), [(None, "none runs on this machine"), ("127.0.0.1:PORT", "refused")])
def test_the_last_cluster_of_this_machine_may_be_gone(
    last: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray._private import services

    known = last and last.replace("PORT", str(dead_port()))
    monkeypatch.setattr(services, "get_ray_address_from_environment", lambda *_: known)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(ConfigError, match=rf"no cluster answers at RAY_ADDRESS=auto \(.*{told}"):
        list(distribute(_broken, [{}], TWO))  # type: ignore[arg-type]


def test_a_name_that_nobody_finds_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray_pool, "_PATIENCE", 0.05)
    monkeypatch.setattr(ray_pool, "_greet", lambda *_: time.sleep(3))
    with pytest.raises(TimeoutError, match="somewhere cannot be found"):
        ray_pool._check_answers(ray, "ray://somewhere")


def listening(parents: set[int]) -> dict[str, str]:
    """Return the addresses (in hex) on which some processes and their children listen, by process."""
    places: dict[str, str] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        lines = Path(table).read_text().splitlines()[1:] if Path(table).exists() else []
        places |= {words[9]: words[1] for words in map(str.split, lines) if words[3] == "0A"}
    found, family = {}, dict[int, int]()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            family[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    while more := {child for child, parent in family.items() if parent in parents} - parents:
        parents = parents | more
    for process in parents:
        with suppress(OSError):
            for link in Path(f"/proc/{process}/fd").iterdir():
                socket_id = str(link.readlink()).removeprefix("socket:[").removesuffix("]")
                if socket_id in places:
                    found[f"{process} {link.name}"] = places[socket_id].partition(":")[0]
    return found


@pytest.mark.usefixtures("cluster")
def test_a_living_cluster_answers() -> None:
    import ray

    ray_pool._check_answers(ray, ray.get_runtime_context().gcs_address)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.usefixtures("cluster")
def test_a_cluster_of_our_own_listens_to_this_machine_only() -> None:
    found = listening({os.getpid()})
    assert len(found) >= 4  # of the driver, of Ray's server, of its agent for this machine
    assert set(found.values()) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.mark.usefixtures("cluster")
def test_the_same_files_and_lines_and_either_engine_continues(
    model: INSID3, concepts: list[Concept], photos: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    expected = list(start(model, concepts, photos, here))
    first = start(model, concepts, photos, there, colour_model)
    begun = []
    for result in first:
        begun.append(result)
        first.stop = len(begun) == 5
    assert len(begun) == 5
    rest = list(start(model, concepts, photos, there, colour_model))
    failed = [result for result in (*begun, *rest) if result.error]
    assert len(begun) + len(rest) in (24, 25)  # the broken one is tried again
    assert {result.target for result in failed} == {str(photos / "05.png")}
    assert files(there) == files(here)
    lines = [json.loads(line) for line in (there / "results.jsonl").read_text().splitlines()]
    last = {line["target"]: {**line, "seconds": 0} for line in lines}
    assert [last[name] for name in sorted(last)] == told(expected)
    again = start(model, concepts, photos, there)
    assert [target.name for target in again.todo] == ["05"]
    again.close()


@pytest.mark.usefixtures("cluster")
def test_targets_that_help_each_other(
    model: INSID3, concepts: list[Concept], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insid3.transductive.POOL", 10)
    runs = {}
    for name, load in (("here", None), ("there", colour_model)):
        engine = partial(remote, load, model.encoder, TWO) if load else None
        out, options = tmp_path / name, Options(together=True)
        runs[name] = told(list(Run(model, concepts, find_targets([photos], out), out, options, engine=engine)))
    assert runs["there"] == runs["here"]
    assert files(tmp_path / "there") == files(tmp_path / "here")


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_is_killed_loses_nothing(
    model: INSID3, concepts: list[Concept], photos: Path, tmp_path: Path
) -> None:
    (photos / "05.png").unlink()
    expected = list(start(model, concepts, photos, tmp_path / "here"))
    running = iter(start(model, concepts, photos, tmp_path / "there", slow_model))
    found = [next(running)]
    workers = ray_workers()
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    found += running
    assert workers[0] not in ray_workers()
    assert told(found) == told(expected)  # every target, and none twice
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert not [
        path for path in (tmp_path / "there").iterdir() if path.name.startswith(".") and "lock" not in path.name
    ]


@pytest.mark.usefixtures("cluster")
def test_another_machine_with_other_weights_is_refused(
    model: INSID3, concepts: list[Concept], photos: Path, tmp_path: Path
) -> None:
    run = start(model, concepts, photos, tmp_path / "out", other_model)
    message = r"a worker stopped: it has weights_hash f{16}, not 0{16}: install the same packages everywhere"
    with pytest.raises(OutputError, match=message):
        list(run)
    assert start(model, concepts, photos, tmp_path / "out").done_before == 0


@pytest.mark.usefixtures("cluster")
def test_workers_that_cannot_be_made_stop_the_run(
    model: INSID3, concepts: list[Concept], photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=r"Ray stopped the work \(.*the same command continues"):
        list(start(model, concepts, photos, tmp_path / "out", _broken))


def _broken() -> INSID3:  # the workers do not find this module
    raise AssertionError


@pytest.mark.usefixtures("cluster")
def test_more_than_the_cluster_has(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no machine of the cluster has 9 CPUs, the largest 2: use fewer \(--threads\)"
    ):
        list(distribute(_broken, [{}], Pool(threads=9, device="cpu")))  # type: ignore[arg-type]
    assert list(distribute(_broken, [], TWO)) == []  # type: ignore[arg-type]  # nothing to do, nothing started


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("helped", [False, True])
def test_an_evaluation_has_the_same_outcomes(own: Path, tmp_path: Path, helped: bool) -> None:
    model, lists = colour_model(), draw([f"episodes:{own}"], Readers(None))
    companions = Companions(lists, Readers(None)) if helped else None
    outcomes = []
    for name in ("here", "there"):
        with Evaluation({".": ModelPredictor(model, companions=companions)}, lists, tmp_path / name) as evaluation:
            load = partial(same_encoder, colour_model, encoder_identity(model.encoder))
            make = partial(
                model_predictors,
                load,
                {".": {"method": "insid3"}},
                paper=False,
                score_at="model",
                keep=10**6,
                companions=companions,
            )
            elsewhere = partial(evaluate_on_ray, make, evaluation, TWO) if name == "there" else None
            assert len(list(evaluation.run(elsewhere))) == sum(len(each.episodes) for each in lists)
            assert len(list(evaluation.run(elsewhere))) == sum(len(each.episodes) for each in lists)  # every episode
            outcomes.append({id: {**vars(o), "seconds": 0} for id, o in evaluation.records["."].outcomes.items()})
    assert outcomes[0] == outcomes[1]
    assert files(tmp_path / "here" / "masks") == files(tmp_path / "there" / "masks")


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "insid3\[ray\]"'):
        list(distribute(_broken, [{}], TWO))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"threads": 0}])
def test_pools_that_cannot_be(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be 1 or more"):
        Pool(**wrong)  # type: ignore[arg-type]
