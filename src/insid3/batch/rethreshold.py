"""Masks at another threshold, from soft scores and without the model."""

import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from insid3.batch.folder import RESULTS, SETTINGS, last_lines, masks_of
from insid3.batch.formats.base import below, read_labels, write_labels
from insid3.batch.options import Options, indexed
from insid3.batch.work import slugs
from insid3.batch.writers import read_scores, write_index, write_mask
from insid3.errors import ConfigError, DataError, ImageError, OutputError
from insid3.instances import split
from insid3.storage import write_atomically, write_lines, write_text, writing


def rethreshold(source: Path, output: Path, threshold: float, min_area: int | None = None) -> Iterator[dict[str, Any]]:
    """Write the masks that a run with --scores would have had with that threshold, their edges not refined; yields a
    line of results.jsonl for each. Corrections stay. Where several concepts claim a pixel, the highest score has it.

    Args:
        min_area: in the place of the run's own.

    Raises:
        ConfigError: a threshold outside [-1, 1], or the run had no --scores.
        DataError: no run there, or damaged results.
        OutputError: the output holds other results, or cannot be written to.
    """
    if not -1 <= threshold <= 1:
        raise ConfigError(f"a threshold of scores lies in [-1, 1], got {threshold}")
    files = [file for file in output.iterdir() if file.name[0] != "."] if output.is_dir() else []
    begun = (output / SETTINGS).exists() and b'"rethresholded"' in (output / SETTINGS).read_bytes()
    if files and ((output / RESULTS).exists() or not begun):
        raise OutputError(f"{output} holds files already: use another output folder")
    try:
        settings = json.loads((source / SETTINGS).read_text("utf-8"))
        options = Options.of_settings(settings["options"] | ({} if min_area is None else {"min_area": min_area}))
        limit = int(settings["config"]["max_pixels"])
        labels = read_labels(source)
        lines = [line for line in last_lines(source) if line["error"] is None]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise DataError(f"{source} is no output folder of insid3 segment ({error!r:.100})") from error
    if labels is None:
        raise DataError(f"{source} has no concepts.json: run the same insid3 segment again")
    write_labels(output, labels)
    write_text(output / SETTINGS, json.dumps(settings | {"rethresholded": threshold, "folder": os.getcwd()}, indent=1))
    done: list[dict[str, Any]] = []
    endings = [""] if len(labels) == 1 else [f".{slug}" for slug in slugs(labels)]
    for line in lines:
        target = os.path.relpath(os.path.join(settings.get("folder", ""), line["target"]))
        if line.get("corrected"):  # stays what somebody drew
            for file in masks_of(line):
                content = partial(Path.write_bytes, data=(source / file).read_bytes())
                writing(partial(write_atomically, below(output, file), content))
            done.append({**line, "target": target})
            yield done[-1]
            continue
        name = _name(line)
        files = [source / f"{name}{ending}_score.{settings.get('scores') or 'png'}" for ending in endings]
        if absent := [file for file in files if not file.exists()]:
            raise ConfigError(f"{absent[0]} is missing: run insid3 segment with --scores png (or npy)")
        try:
            scores = np.stack([read_scores(file) for file in files])
            size = scores.shape[1:]
            ignored = options.ignored(name, size, limit)
        except (ImageError, ValueError) as error:
            raise DataError(f"{files[0]} cannot be used: {error}") from error
        masks = scores > threshold
        if len(labels) > 1 and options.overlap == "best":
            masks &= scores.argmax(0) == np.arange(len(labels))[:, None, None]
        kept = options.finish(list(masks), size, (slice(0, size[0]), slice(0, size[1])), ignored)
        told: dict[str, dict[str, Any]] = {}
        for label, ending, mask in zip(labels, endings, kept, strict=True):
            told[label.name] = {"score": None, "area": int(mask.sum()), "reason": None}
            if len(labels) == 1 or options.overlap == "all":
                told[label.name]["mask"] = f"{name}{ending}.png"
                writing(partial(write_mask, below(output, f"{name}{ending}.png"), mask))
        if len(labels) > 1 and options.overlap == "best":
            writing(partial(write_index, below(output, f"{name}.png"), indexed(kept), [x.colour for x in labels]))
        done.append(_line(target, name, told, len(labels) > 1 and options.overlap == "all", len(labels) > 1))
        if options.instances:
            done[-1]["instances"] = [
                {"concept": labels[part.concept].name, "box": list(part.box), "area": part.area, "score": 1.0}
                for i, mask in enumerate(kept)
                for part in split(mask, None, i)
            ]
        yield done[-1]
    write_lines(output / RESULTS, done)


def _name(line: Mapping[str, Any]) -> str:
    name = masks_of(line)[0].removesuffix(".png")
    return name if line["mask"] else name.rpartition(".")[0]


def _line(target: str, name: str, told: dict[str, dict[str, Any]], apart: bool, several: bool) -> dict[str, Any]:
    area = sum(entry["area"] for entry in told.values())
    return {
        "target": target,
        "mask": None if apart else f"{name}.png",
        "score": None,
        "area": area,
        "reason": None if area else "nothing scores above the threshold",
        "seconds": 0.0,
        "error": None,
        **({"concepts": told} if several else {}),
    }
