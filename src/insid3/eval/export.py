"""Episodes as files for another program: a folder that `episodes:DIR` reads again."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from insid3.batch.writers import write_mask
from insid3.errors import DataError
from insid3.eval.episodes import Episode, EpisodeList, Recipe, View
from insid3.eval.reader import Reader, Readers
from insid3.images import is_upright
from insid3.storage import copy, write_picture, write_text


def export(lists: Sequence[EpisodeList], readers: Readers, folder: Path) -> int:
    """Write pictures, masks and episodes.json; folds of one set become sets of their own. Returns the episodes.

    Pictures that are shown whole are copied, cut ones are PNGs. A second run writes only what is missing.

    Raises:
        DataError: episodes with points, or files that cannot be used.
        ImageError: pictures that cannot be read.
        OutputError: the folder cannot be written to.
    """
    if any(each.has_points for each in lists):
        raise DataError("--export-episodes writes masks, spair has points: leave it out")
    entries = []
    for each in lists:
        reader = readers(each.root, each.dataset)
        folds = {other.fold for other in lists if other.set == each.set}
        name = each.set if len(folds) == 1 else f"{each.set}_fold{each.fold}"
        for episode in each.episodes:
            assert isinstance(episode, Episode)
            target = _written(reader, episode.target, folder)
            references = [_written(reader, view, folder) for view in episode.references]
            entry: dict[str, Any] = {
                "id": episode.id,
                "set": name,
                "cls": episode.cls,
                "ref": references,
                "tgt": target,
            }
            if episode.ignore:
                entry["ignore"] = _ignored(reader, episode.target, episode.ignore, target, folder)
            entries.append(entry)
    text = "[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + "\n]\n"
    write_text(folder / "episodes.json", text)
    return len(entries)


def _written(reader: Reader, view: View, folder: Path) -> str:
    """The stem of picture and mask; a picture has as many as it has masks in use."""
    source = reader.root / view.picture
    what = (str(reader.root.resolve()), view.picture, view.mask, view.box)
    stem = f"{source.stem}_{sha256(repr(what).encode()).hexdigest()[:8]}"
    mask = folder / "masks" / f"{stem}.png"
    if mask.exists():  # written last
        return stem
    # A copy that is not upright would be turned by others, but not its mask.
    whole = view.box is None and source.suffix.lower() in (".jpg", ".png") and is_upright(source)
    if whole:
        file = folder / "images" / f"{stem}{source.suffix.lower()}"
        copy(source, file)
    else:
        write_picture(folder / "images" / f"{stem}.png", Image.fromarray(reader.picture(view)))
    write_mask(mask, reader.mask(view))
    return stem


def _ignored(reader: Reader, target: View, recipe: Recipe, stem: str, folder: Path) -> str:
    file = folder / "ignore" / f"{stem}.png"
    if not file.exists():
        write_mask(file, reader.mask(target, recipe))
    return stem
