"""The engine that runs the targets of a run in other processes."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from insid3.batch.ray_pool import Item, Job, Pool, distribute
from insid3.batch.sources import Target
from insid3.batch.worker import Result, Work, Worker
from insid3.errors import ConfigError
from insid3.model import INSID3
from insid3.types import Encoder


def remote(
    load: Callable[[], INSID3], like: Encoder, pool: Pool, work: Work, targets: Sequence[Target]
) -> Generator[Result, None, None]:
    """Run the work in Ray workers: an engine of a run once the first three arguments are bound.

    The workers write the files, so they must see the same folders. Results come in any order.

    Args:
        load: function that loads the model, called once in each worker.
        like: the encoder with which the results are recorded.

    Raises:
        ConfigError, MissingExtraError, OutputError: see `ray_pool.distribute`.
    """
    items = [{"path": str(target.path), "name": target.name} for target in targets]
    for item in distribute(partial(_job, load, encoder_identity(like), work), items, pool):
        yield Result(**item)


def encoder_identity(encoder: Encoder) -> dict[str, str]:
    """Return the properties of an encoder on which its tokens depend."""
    dtype = str(getattr(encoder, "dtype", "")).removeprefix("torch.")
    engine = str(getattr(encoder, "engine", ""))
    return {"backbone": encoder.name, "weights_hash": encoder.weights_hash, "engine": engine, "dtype": dtype}


def same_encoder(load: Callable[[], INSID3], expected: dict[str, str]) -> INSID3:
    """Load the model of a worker; ConfigError if its tokens would differ from the expected ones."""
    model = load()
    found = encoder_identity(model.encoder)
    if found != expected:
        told = [f"{key} {value}, not {expected[key]}" for key, value in found.items() if value != expected[key]]
        raise ConfigError(
            f"it has {', '.join(told)}: install the same packages everywhere, or say what to use "
            "(--engine ray:torch, --dtype)"
        )
    return model


def _job(load: Callable[[], INSID3], expected: dict[str, str], work: Work) -> Job:
    worker = Worker(same_encoder(load, expected), work)

    def job(items: list[Item]) -> list[dict[str, Any]]:
        targets = [Target(Path(item["path"]), item["name"]) for item in items]
        return [asdict(result) for result in worker.mark_targets(targets)]

    return job
