"""Episodes as values: lists that can be saved, compared and loaded again."""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from insid3.checks.parsing import Flaw, as_dict, as_list, parsing, read_json, shown
from insid3.errors import DataError
from insid3.storage import write_text

_FORMAT, _VERSION = "insid3-episodes", 1
_LONGEST = 2000  # letters of a text
_PART = 255  # bytes of a file name, on nearly every disk
_ODD = ("Cc", "Cs")  # Unicode categories: control characters, and surrogates, which stand for undecodable bytes
_FAR = 1e7  # largest coordinate of a point, in pixels
# How a mask is read: a key of `reader.MASKS`, a file and further arguments. Paths, here and below, are relative to the
# data root, with slashes.
Recipe = tuple[Any, ...]


@dataclass(frozen=True)
class View:
    """A picture, or a part of one, with the mask of the concept.

    Attributes:
        mask: recipe of the whole picture's mask.
        box: part of picture and mask that is shown, (x0, y0, x1, y1) in pixels as numpy slices; None for all.
    """

    picture: str
    mask: Recipe
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Episode:
    """A task of marking the references' concept in a target.

    Attributes:
        id: name, unique among all episodes.
        cls: class over which pixels are summed; a key of `EpisodeList.classes`.
        ignore: recipe of the mask of the target's pixels that do not count.
    """

    id: str
    cls: str
    target: View
    references: tuple[View, ...]
    ignore: Recipe | None = None


