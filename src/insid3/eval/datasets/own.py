"""A user's own data: `episodes:DIR` holds a list of episodes, `folder:DIR` pictures and masks to draw from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from insid3.checks.parsing import Flaw, as_dict, as_list, as_text, parsing, read_json
from insid3.errors import DataError
from insid3.eval.datasets.base import Draw, Fold, UnnamedEpisode, listed, visible
from insid3.eval.datasets.void import void_value
from insid3.eval.episodes import Episode, EpisodeList, View
from insid3.imaging.read import SUFFIXES

IgnoreIndex = int | Literal["auto", "none"]


def read_episodes(folder: Path, shots: int | None) -> list[EpisodeList]:
    """Read the lists of `episodes:DIR`, one for each value of an episode's `set`.

    `episodes.json` holds [{"id", "set", "cls", "ref": [stem, ...], "tgt": stem}, ...]; a stem names the files
    `images/STEM.*` and `masks/STEM.png`. An episode may have "ignore": stem, which names `ignore/STEM.png`.

    Args:
        shots: number of references that are used; None: all.

    Raises:
        DataError: the list is missing or laid out in another way, or an episode has too few references.
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
    """Make each mask of `folder:DIR` a target once, with references of distinct pictures drawn from the same class.

    `images/` holds the pictures, `masks/CLASS/STEM.*` the masks; masks without a folder are of the class "concept".
    A class with too few pictures is left out. The masks of a class are read when its first episode is drawn.

    Args:
        ignore_index: value of masks that does not count; "auto": 255 where `void_value` finds it to be void; "none":
            all values count.

    Raises:
        DataError: there are no masks, a mask has no picture, no class has enough pictures, or the masks contradict
            each other on 255.
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

    def draws() -> Iterator[UnnamedEpisode]:
        for cls, mine in used.items():
            void, note = ignore_index if isinstance(ignore_index, int) else None, None
            if ignore_index == "auto":
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
                yield UnnamedEpisode(cls, target, tuple(references), ignore)

    return Fold({cls: cls for cls in used}, sum(map(len, used.values())), draws(), few, notes)


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def _by_stem(folder: Path) -> dict[str, Any]:
    """Return the picture names by stem; if two names differ only in the suffix, the first one is returned."""
    names = [path.name for path in reversed(visible(folder, "*")) if path.suffix.lower() in SUFFIXES]
    if not names:
        raise DataError(f"no pictures in {folder}")
    return {Path(name).stem: name for name in names}
