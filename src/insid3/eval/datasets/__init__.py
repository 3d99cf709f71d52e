"""Episodes of the paper's nine data sets, of SPair-71k, and of a user's own data."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from insid3.checks.parsing import parsing, shown
from insid3.errors import ConfigError, DataError
from insid3.eval.datasets import folders, objects, own, parts, points
from insid3.eval.datasets.base import DataSet, Draw, Fold, Part, UnnamedEpisode, visible
from insid3.eval.episodes import Episode, EpisodeList, Pair, check_list, fits_disk
from insid3.eval.reader import Reader, Readers

DATASETS: dict[str, DataSet] = {
    dataset.name: dataset
    for dataset in (
        objects.LVIS, objects.COCO, folders.ISIC, folders.LUNG, folders.ISAID, folders.SUIM, parts.PASCAL_PART,
        parts.PACO_PART, folders.PERMIS, points.SPAIR,
    )
}  # fmt: skip


def draw(
    names: Sequence[str],
    readers: Readers | None = None,
    *,
    fold: int | None = None,
    shots: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    ignore_index: own.IgnoreIndex = "auto",
) -> list[EpisodeList]:
    """Return the episodes of each data set and fold, drawn as in the published evaluation.

    Args:
        names: keys of `DATASETS`, "episodes:DIR", "folder:DIR".
        readers: readers that know the folder of the published data sets.
        fold: number of the only fold; -1 is COCO's 80 classes as one fold; None: all folds.
        shots: references of an episode; None: 1, or all references of "episodes:DIR".
        seed: seed of the random stream, which begins anew for each list.
        limit: number of episodes of each list; None: all.
        ignore_index: value that does not count in the masks of "folder:DIR"; "auto": 255 where it stands beside other
            labels; "none": all values above 0 are the object.

    Raises:
        ConfigError: a data set or fold does not exist, `shots` is below 1, or `ignore_index` is no value of masks or
            is set for another data set than "folder:DIR".
        DataError: files are missing, damaged, or laid out in another way.
    """
    if isinstance(ignore_index, int) and not 0 <= ignore_index < 2**16:
        raise ConfigError(f"--ignore-index must be a value of masks, 0 to 65535, or none, got {ignore_index}")
    if shots is not None and shots < 1:
        raise ConfigError(f"shots must be 1 or more, got {shots}")
    readers = readers or Readers()
    lists: list[EpisodeList] = []
    for name in dict.fromkeys(names):
        kind, _, where = name.partition(":")
        if fold not in (None, 0) and name not in DATASETS:
            raise ConfigError(f"{name} has no folds: leave out --fold")
        if ignore_index != "auto" and kind != "folder":
            raise ConfigError(f"--ignore-index is of folder:DIR, {name} has ignored pixels of its own: leave it out")
        if kind == "episodes" and where:
            found = [each.first(limit) for each in own.read_episodes(Path(where), shots)]
        elif kind == "folder" and where:
            root = Path(where).resolve()
            pixels = readers(str(root)).max_pixels
            drawn = own.draw_folder(Path(where), shots or 1, Draw(seed), ignore_index, pixels)
            empty = EpisodeList(name, root.name, 0, shots or 1, seed, 0, {}, (), str(root))
            found = [_taken(drawn, empty, limit)]
        elif name in DATASETS:
            found = list(_published(DATASETS[name], readers(None, name), fold, shots or 1, seed, limit))
        else:
            raise ConfigError(f"unknown data set {name!r}: {', '.join(DATASETS)}, episodes:DIR or folder:DIR")
        lists += found
    return checked(lists)


def checked(lists: Sequence[EpisodeList]) -> list[EpisodeList]:
    """Check that no two sets or episodes have the same name, and return the lists.

    Raises:
        DataError: a name occurs twice or cannot be that of a file, or there are no episodes.
    """
    if not any(each.episodes for each in lists):
        raise DataError("there are no episodes to run: the list, or the data set's own lists, are empty")
    origin: dict[str, str] = {}
    seen: set[str] = set()
    for each in lists:
        if origin.setdefault(each.set, each.dataset) != each.dataset:
            raise DataError(f"{origin[each.set]} and {each.dataset} both have a set {each.set!r}: run them separately")
        with parsing(each.root or each.dataset, "data set"):
            check_list(each)
        for episode in each.episodes:
            if not fits_disk(episode.id, ".png") or episode.id in ("", ".", "..") or set(episode.id) & set("/\\:"):
                raise DataError(
                    f"{each.dataset} has an episode {shown(episode.id)}: files cannot be called so, rename it"
                )
            if episode.id in seen:
                raise DataError(
                    f"two episodes are called {shown(episode.id)}: run {each.dataset} separately or rename them"
                )
            seen.add(episode.id)
    return list(lists)


def _published(
    dataset: DataSet, reader: Reader, fold: int | None, shots: int, seed: int, limit: int | None
) -> Iterator[EpisodeList]:
    allowed = range(-1 if dataset.every else 0, dataset.folds)
    if fold is not None and fold not in allowed:
        raise ConfigError(f"{dataset.name} has the folds {allowed[0]} to {allowed[-1]}, got {fold}")
    for number in range(dataset.folds) if fold is None else [fold]:
        empty = EpisodeList(dataset.name, dataset.name, number, shots, seed, 0, {}, ())
        with parsing(reader.root, f"{dataset.title} (laid out as published, see docs/reproduce.md)"):
            found = _taken(dataset.draw(reader, number, shots, Draw(seed)), empty, limit)
        yield found


def _taken(fold: Fold, empty: EpisodeList, limit: int | None) -> EpisodeList:
    """Draw the fold's episodes and name them by their place; the limit does not change the first episodes."""
    count = fold.length if limit is None else min(limit, fold.length)

    def named(index: int, drawn: UnnamedEpisode | Pair) -> Episode | Pair:
        name = f"{empty.set}_fold{empty.fold}_{empty.shots}shot_{index:05}"
        return replace(drawn, id=name) if isinstance(drawn, Pair) else Episode(name, *drawn)

    episodes = tuple(named(index, drawn) for index, drawn in enumerate(islice(fold.draws, count)))
    left_out, notes = dict(fold.left_out), tuple(fold.notes)
    return replace(empty, length=fold.length, classes=fold.classes, episodes=episodes, left_out=left_out, notes=notes)


def check(name: str, data_root: Path) -> list[tuple[Part, int]]:
    """Count the files of each part of a published data set; ConfigError if there is no such data set."""
    if name not in DATASETS:
        raise ConfigError(f"unknown data set {name!r}: --check knows {', '.join(DATASETS)}")
    return [(part, len(visible(data_root, part.pattern))) for part in DATASETS[name].layout]
