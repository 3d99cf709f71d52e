"""What is evaluated, as a value: lists of episodes that can be saved, compared and loaded again."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from insid3.errors import DataError
from insid3.storage import write_text

_FORMAT, _VERSION = "insid3-episodes", 1
# How a mask comes out of its files: its kind (`reader.MASKS`) and what that needs, files first. Paths, here and below,
# are relative to the data root, with slashes.
Recipe = tuple[Any, ...]


@dataclass(frozen=True)
class View:
    """A picture, or a part of one, and where the concept is in it.

    Attributes:
        mask: of the whole picture.
        box: what of picture and mask is shown, (x0, y0, x1, y1) in pixels as numpy slices them; None for all.
    """

    picture: str
    mask: Recipe
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Episode:
    """Find what the references show in the target.

    Attributes:
        id: unique among all episodes.
        cls: class that the scores are summed for; a key of `EpisodeList.classes`.
        ignore: mask of the target's pixels that do not count.
    """

    id: str
    cls: str
    target: View
    references: tuple[View, ...]
    ignore: Recipe | None = None


@dataclass(frozen=True)
class Pair:
    """Find the source's points in the target.

    Attributes:
        source_points, target_points: (x, y) in pixels.
        threshold: length in pixels of which a correct point's distance is at most a share.
    """

    id: str
    cls: str
    source: str
    target: str
    source_points: tuple[tuple[float, float], ...]
    target_points: tuple[tuple[float, float], ...]
    threshold: float


@dataclass(frozen=True)
class EpisodeList:
    """The episodes of one fold, in the order in which they were drawn.

    Attributes:
        dataset: what they were drawn from: "coco", "episodes:DIR", ...
        set: entry of the results that they belong to.
        length: number of episodes of a full evaluation.
        classes: name of each class. In published sets those that never occur count as well, with an IoU of 0.
        root: where a user's own data is; None for what lies below the data root.
    """

    dataset: str
    set: str
    fold: int
    shots: int
    seed: int
    length: int
    classes: dict[str, str]
    episodes: tuple[Episode | Pair, ...]
    root: str | None = None

    @property
    def name(self) -> str:
        return f"{self.set}, fold {self.fold}, {self.shots} shot" + "s" * (self.shots > 1)

    @property
    def has_points(self) -> bool:
        return any(isinstance(episode, Pair) for episode in self.episodes)

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """16 hex digits for each episode that tell whether another one of that name is the same."""
        return tuple(_digest({**asdict(episode), "id": ""}) for episode in self.episodes)

    def first(self, count: int | None) -> "EpisodeList":
        return self if count is None else replace(self, episodes=self.episodes[:count])


def digest_of(lists: Sequence[EpisodeList]) -> str:
    """16 hex digits that tell whether two evaluations run the same episodes."""
    return _digest([fingerprint for episodes in lists for fingerprint in episodes.fingerprints])


def files_of(episode: Episode | Pair) -> list[str]:
    """All that must be there to run it."""
    if isinstance(episode, Pair):
        return [episode.source, episode.target]
    recipes = [view.mask for view in (episode.target, *episode.references)] + [episode.ignore or ()]
    return [view.picture for view in (episode.target, *episode.references)] + [r[1] for r in recipes if r]


def save(lists: Sequence[EpisodeList], path: Path) -> None:
    """As JSON, an episode a line."""
    texts = []
    for episodes in lists:
        head = {key: value for key, value in vars(episodes).items() if key not in ("episodes", "fingerprints")}
        lines = ",\n".join(json.dumps(asdict(episode), ensure_ascii=False) for episode in episodes.episodes)
        texts.append(f'{json.dumps(head, ensure_ascii=False)[:-1]}, "episodes": [\n{lines}\n]}}')
    whole = f'{{"format": "{_FORMAT}", "version": {_VERSION}, "lists": [\n' + ",\n".join(texts) + "\n]}\n"
    write_text(path, whole)


def load(path: Path) -> list[EpisodeList]:
    """What `save` wrote.

    Raises:
        DataError: missing, damaged, or something else.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
        if data["format"] != _FORMAT or data["version"] != _VERSION:
            raise DataError(f"{path} is not a list of episodes that this insid3 reads: draw it again (--episodes-out)")
        lists = [EpisodeList(**{**each, "episodes": tuple(map(_episode, each["episodes"]))}) for each in data["lists"]]
        for each in lists:
            _check(each)
            if unknown := {episode.cls for episode in each.episodes} - each.classes.keys():
                raise DataError(f"{path}: {each.name} has episodes of classes that it does not list: {unknown}")
        return lists
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not a list of episodes ({error!r:.120}): draw it again (--episodes-out)") from error


def _episode(data: dict[str, Any]) -> Episode | Pair:
    if "source" in data:
        points = {key: tuple((x, y) for x, y in data[key]) for key in ("source_points", "target_points")}
        return Pair(**{**data, **points})
    ignore = tuple(data["ignore"]) if data["ignore"] else None
    views = tuple(map(_view, data["references"]))
    return Episode(data["id"], data["cls"], _view(data["target"]), views, ignore)


def _view(data: dict[str, Any]) -> View:
    return View(data["picture"], tuple(data["mask"]), tuple(data["box"]) if data["box"] else None)


def _check(each: EpisodeList) -> None:
    """ValueError: values of other types than they are declared with, or paths out of the data root."""
    texts = [each.dataset, each.set, *each.classes, *each.classes.values(), *([] if each.root is None else [each.root])]
    numbers, boxes, paths = [each.fold, each.shots, each.seed, each.length], list[object](), list[object]()
    for episode in each.episodes:
        texts += [episode.id, episode.cls]
        paths += files_of(episode)
        if isinstance(episode, Episode):
            boxes += [view.box for view in (episode.target, *episode.references) if view.box is not None]
        else:
            points = [value for point in (*episode.source_points, *episode.target_points) for value in point]
            if not all(isinstance(value, int | float) for value in (*points, episode.threshold)):
                raise ValueError(f"points of {episode.id}")
    for value in (*texts, *paths):
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is no text")
    for box in boxes:
        if not (isinstance(box, tuple) and len(box) == 4 and all(type(side) is int for side in box)):
            raise ValueError(f"box {box!r}")
    if not all(type(number) is int for number in numbers):
        raise ValueError(f"fold, shots, seed, length: {numbers}")
    for path in map(str, paths):
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise ValueError(f"{path!r} lies outside of the data root")


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
