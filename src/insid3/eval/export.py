"""Export of episodes for other programs: a folder that `episodes:DIR` reads."""

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
from insid3.imaging.read import is_upright
from insid3.storage import copy, write_picture, write_text


def export(lists: Sequence[EpisodeList], readers: Readers, folder: Path) -> int:
    """Write pictures, masks and episodes.json, and return the number of episodes.

    Each fold of a set becomes a set of its own. Whole pictures are copied, parts of pictures become PNG files.
    A second call writes only files that are missing.

    Raises:
        DataError: an episode has points, or its files cannot be used.
        ImageError: a picture cannot be read.
        OutputError: the folder cannot be written to.
    """
    if any(each.has_points for each in lists):
        raise DataError("--export-episodes writes masks, spair has points: leave it out")
    entries = list[dict[str, Any]]()
    for each in lists:
        reader = readers(each.root, each.dataset)
        folds = {other.fold for other in lists if other.set == each.set}
        name = each.set if len(folds) == 1 else f"{each.set}_fold{each.fold}"
        for episode in each.episodes:
            assert isinstance(episode, Episode)
            target = _written(reader, episode.target, folder)
            references = [_written(reader, view, folder) for view in episode.references]
            entry = {"id": episode.id, "set": name, "cls": episode.cls, "ref": references, "tgt": target}
            if episode.ignore:
                entry["ignore"] = _ignored(reader, episode.target, episode.ignore, target, folder)
            entries.append(entry)
    text = "[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + "\n]\n"
    write_text(folder / "episodes.json", text)
    return len(entries)


def _written(reader: Reader, view: View, folder: Path) -> str:
    """Write the picture and the mask of a view, and return their stem, which differs for each mask of a picture."""
    source = reader.root / view.picture
    key = (str(reader.root.resolve()), view.picture, view.mask, view.box)
    stem = f"{source.stem}_{sha256(repr(key).encode()).hexdigest()[:8]}"
    mask = folder / "masks" / f"{stem}.png"
    if mask.exists():  # the mask is written last
        return stem
    # Another program would turn a copy that is not upright, but not its mask.
    if view.box is None and source.suffix.lower() in (".jpg", ".png") and is_upright(source):
        copy(source, folder / "images" / f"{stem}{source.suffix.lower()}")
    else:
        write_picture(folder / "images" / f"{stem}.png", Image.fromarray(reader.picture(view)))
    write_mask(mask, reader.mask(view))
    return stem


def _ignored(reader: Reader, target: View, recipe: Recipe, stem: str, folder: Path) -> str:
    file = folder / "ignore" / f"{stem}.png"
    if not file.exists():
        write_mask(file, reader.mask(target, recipe))
    return stem
