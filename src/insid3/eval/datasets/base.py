"""The common ground of the data sets: random draws, folds, and the description of a data set."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from insid3.checks.parsing import Flaw, clipped, parsing
from insid3.errors import DataError
from insid3.eval.episodes import Pair, Recipe, View
from insid3.eval.reader import Reader, lookup

T = TypeVar("T")
_PATIENCE = 100_000  # unusable draws before the drawing fails


class Draw:
    """Random draws equal to those of the published evaluations, `np.random.choice(items, 1, replace=False)[0]`."""

    def __init__(self, seed: int) -> None:
        self.stream = np.random.RandomState(seed)
        self._again = np.random.RandomState([seed, 1])

    def pick(self, items: Sequence[T]) -> T:
        """Draw one item; a permutation of all items advances the stream as `np.random.choice` does."""
        return items[self.stream.permutation(len(items))[0]]

    def others(self, items: Sequence[T], target: T, shots: int, what: str) -> list[T]:
        """Draw one item for each shot, none of them the target; an item may come twice, as published.

        Raises:
            DataError: there is no item but the target.
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
        """Draw one view for each shot, each of another picture, none of the target's picture.

        A picture that comes twice is replaced with a second random stream, so that the first draws equal `others`.
        The views must show more pictures than there are shots.
        """
        found: dict[str, View] = {}
        for view in self.others(views, target, shots, what):
            found.setdefault(view.picture, view)
        found.pop(target.picture, None)  # a view of the target's picture may have another mask
        while len(found) < shots:
            left = [view for view in views if view.picture not in found and view.picture != target.picture]
            view = left[self._again.randint(len(left))]
            found[view.picture] = view
        return [*found.values()]


def patiently(what: str) -> Iterator[int]:
    """Yield the numbers of draws, of which some may be unusable.

    Raises:
        DataError: 100,000 draws were unusable.
    """
    yield from range(_PATIENCE)
    raise DataError(f"{what}: no usable episode in {_PATIENCE:,} draws; has it pictures enough for these shots?")


class UnnamedEpisode(NamedTuple):
    """The fields of an `Episode` but its id."""

    cls: str
    target: View
    references: tuple[View, ...]
    ignore: Recipe | None = None


class Fold(NamedTuple):
    """A fold of a data set, with the name of each class.

    Attributes:
        length: number of episodes of a full evaluation.
        draws: episodes, drawn one by one; without end where the data does not give their number.
        left_out: classes with too few pictures, and the reasons.
        notes: decisions about the data; drawing may add notes.
    """

    classes: dict[str, str]
    length: int
    draws: Iterator[UnnamedEpisode | Pair]
    left_out: Mapping[str, str] = MappingProxyType({})
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """The files of a data set that match a pattern below the data root, and their number in the published set."""

    pattern: str
    what: str
    count: int | None = None


@dataclass(frozen=True)
class DataSet:
    """A published data set.

    Attributes:
        folds: number of folds.
        draw: function of (reader, fold, shots, draw) that returns the `Fold`.
        layout: files that `insid3 evaluate --check` counts.
        every: whether fold -1, with all classes, exists.
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
        DataError: there is no such entry.
    """
    with parsing(file, "annotation"):
        return lookup(data, *keys)


def names(values: Iterable[Any], file: str) -> list[str]:
    """Return the names of pictures that an annotation file lists.

    Raises:
        DataError: a name is not text.
    """
    with parsing(file, "annotation"):
        found = list(values)
        if not all(isinstance(value, str) for value in found):
            raise Flaw("lists something that is not text as a name of a picture")
        return found


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return the sorted paths that match a pattern, without hidden files and folders (`._1.jpg`)."""
    paths = sorted(folder.glob(pattern))
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def listed(found: list[T], what: str) -> list[T]:
    """Check that a list of files is not empty, and return the list.

    Raises:
        DataError: the list is empty.
    """
    if not found:
        raise DataError(f"no {what}: see `insid3 evaluate --check`")
    return found