@dataclass(frozen=True)
class Pair:
    """A task of finding points of a source picture in a target.

    Attributes:
        source_points, target_points: (x, y) in pixels.
        threshold: length in pixels; a point is correct if its distance is at most alpha times this length.
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
        dataset: source of the episodes: "coco", "episodes:DIR", ...
        set: entry of the results that the episodes belong to.
        length: number of episodes of a full evaluation.
        classes: name of each class. In published sets a class that never occurs counts as well, with an IoU of 0.
        root: folder of a user's own data; None for data below the data root.
        left_out: classes that have no episodes because they have too few pictures, and the reasons.
        notes: decisions about the data that were made when the episodes were drawn.
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
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.set}, fold {self.fold}, {self.shots} shot" + "s" * (self.shots > 1)

    @property
    def has_points(self) -> bool:
        return any(isinstance(episode, Pair) for episode in self.episodes)

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """Hashes of the episodes without their ids, 16 hex digits each."""
        return tuple(_digest({**asdict(episode), "id": ""}) for episode in self.episodes)

    def first(self, count: int | None) -> "EpisodeList":
        """Return the list with its first `count` episodes; None: with all."""
        return self if count is None else replace(self, episodes=self.episodes[:count])


def digest_of(lists: Sequence[EpisodeList]) -> str:
    """Return a hash of all episodes, 16 hex digits: two evaluations of the same episodes have the same."""
    return _digest([fingerprint for episodes in lists for fingerprint in episodes.fingerprints])


def files_of(episode: Episode | Pair) -> list[str]:
    """Return the files that an episode is made from, relative to the data root."""
    if isinstance(episode, Pair):
        return [episode.source, episode.target]
    recipes = [view.mask for view in (episode.target, *episode.references)] + [episode.ignore or ()]
    return [view.picture for view in (episode.target, *episode.references)] + [r[1] for r in recipes if r]


def save(lists: Sequence[EpisodeList], path: Path) -> None:
    """Write the lists as JSON, one episode on each line."""
    texts = []
    for episodes in lists:
        head = {key: value for key, value in vars(episodes).items() if key not in ("episodes", "fingerprints")}
        head = {key: value for key, value in head.items() if value or key not in ("left_out", "notes")}
        lines = ",\n".join(json.dumps(asdict(episode), ensure_ascii=False) for episode in episodes.episodes)
        texts.append(f'{json.dumps(head, ensure_ascii=False)[:-1]}, "episodes": [\n{lines}\n]}}')
    whole = f'{{"format": "{_FORMAT}", "version": {_VERSION}, "lists": [\n' + ",\n".join(texts) + "\n]}\n"
    write_text(path, whole)


def load(path: Path) -> list[EpisodeList]:
    """Read lists that `save` wrote.

    Raises:
        DataError: the file is missing, damaged, or no list of episodes of this version.
    """
    with parsing(path, "list of episodes"):
        data = as_dict(read_json(path), "content")
        if data.get("format") != _FORMAT or data.get("version") != _VERSION:
            raise DataError(f"{path} is not a list of episodes that this insid3 reads: draw it again (--episodes-out)")
        lists = [_list(as_dict(each, "list")) for each in as_list(data.get("lists"), "lists")]
        for each in lists:
            check_list(each)
            if unknown := {episode.cls for episode in each.episodes} - each.classes.keys():
                raise DataError(f"{path}: {each.name} has episodes of classes that it does not list: {unknown}")
        return lists


def _list(data: dict[str, Any]) -> EpisodeList:
    episodes = tuple(map(_episode, as_list(data.get("episodes"), "episodes")))
    return EpisodeList(**{**data, "episodes": episodes, "notes": tuple(as_list(data.get("notes", []), "notes"))})


def _episode(data: dict[str, Any]) -> Episode | Pair:
    if "source" in data:
        points = {key: tuple((x, y) for x, y in data[key]) for key in ("source_points", "target_points")}
        return Pair(**{**data, **points})
    ignore = tuple(data["ignore"]) if data["ignore"] else None
    views = tuple(map(_view, data["references"]))
    return Episode(data["id"], data["cls"], _view(data["target"]), views, ignore)


def _view(data: dict[str, Any]) -> View:
    return View(data["picture"], tuple(data["mask"]), tuple(data["box"]) if data["box"] else None)


def fits_disk(name: str, ending: str = "") -> bool:
    """Tell whether a name with an ending is a readable file name that nearly every disk can hold."""
    return not _is_odd(name) and len(f"{name}{ending}".encode()) <= _PART


def check_list(each: EpisodeList) -> None:
    """Check that all values have their declared types, and that no path leads out of the data root.

    Raises:
        Flaw: a value has another type, is too long or too large, or is such a path.
    """
    _texts([each.dataset, each.set, *([] if each.root is None else [each.root]), *each.notes], "name")
    for table in (each.classes, each.left_out):
        _names([*as_dict(table, "classes"), *table.values()], "class")
    for name in ("fold", "shots", "seed", "length"):
        if type(getattr(each, name)) is not int:
            raise Flaw(f"has {shown(getattr(each, name))} as {name}, not a whole number")
    for episode in each.episodes:
        _names([episode.id], "id")
        _names([episode.cls], "class")
        for path in files_of(episode):
            _check_path(path)
        if isinstance(episode, Pair):
            for value in (*sum(episode.source_points + episode.target_points, ()), episode.threshold):
                if not isinstance(value, int | float) or not abs(value) <= _FAR:  # NaN must fail
                    raise Flaw(f"has points of {episode.id} that are no numbers of pixels, such as {shown(value)}")
            continue
        views = (episode.target, *episode.references)
        for box in [view.box for view in views if view.box is not None]:
            if not (isinstance(box, tuple) and len(box) == 4 and all(type(side) is int for side in box)):
                raise Flaw(f"has the box {box!r:.60}, not four whole numbers")
        for recipe in [view.mask for view in views] + [episode.ignore or ()]:
            if not all(isinstance(part, str | int) for part in recipe):
                raise Flaw(f"has a mask of {episode.id} that is made of something else than text and whole numbers")


def _texts(values: Sequence[Any], what: str) -> None:
    for value in values:
        if not isinstance(value, str):
            raise Flaw(f"has {shown(value)} as {what}, not text")
        if len(value) > _LONGEST:
            raise Flaw(f"has {shown(value)} as {what}, which is too long")


def _names(values: Sequence[Any], what: str) -> None:
    _texts(values, what)
    if odd := next((value for value in values if _is_odd(value)), None):
        raise Flaw(f"has {shown(odd)} as {what}, which holds control characters or bytes that are no text: rename it")


def _is_odd(text: str) -> bool:
    return any(unicodedata.category(letter) in _ODD for letter in text)


def _check_path(path: Any) -> None:
    _texts([path], "file name")
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise Flaw(f"has the file name {shown(path)}, which lies outside of the data root")
    _names([path], "file name")
    if not all(map(fits_disk, Path(path).parts)):
        raise Flaw(f"has the file name {shown(path)}, of which a part has more than {_PART} bytes: rename it")


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
