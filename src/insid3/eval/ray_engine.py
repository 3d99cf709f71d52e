"""Episodes run in worker processes on Ray."""

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

from insid3.batch.ray_pool import Item, Job, Pool, distribute
from insid3.eval.predict import Material, Predictor
from insid3.eval.run import Evaluation, attempt


def evaluate_on_ray(
    make: Callable[[], dict[str, Predictor]], evaluation: Evaluation, pool: Pool, items: list[Item]
) -> Generator[Item, None, None]:
    """Run episodes in workers; with the first arguments bound, this is the `elsewhere` of `Evaluation.run`.

    Args:
        make: makes the evaluation's predictors, once in each worker.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: the cluster cannot be reached, or has no room for a worker.
    """
    masks = {name: evaluation.masks_of(name) for name in evaluation.records}
    yield from distribute(partial(_job, make, evaluation.lists, evaluation.readers, masks), items, pool)


def _job(make: Callable[[], dict[str, Predictor]], lists: Any, readers: Any, masks: dict[str, Path | None]) -> Job:
    predictors = make()

    def one(item: Item) -> Item:
        each = lists[item["list"]]
        material = Material(each.episodes[item["episode"]], readers(each.root))
        return {**item, "found": {n: attempt(material, predictors[n], masks[n]) for n in item["missing"]}}

    return lambda items: [one(item) for item in items]
