"""A pool of worker processes, on this machine or on a cluster, run by Ray Data."""

import json
import logging
import os
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from insid3.errors import ConfigError, Insid3Error, MissingExtraError, OutputError

Item = dict[str, Any]  #: one piece of work, or its result; must be JSON
Job = Callable[[list[Item]], list[Item]]

_PER_TASK = 8  # items that are lost with a worker and done again by another
_TASKS = 50_000  # the most that Ray's own bookkeeping bears
_STORE = 512 * 2**20  # bytes of the object store of a cluster that is started here
_PATIENCE = 5.0  # seconds for a cluster to answer; twice that with the look-up of its name
_HERE = "127.0.0.1"
_CLIENT = 'pip install "ray[client]"'
_OWN_CLUSTER = "start a cluster yourself (ray start --head) and say where it is with RAY_ADDRESS"
_CLIENTS = 10001  # default port of ray://
_REMEDY = "start it (ray start --head), correct RAY_ADDRESS, or unset RAY_ADDRESS to use processes of this machine"
# Ray speaks HTTP/2, which begins with a preface and an (empty) settings frame, and is answered by a settings frame.
_GREETING, _SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), 4


@dataclass(frozen=True)
class Pool:
    """Hold the number of worker processes and the resources of each.

    Attributes:
        workers: number of workers; None: one for each GPU, or as many as there are CPUs for their `threads`.
        threads: CPU threads of each worker; None: the number of cores, at most 4.
        device: device as in `INSID3.from_pretrained`; each worker gets a GPU unless this is "cpu" or there is none.
    """

    workers: int | None = None
    threads: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("workers", "threads"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} must be 1 or more, got {value}")


