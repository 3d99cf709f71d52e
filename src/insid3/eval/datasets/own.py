"""A user's own data: `episodes:DIR` with a list of episodes, `folder:DIR` with pictures and masks to draw from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from insid3.errors import DataError
from insid3.eval.datasets.base import Draw, Drawn, Fold, listed, visible
from insid3.eval.episodes import Episode, EpisodeList, View
from insid3.images import SUFFIXES


def read_episodes(folder: Path, shots: int | None) -> list[EpisodeList]:
    """A list for each value of an episode's `set`.

    `episodes.json` holds [{"id", "set", "cls", "ref": [stem, ...], "tgt": stem}, ...]; a stem is that of
    `images/STEM.*` and `masks/STEM.png`. An episode may have "ignore": stem, for `ignore/STEM.png`.

    Args:
        shots: how many of the references are used; None for all.

    Raises:
        DataError: no such list, or one that is laid out otherwise.
    """
    file = folder / "episodes.json"
    try:
        data = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{file} is not JSON ({error})") from error
    pictures = _by_stem(folder / "images")

    def view(stem: str) -> View:
        return View(f"images/{pictures.get(stem, f'{stem}.jpg')}", ("any", f"masks/{stem}.png"))

    sets: dict[str, list[Episode]] = {}
    try:
        for each in data:
            stems = each["ref"] if shots is None else each["ref"][:shots]
            if not stems or len(stems) < (shots or 1):
                raise DataError(f"{file}: episode {each['id']} has {len(each['ref'])} references, not {shots or 1}")
            ignore = ("any", f"ignore/{each['ignore']}.png") if each.get("ignore") else None
            episode = Episode(str(each["id"]), str(each["cls"]), view(each["tgt"]), tuple(map(view, stems)), ignore)
            sets.setdefault(str(each["set"]), []).append(episode)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: expected a list of id, set, cls, ref and tgt ({error!r})") from error
    if not sets:
        raise DataError(f"{file} holds no episodes")
    return [
        EpisodeList(
            dataset=f"episodes:{folder}",
            set=name,
            fold=0,
            shots=max(len(episode.references) for episode in episodes),
            seed=0,
            length=len(episodes),
            classes={episode.cls: episode.cls for episode in episodes},
            episodes=tuple(episodes),
            root=str(folder.resolve()),
        )
        for name, episodes in sets.items()
    ]


def draw_folder(folder: Path, shots: int, draw: Draw) -> Fold:
    """Every mask is a target once; references are drawn from its class.

    `images/` holds the pictures, `masks/CLASS/STEM.*` the masks; masks without a folder are of one class, "concept".

    Raises:
        DataError: no masks, or a mask without its picture.
    """
    pictures, views = _by_stem(folder / "images"), dict[str, list[View]]()
    masks = [path for path in visible(folder / "masks", "**/*") if path.suffix.lower() in SUFFIXES]
    for path in listed(masks, f"masks in {folder / 'masks'}"):
        relative = path.relative_to(folder / "masks")
        if path.stem not in pictures:
            raise DataError(f"{path} has no picture {folder / 'images' / path.stem}.*: add it, or leave out the mask")
        view = View(f"images/{pictures[path.stem]}", ("any", f"masks/{relative.as_posix()}"))
        views.setdefault(relative.parent.as_posix() if len(relative.parts) > 1 else "concept", []).append(view)

    def draws() -> Iterator[Drawn]:
        for cls, mine in views.items():
            for target in mine:
                yield Drawn(cls, target, tuple(draw.others(mine, target, shots, f"{folder}, class {cls},")))

    return Fold({cls: cls for cls in views}, sum(map(len, views.values())), draws())


def _by_stem(folder: Path) -> dict[str, Any]:
    """Name of each picture; of two that differ in their suffix the first."""
    names = [path.name for path in reversed(visible(folder, "*")) if path.suffix.lower() in SUFFIXES]
    if not names:
        raise DataError(f"no pictures in {folder}")
    return {Path(name).stem: name for name in names}
