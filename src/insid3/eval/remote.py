"""Episodes in other processes."""

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

from insid3.eval.predict import Material, Predictor
from insid3.eval.run import Evaluation, attempt
from insid3.on_ray import Item, Job, Pool, spread


def remote(
    make: Callable[[], dict[str, Predictor]], evaluation: Evaluation, pool: Pool, items: list[Item]
) -> Generator[Item, None, None]:
    """What `Evaluation.run` takes as `elsewhere`, but for its first arguments.

    Args:
        make: the evaluation's predictors, once in each worker.

    Raises: as `on_ray.spread`.
    """
    masks = {name: evaluation.masks_of(name) for name in evaluation.records}
    yield from spread(partial(_job, make, evaluation.lists, evaluation.readers, masks), items, pool)


def _job(make: Callable[[], dict[str, Predictor]], lists: Any, readers: Any, masks: dict[str, Path | None]) -> Job:
    predictors = make()

    def one(item: Item) -> Item:
        each = lists[item["list"]]
        material = Material(each.episodes[item["episode"]], readers(each.root))
        return {**item, "found": {n: attempt(material, predictors[n], masks[n]) for n in item["missing"]}}

    return lambda items: [one(item) for item in items]