def distribute(make: Callable[[], Job], items: Sequence[Item], pool: Pool) -> Generator[Item, None, None]:
    """Yield the results of items as workers finish them; the items of a worker that dies go to another.

    The cluster at RAY_ADDRESS is used, or the one to which this process is connected. Without either, a cluster starts
    on this machine, out of reach of other machines, and stops in the end.

    Args:
        make: function that makes a job, called once in each worker. The function, with all that it holds, goes through
            the object store once per machine. The job is called with a few items and returns as many results.

    Raises:
        MissingExtraError: Ray is not installed.
        OutputError: a job raised an error of this package, or Ray stopped.
        ConfigError: no cluster answers at that address, or the cluster has no room for a worker.
    """
    if not items:
        return
    ray = _ray()
    threads = pool.threads or min(4, os.cpu_count() or 1)
    own = not ray.is_initialized()
    if own:
        _connect(ray, (pool.workers or max(1, (os.cpu_count() or 1) // threads)) * threads)
    try:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cpus = [int(machine.get("CPU", 0)) for machine in machines]
        gpus = 0 if pool.device in ("cpu", "mps") else int(sum(machine.get("GPU", 0) for machine in machines))
        room = gpus or sum(count // threads for count in cpus)
        if not room:
            raise ConfigError(
                f"no machine of the cluster has {threads} CPUs, the largest {max(cpus)}: use fewer (--threads)"
            )
        yield from _run(ray, ray.put(make), items, min(pool.workers or room, room), threads, int(gpus > 0))
    except ray.exceptions.RayError as error:
        told = str(error).strip().splitlines()[-1:] or [repr(error)]
        raise OutputError(
            f"Ray stopped the work ({told[0]:.300}): what is done is kept, the same command continues"
        ) from error
    finally:
        if own:
            ray.shutdown()


def _run(
    ray: Any, make: Any, items: Sequence[Item], workers: int, threads: int, gpus: int
) -> Generator[Item, None, None]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    each = max(_PER_TASK, -(-len(items) // _TASKS))
    if len(items) < each * workers * 2:  # every worker gets some of a few items
        each = max(1, len(items) // (workers * 2))
    tasks = -(-len(items) // each)
    rows = ray.data.from_items([{"item": json.dumps(item)} for item in items], override_num_blocks=tasks)
    results = rows.map_batches(
        _Worker,
        fn_constructor_kwargs={"make": [make], "folder": os.getcwd(), "threads": threads},
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=threads,
        num_gpus=gpus,
    )
    for row in results.iter_rows():
        result: Item = json.loads(row["result"])
        if problem := result.get("problem"):
            raise OutputError(f"a worker stopped: {problem}")
        yield result


class _Worker:
    """Make a job once, and do it for every task that this process is given."""

    def __init__(self, make: list[Any], folder: str, threads: int) -> None:
        import ray
        import torch

        torch.set_num_threads(threads)
        self.problem: str | None = None
        try:
            os.chdir(folder)  # relative paths begin there
            self.job: Job = ray.get(make[0])()
        except (Insid3Error, OSError) as error:  # if it were raised, Ray would start the worker again and again
            self.problem = str(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if self.problem is None:
            try:
                return {"result": [json.dumps(result) for result in self.job([json.loads(i) for i in batch["item"]])]}
            except Insid3Error as error:
                self.problem = str(error)
        return {"result": [json.dumps({"problem": self.problem})]}


def _connect(ray: Any, cpus: int) -> None:
    """Connect to the cluster at RAY_ADDRESS, or start one that listens to this machine only."""
    address = os.environ.get("RAY_ADDRESS", "").strip()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # the other messages are for the developers of Ray
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    told, remedy = f"no cluster answers at RAY_ADDRESS={address}", f": {_REMEDY}"
    try:
        if address not in ("", "local"):
            _check_answers(ray, address)
            if address.startswith("ray://") and find_spec("grpc") is None:
                raise ImportError("gRPC, of which Ray's client consists")
            told = f"the cluster at RAY_ADDRESS={address} does not take this process in"
            remedy = f": it must run Ray {ray.__version__} too; if it asks for a token, set RAY_AUTH_MODE=token"
            ray.init(address, **quiet)
        else:
            told, remedy = "Ray cannot start", ""
            own = {"num_cpus": cpus, "object_store_memory": _STORE, "include_dashboard": False}
            with _kept_on_this_machine(ray):
                ray.init("local", _node_ip_address=_HERE, **own, **quiet)
            if {node["NodeManagerAddress"] for node in ray.nodes()} != {_HERE}:
                ray.shutdown()
                raise RuntimeError(f"it would listen to other machines: {_OWN_CLUSTER}")
    except ImportError as error:
        raise ConfigError(f"RAY_ADDRESS={address} needs a part of Ray that is not installed: {_CLIENT}") from error
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).strip().splitlines()[:1] or ["it does not say why"]
        raise ConfigError(f"{told} ({reason[0]:.200}){remedy}") from error


@contextmanager
def _kept_on_this_machine(ray: Any) -> Iterator[None]:
    """Let all processes of Ray listen on 127.0.0.1.

    Except on macOS and Windows, Ray replaces 127.0.0.1 by the address of the machine, which others can reach.
    """
    constants = ray._private.ray_constants
    before, constants.ENABLE_RAY_CLUSTER = getattr(constants, "ENABLE_RAY_CLUSTER", True), False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def _check_answers(ray: Any, address: str) -> None:
    """Check that a cluster answers at an address, since Ray would try for minutes; OSError or ValueError if not."""
    if address.startswith("ray://"):
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or _CLIENTS
    else:  # "auto" too: names of this machine become its address
        found = ray._private.services.canonicalize_bootstrap_address(address)
        if found is None:
            raise ConnectionError("none runs on this machine")
        host, _, number = found.rpartition(":")
        host, port = host.strip("[]"), int(number)
    if not 0 < port < 2**16:
        raise ValueError(f"{port} is no port")
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            _greet(host, port)
            outcome.append(None)
        except (OSError, ValueError) as error:  # ValueError: the host can be no name
            outcome.append(error)

    asking = Thread(target=ask, daemon=True)  # a look-up of a name has no time limit of its own
    asking.start()
    asking.join(2 * _PATIENCE + 1)
    if not outcome:
        raise TimeoutError(f"{host} cannot be found")
    if outcome[0] is not None:
        raise outcome[0]


def _greet(host: str, port: int) -> None:
    with socket.create_connection((host, port), _PATIENCE) as line:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return  # with TLS, Ray answers no greeting before certificates are exchanged
        line.sendall(_GREETING)
        try:
            answer = line.recv(9)
        except TimeoutError as error:
            raise TimeoutError(f"{host}:{port} takes connections and does not answer") from error
        if answer[3:4] != bytes([_SETTINGS]):
            raise ConnectionError(f"what answers at {host}:{port} is not Ray")


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("--engine ray", "ray") from error
    return ray
