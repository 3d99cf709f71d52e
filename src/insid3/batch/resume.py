"""The results of an earlier run in an output folder, and the check that a new run may continue them."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from insid3.batch.lines import masks_of, read_settings
from insid3.batch.names import exists
from insid3.batch.options import Options
from insid3.batch.run_folder import RunFolder
from insid3.batch.sources import Target
from insid3.config import Config
from insid3.errors import DataError, OutputError
from insid3.storage import differences, flat

# A run.json of an older version lacks newer settings, whose defaults do what that version did.
_DEFAULTS = {f"config.{field.name}": field.default for field in fields(Config) if field.default is not MISSING} | {
    f"options.{name}": value for name, value in Options().as_settings().items()
}
# Settings that may differ: none of them changes a mask, and each result says on which corrections it depends.
_FREE = (
    "insid3", "concept.name", "concept.sources", "patch_size", "config.max_pixels", "folder", "corrections", "scores",
)  # fmt: skip


def keep_min_area(options: Options, folder: Path) -> Options:
    """Set a `min_area` of None to 0 if the earlier run in the folder kept all parts, as old versions did."""
    try:
        before = _DEFAULTS | flat(read_settings(folder))
    except DataError:  # there is no run, or `earlier_lines` reports the damage
        return options
    kept_all = options.min_area is None and before["options.min_area"] == 0
    return replace(options, min_area=0) if kept_all else options


def earlier_lines(
    folder: RunFolder,
    settings: dict[str, Any],
    targets: Sequence[Target],
    files: Callable[[Target], Sequence[Path]],
) -> list[dict[str, Any]]:
    """Return the last result of each target of an earlier run, with paths as seen from the current folder.

    Raises:
        OutputError: the folder holds results of other settings or pictures, or files of another program.
    """
    if not folder.settings.exists():
        results = folder.results
        taken = [file for t in targets for file in (*files(t), results) if exists(file)]
        if taken:
            raise OutputError(
                f"{taken[0]} exists and is not from insid3: use another output folder, or --overwrite to replace it"
            )
        return []
    try:
        theirs = read_settings(folder.path)
        before = _DEFAULTS | flat(theirs)
        lines = list(folder.lines())
    except DataError as error:
        raise OutputError(
            f"{folder.path} holds run.json or results.jsonl that cannot be read ({error}): use --overwrite or "
            "another output folder"
        ) from error
    began = str(before.get("folder", os.getcwd()))
    if "rethresholded" in theirs or "converted" in theirs:
        raise OutputError(f"{folder.path} was made from another run's results: use another output folder")
    now = flat(json.loads(json.dumps(settings)))  # JSON makes lists of tuples
    # Results of several concepts hold their names, so only the name of a single one may change.
    free = [name for name in _FREE if name != "concept.name" or isinstance(now[name], str)]
    if different := differences(before, now, free):
        raise OutputError(
            f"{folder.path} holds results of another run ({', '.join(different)}): "
            "use another output folder, or --overwrite"
        )
    if before.get("corrections") and not settings["corrections"]:
        raise OutputError(
            f"{folder.path} has learned from corrections: give them again (--learn-from), or use --overwrite"
        )
    was, called = before.get("concept.name"), now.get("concept.name")
    if isinstance(was, str) and isinstance(called, str) and was != called:
        lines = [_renamed(line, called) for line in lines]
    if began != os.getcwd():
        lines = [{**line, "target": os.path.join(began, line["target"])} for line in lines]
    owners = {mask: line["target"] for line in lines for mask in masks_of(line)}
    for target in targets:
        file = files(target)[0]
        owner = owners.get(file.relative_to(folder.path).as_posix())
        same = owner is None or os.path.abspath(owner) == os.path.abspath(target.path)
        if not same and os.path.realpath(str(owner)) != os.path.realpath(target.path):
            raise OutputError(
                f"{file} holds the result of {owner}, {target.path} would replace it: "
                "use another output folder, or --overwrite"
            )
    return lines


def _renamed(line: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a result line with the new name of the only concept."""
    changed: dict[str, Any] = {}
    if line.get("instances"):
        changed["instances"] = [{**entry, "concept": name} for entry in line["instances"]]
    for key in ("remembered", "known"):
        if line.get(key):
            changed[key] = [name]
    return {**line, **changed}
