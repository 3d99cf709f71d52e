"""A user's own data: `episodes:DIR` with a list of episodes, `folder:DIR` with pictures and masks to draw from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from insid3.errors import DataError
from insid3.eval.datasets.base import Draw, Drawn, Fold, listed, visible
from insid3.eval.datasets.void import void_value
from insid3.eval.episodes import Episode, EpisodeList, View
from insid3.images import SUFFIXES
from insid3.parsing import Flaw, as_dict, as_list, as_text, parsing, read_json

IgnoreIndex = int | Literal["auto", "none"]


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
    sets: dict[str, list[Episode]] = {}
    with parsing(file, "list of episodes"):
        entries = as_list(read_json(file), "content, expected a list of id, set, cls, ref and tgt:")
        pictures = _by_stem(folder / "images")

        def view(stem: str) -> View:
            return View(f"images/{pictures.get(stem, f'{stem}.jpg')}", ("any", f"masks/{stem}.png"))

        for number, data in enumerate(entries, 1):
            try:
                each = as_dict(data, "entry")
                id, cls, name, target = (as_text(each.get(key), key) for key in ("id", "cls", "set", "tgt"))
                stems = [as_text(stem, "ref") for stem in as_list(each.get("ref"), "ref")]
                ignored = as_text(each["ignore"], "ignore") if each.get("ignore") else None
            except Flaw as flaw:
                raise Flaw(f"{flaw}, in entry {number}: expected a list of id, set, cls, ref and tgt") from flaw
            used = stems if shots is None else stems[:shots]
            if not used or len(used) < (shots or 1):
                raise DataError(f"{file}: episode {id} has {len(stems)} references, not {shots or 1}")
            ignore = ("any", f"ignore/{ignored}.png") if ignored else None
            episode = Episode(id, cls, view(target), tuple(map(view, used)), ignore)
            sets.setdefault(name, []).append(episode)
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


def draw_folder(folder: Path, shots: int, draw: Draw, ignore_index: IgnoreIndex, max_pixels: int) -> Fold:
    """Every mask is a target once; references are drawn from its class, no picture twice.

    `images/` holds the pictures, `masks/CLASS/STEM.*` the masks; masks without a folder are of one class, "concept".
    A class with too few pictures is left out. The masks of a class are looked at when it is drawn from.

    Args:
        ignore_index: value of masks that does not count; "auto": 255, where `void_value` finds it to be none of the
            object's.

    Raises:
        DataError: no masks, a mask without its picture, no class with pictures enough, or masks that do not tell what
            255 is.
    """
    pictures, masks = _by_stem(folder / "images"), dict[str, list[Path]]()
    found = [path for path in visible(folder / "masks", "**/*") if path.suffix.lower() in SUFFIXES]
    for path in listed(found, f"masks in {folder / 'masks'}"):
        relative = path.relative_to(folder / "masks")
        if path.stem not in pictures:
            raise DataError(f"{path} has no picture {folder / 'images' / path.stem}.*: add it, or leave out the mask")
        masks.setdefault(relative.parent.as_posix() if len(relative.parts) > 1 else "concept", []).append(path)
    counts = {cls: len({path.stem for path in mine}) for cls, mine in masks.items()}
    few = {cls: f"has {_pictures(count)}, {shots + 1} are needed" for cls, count in counts.items() if count <= shots}
    if len(few) == len(masks):
        told = "; ".join(f"{cls} {why}" for cls, why in list(few.items())[:5])
        raise DataError(f"no class of {folder} has more than {_pictures(shots)} (--shots): {told}")
    used, notes = {cls: mine for cls, mine in masks.items() if cls not in few}, list[str]()

    def draws() -> Iterator[Drawn]:
        for cls, mine in used.items():
            void, note = _chosen(ignore_index), None
            if ignore_index == "auto":  # reads all masks of the class
                void, note = void_value(mine, cls, max_pixels)
            notes.extend([note] if note else [])
            own = () if void is None else (void,)
            views = [
                View(f"images/{pictures[path.stem]}", ("any", path.relative_to(folder).as_posix(), *own))
                for path in mine
            ]
            for target in views:
                references = draw.distinct(views, target, shots, f"{folder}, class {cls},")
                ignore = None if void is None else ("label", *target.mask[1:])
                yield Drawn(cls, target, tuple(references), ignore)

    return Fold({cls: cls for cls in used}, sum(map(len, used.values())), draws(), few, notes)


def _chosen(ignore_index: IgnoreIndex) -> int | None:
    return ignore_index if isinstance(ignore_index, int) else None


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def _by_stem(folder: Path) -> dict[str, Any]:
    """Name of each picture; of two that differ in their suffix the first."""
    names = [path.name for path in reversed(visible(folder, "*")) if path.suffix.lower() in SUFFIXES]
    if not names:
        raise DataError(f"no pictures in {folder}")
    return {Path(name).stem: name for name in names}
