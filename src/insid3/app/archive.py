"""Everything that a page has found, as one archive."""

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from insid3.app.session import Session, Settings
from insid3.batch.convert import convert
from insid3.batch.formats import ENTRIES, FORMATS
from insid3.batch.formats.base import LABELS, link_picture
from insid3.batch.formats.marked import Marked
from insid3.batch.sources import Target
from insid3.errors import ConfigError, MissingExtraError
from insid3.imaging.colours import Colour
from insid3.imaging.components import split
from insid3.label_map import LabelMap, numbered
from insid3.storage import write_text, writing


def pack(
    session: Session, settings: Settings, name: str, colour: Colour, formats: Sequence[str], equivalent: str
) -> tuple[Path, list[str]]:
    """A .zip of masks, results.json, concepts (.insid3), other formats in folders of their own, and a README.

    Args:
        formats: names of `batch.formats.FORMATS`; masks as PNG are always there.
        equivalent: what does the same without the page.

    Returns:
        The file, and what formats could not keep.

    Raises:
        ConceptError, ConfigError: no example, no targets, no such format.
        MissingExtraError: a package is missing.
        OutputError: the disk is full, or the session is over.
    """
    if unknown := [each for each in formats if each not in FORMATS]:
        raise ConfigError(f"unknown format {unknown[0]!r}; known: {', '.join(FORMATS)}")
    if not session.targets:
        raise ConfigError("there are no targets yet: choose the pictures to mark")
    labels = numbered(session.all_concepts(name, colour))
    folder = session.files.fresh("archive")
    out, pictures = folder / "insid3", folder / "pictures"
    told: list[dict[str, Any]] = []

    def marked() -> Iterator[Marked]:
        for target, found in session.label_maps(settings, name, colour):
            told.append(_told(target, found))
            if isinstance(found, LabelMap):
                parts = [
                    part
                    for i, (mask, result) in enumerate(zip(found.masks, found.results, strict=True))
                    for part in split(mask, result.similarity_at() if mask.any() else None, i)
                ]
                picture = Marked(target.path, target.name, found.index.shape, tuple(parts))
                link_picture(target.path, pictures / picture.file)
                yield picture

    notes, archive = list[str](), folder / "insid3.zip"

    def filled() -> None:
        FORMATS["png"].write(labels, marked(), out / "masks")
        for each in dict.fromkeys(formats):
            if each != "png":
                notes.extend(f"{each}: {note}" for note in convert(out / "masks", each, out / each, "png", pictures))
        for file in (out / "masks").iterdir():
            if file.is_file() and file.suffix != ".png" and file.name != LABELS:
                file.unlink()  # where the server has its files is nobody else's business
        write_text(out / "results.json", json.dumps(told, indent=1))
        write_text(out / "README.txt", equivalent)
        session.save(name, colour, out)
        _zipped(out, archive)
        shutil.rmtree(out)
        shutil.rmtree(pictures, ignore_errors=True)

    writing(filled)  # who closes the page meanwhile takes the folder away
    return archive, notes


def _told(target: Target, found: LabelMap | str) -> dict[str, Any]:
    """A line of results."""
    if isinstance(found, str):
        return {"target": target.path.name, "mask": None, "error": found}
    concepts = {
        label.name: {"score": round(result.score, 4), "area": int(mask.sum()), "reason": result.reason}
        for label, result, mask in zip(found.labels, found.results, found.masks, strict=True)
    }
    return {"target": target.path.name, "mask": f"masks/{target.name}.png", "error": None, "concepts": concepts}


def _zipped(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name[0] != ".":
                file.write(path, path.relative_to(folder))


def available_formats() -> list[str]:
    """Formats whose packages are there, PNG first."""
    from insid3.batch.formats.polygons import check_packages

    try:
        check_packages()
    except MissingExtraError:
        return [name for name, entry in ENTRIES.items() if not entry.needs_extra]
    return list(FORMATS)
