"""New masks from saved scores at another threshold, without the model."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from insid3.batch.dust import Dropped, patch_area
from insid3.batch.formats.base import below, read_labels, write_labels
from insid3.batch.lines import RESULTS, SETTINGS, last_results, masks_of, read_settings
from insid3.batch.names import slugs
from insid3.batch.options import Options, all_gone, indexed
from insid3.batch.result import instance_entries
from insid3.batch.writers import read_scores, write_index, write_mask
from insid3.config import Config
from insid3.errors import ConfigError, DataError, ImageError, OutputError
from insid3.imaging.components import split
from insid3.storage import copy, sweep, write_lines, write_text


def rethreshold(source: Path, output: Path, threshold: float, min_area: int | None = None) -> Iterator[dict[str, Any]]:
    """Write the masks of a run with --scores at another threshold; yield the line of results.jsonl for each target.

    Edges are not refined. Corrections stay. A pixel that several concepts claim goes to the highest score.

    Args:
        threshold: least score of a marked pixel, in [-1, 1].
        min_area: replaces the `min_area` of the run.

    Raises:
        ConfigError: the threshold lies outside [-1, 1], or the run had no --scores.
        DataError: the source holds no run, or damaged results.
        OutputError: the output holds other results, or cannot be written to.
    """
    if not -1 <= threshold <= 1:
        raise ConfigError(f"a threshold of scores lies in [-1, 1], got {threshold}")
    files = [file for file in output.iterdir() if file.name[0] != "."] if output.is_dir() else []
    begun = (output / SETTINGS).exists() and b'"rethresholded"' in (output / SETTINGS).read_bytes()
    if files and ((output / RESULTS).exists() or not begun):
        raise OutputError(f"{output} holds files already: use another output folder")
    settings = read_settings(source)
    lines = [line for line in last_results(source) if line["error"] is None]
    options, config, patch_size = _options(source, settings, min_area)
    labels = read_labels(source)
    if labels is None:
        raise DataError(f"{source} has no concepts.json: run the same insid3 segment again")
    sweep(output, deep=True)
    write_labels(output, labels)
    told_options = {**settings["options"], "min_area": options.min_area or 0}
    now = {"options": told_options, "rethresholded": threshold, "folder": os.getcwd()}
    write_text(output / SETTINGS, json.dumps(settings | now, indent=1))
    done: list[dict[str, Any]] = []
    endings = [""] if len(labels) == 1 else [f".{slug}" for slug in slugs(labels)]
    for line in lines:
        target = os.path.relpath(os.path.join(settings.get("folder", ""), line["target"]))
        if line.get("corrected"):
            for file in masks_of(line):
                if not (source / file).is_file():
                    raise DataError(f"{source / file}, the correction of {line['target']}, is missing")
                copy(source / file, below(output, file))
            done.append({**line, "target": target})
            yield done[-1]
            continue
        name = _name(line)
        files = [source / f"{name}{ending}_score.{settings.get('scores') or 'png'}" for ending in endings]
        if absent := [file for file in files if not file.exists()]:
            raise ConfigError(f"{absent[0]} is missing: run insid3 segment with --scores png (or npy)")
        try:
            found = [read_scores(file) for file in files]
            size = found[0].shape
            ignored = options.ignored(name, size, config.max_pixels)
        except ImageError as error:
            raise DataError(f"scores of {line['target']}: {error}") from error
        if other := next((file for file, each in zip(files, found, strict=True) if each.shape != size), None):
            raise DataError(f"{other} has another size than {files[0]}: run insid3 segment again")
        scores = np.stack(found)
        masks = scores > threshold
        if len(labels) > 1 and options.overlap == "best":
            masks &= scores.argmax(0) == np.arange(len(labels))[:, None, None]
        region = options.region(size, name)
        seen = (region[0].stop - region[0].start, region[1].stop - region[1].start)
        patch, dropped = patch_area(seen, config, patch_size), list[Dropped]()
        known = [label.name in (line.get("known") or ()) for label in labels]
        whole = (slice(0, size[0]), slice(0, size[1]))
        kept = options.finish(list(masks), size, whole, ignored, patch, dropped, known)
        told: dict[str, dict[str, Any]] = {}
        for label, ending, mask, dust in zip(labels, endings, kept, dropped, strict=True):
            reason = all_gone(dust, options) if dust and not mask.any() else None
            told[label.name] = {"score": None, "area": int(mask.sum()), "reason": reason}
            if dust:
                told[label.name]["dropped"] = dust.told()
            if len(labels) == 1 or options.overlap == "all":
                told[label.name]["mask"] = f"{name}{ending}.png"
                write_mask(below(output, f"{name}{ending}.png"), mask)
        if len(labels) > 1 and options.overlap == "best":
            write_index(below(output, f"{name}.png"), indexed(kept), [x.colour for x in labels])
        done.append(_line(target, name, told, len(labels) > 1 and options.overlap == "all"))
        if sum(dropped, Dropped()):
            done[-1]["dropped"] = sum(dropped, Dropped()).told()
        done[-1] |= {key: line[key] for key in ("remarks", "known") if line.get(key)}
        if options.instances:
            parts = [part for i, mask in enumerate(kept) for part in split(mask, None, i)]
            done[-1]["instances"] = instance_entries(parts, labels)
        yield done[-1]
    write_lines(output / RESULTS, done)


def _name(line: Mapping[str, Any]) -> str:
    name = masks_of(line)[0].removesuffix(".png")
    return name if line["mask"] else name.rpartition(".")[0]


def _line(target: str, name: str, told: dict[str, dict[str, Any]], apart: bool) -> dict[str, Any]:
    area = sum(entry["area"] for entry in told.values())
    reasons = [entry["reason"] for entry in told.values() if entry["reason"]]
    return {
        "target": target,
        "mask": None if apart else f"{name}.png",
        "score": None,
        "area": area,
        "reason": None if area else "; ".join(reasons) or "nothing scores above the threshold",
        "seconds": 0.0,
        "error": None,
        **({"concepts": told} if len(told) > 1 else {}),
    }


def _options(source: Path, settings: dict[str, Any], min_area: int | None) -> tuple[Options, Config, int]:
    """Return options, model settings and patch size of a run; DataError if they are missing or damaged."""
    file = source / SETTINGS
    told, config = settings.get("options"), settings.get("config")
    if not isinstance(told, dict) or not isinstance(config, dict):
        raise DataError(f"{file} says nothing of options and config: {source} is no output folder of insid3 segment")
    patch_size = settings.get("patch_size", 1)  # older runs lack it, and give `min_area` in pixels
    if unknown := {*told} - {*Options().as_settings()} | {*config} - {field.name for field in fields(Config)}:
        raise DataError(
            f"{file} has settings that this version does not know ({', '.join(sorted(unknown))}): update insid3"
        )
    try:
        options = Options.from_settings(
            Options().as_settings() | told | ({} if min_area is None else {"min_area": min_area})
        )
        return options, Config(**config), int(patch_size)
    except ConfigError as error:
        raise DataError(f"{file}: {error}") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{file} has damaged options or config: run insid3 segment again") from error
