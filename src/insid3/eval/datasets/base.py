"""What the data sets have in common: the one way to draw, and what is known about each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from insid3.errors import DataError
from insid3.eval.episodes import Pair, Recipe, View
from insid3.eval.reader import Reader, lookup
from insid3.parsing import Flaw, clipped, parsing

T = TypeVar("T")
_PATIENCE = 100_000  # draws in vain before a class is given up


class Draw:
    """The published evaluations' random draws: `np.random.choice(items, 1, replace=False)[0]`, which shuffles all."""

    def __init__(self, seed: int) -> None:
        self.stream = np.random.RandomState(seed)
        self._again = np.random.RandomState([seed, 1])

    def pick(self, items: Sequence[T]) -> T:
        return items[self.stream.permutation(len(items))[0]]

    def others(self, items: Sequence[T], target: T, shots: int, what: str) -> list[T]:
        """As many draws as shots that differ from the target; one may come twice, as published.

        Raises:
            DataError: there is no other.
        """
        if all(item == target for item in items):
            raise DataError(f"{what} has no picture besides {clipped(str(target))}: there is nothing to refer to")
        found: list[T] = []
        while len(found) < shots:
            item = self.pick(items)
            if item != target:
                found.append(item)
        return found

    def distinct(self, views: Sequence[View], target: View, shots: int, what: str) -> list[View]:
        """As `others`, each of another picture; there must be enough.

        What comes twice is replaced from a stream of its own, so that all other draws are those of `others`.
        """
        found: dict[str, View] = {}
        for view in self.others(views, target, shots, what):
            found.setdefault(view.picture, view)
        found.pop(target.picture, None)  # of another mask
        while len(found) < shots:
            left = [view for view in views if view.picture not in found and view.picture != target.picture]
            view = left[self._again.randint(len(left))]
            found[view.picture] = view
        return [*found.values()]


def patiently(what: str) -> Iterator[int]:
    """Counts draws that may be in vain.

    Raises:
        DataError: too many.
    """
    yield from range(_PATIENCE)
    raise DataError(f"{what}: no usable episode in {_PATIENCE:,} draws; has it pictures enough for these shots?")


class Drawn(NamedTuple):
    """An episode without its name."""

    cls: str
    target: View
    references: tuple[View, ...]
    ignore: Recipe | None = None


class Fold(NamedTuple):
    """What is drawn from; `draws` does it one by one, without end where the number is not the data's.

    Attributes:
        left_out: classes that cannot be drawn from, and why.
        notes: what was decided about the data; those of what is drawn come with it.
    """

    classes: dict[str, str]
    length: int
    draws: Iterator[Drawn | Pair]
    left_out: Mapping[str, str] = MappingProxyType({})
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """Files that a data set must have: a pattern below the data root, and how many the published set has."""

    pattern: str
    what: str
    count: int | None = None


@dataclass(frozen=True)
class DataSet:
    """One published benchmark.

    Attributes:
        folds: number of folds; `every` tells whether all classes can be one fold too (-1).
        draw: (reader, fold, shots, draw) -> Fold.
        layout: what `insid3 evaluate --check` looks for.
    """

    name: str
    title: str
    folds: int
    draw: Callable[[Reader, int, int, Draw], Fold]
    layout: tuple[Part, ...]
    every: bool = False


def entry(data: Any, *keys: Any, file: str) -> Any:
    """Return `data[key][key]...` of an annotation file.

    Raises:
        DataError: it is laid out otherwise.
    """
    with parsing(file, "annotation"):
        return lookup(data, *keys)


def names(values: Iterable[Any], file: str) -> list[str]:
    """Return the names of pictures that an annotation file lists.

    Raises:
        DataError: one is not text.
    """
    with parsing(file, "annotation"):
        found = list(values)
        if not all(isinstance(value, str) for value in found):
            raise Flaw("lists something that is not text as a name of a picture")
        return found


def visible(folder: Path, pattern: str) -> list[Path]:
    """What matches, sorted, without what other programs hide there (`._1.jpg`, `.ipynb_checkpoints`)."""
    paths = sorted(folder.glob(pattern))
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def listed(found: list[T], what: str) -> list[T]:
    """As it is, and not empty.

    Raises:
        DataError: nothing there.
    """
    if not found:
        raise DataError(f"no {what}: see `insid3 evaluate --check`")
    return found
