"""A run's targets in other processes."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from insid3.batch.sources import Target
from insid3.batch.work import Result, Work, Worker
from insid3.errors import ConfigError
from insid3.on_ray import Item, Job, Pool, spread
from insid3.pipeline import INSID3
from insid3.types import Encoder


def remote(
    load: Callable[[], INSID3], like: Encoder, pool: Pool, work: Work, targets: Sequence[Target]
) -> Generator[Result, None, None]:
    """An engine of a run, but for its first arguments: files are written by the workers, so that they must see the same
    folders; results come in any order.

    Args:
        load: makes the model, once in each worker.
        like: the encoder that the results are recorded with.

    Raises: as `on_ray.spread`.
    """
    items = [{"path": str(target.path), "name": target.name} for target in targets]
    for item in spread(partial(_job, load, made_with(like), work), items, pool):
        yield Result(**item)


def made_with(encoder: Encoder) -> dict[str, str]:
    """What tokens depend on, of an encoder."""
    dtype = str(getattr(encoder, "dtype", "")).removeprefix("torch.")
    engine = str(getattr(encoder, "engine", ""))
    return {"backbone": encoder.name, "weights_hash": encoder.weights_hash, "engine": engine, "dtype": dtype}


def same_encoder(load: Callable[[], INSID3], expected: dict[str, str]) -> INSID3:
    """A worker's model.

    Raises:
        ConfigError: its tokens would differ from those of the machine that asks.
    """
    model = load()
    found = made_with(model.encoder)
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
        return [asdict(result) for result in worker.of(targets)]

    return job
