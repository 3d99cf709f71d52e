"""The output folder of insid3 segment: PNG masks, concepts.json, results.jsonl."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from scipy.ndimage import find_objects

from insid3.batch.formats.base import below, check_count, loss_notes, read_labels, write_labels
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.reading import Reading
from insid3.batch.lines import RESULTS, SETTINGS, last_results
from insid3.batch.writers import write_index
from insid3.checks.parsing import as_dict, as_text, parsing, read_json
from insid3.errors import DataError, ImageError
from insid3.imaging.colours import MAGENTA
from insid3.imaging.components import Instance, split
from insid3.imaging.read import read_values
from insid3.label_map import Label
from insid3.storage import append_line, write_text, writing

_MOST = 2**30  # pixels of a mask; more than the default limit of pictures, which a user may have raised


class Png:
    """An output folder of insid3 segment."""

    def is_at(self, source: Path) -> bool:
        return (source / RESULTS).exists() or any(source.glob("results.*-of-*.jsonl"))

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        check_count(labels)
        lost = touching = 0
        writing(lambda: (output / RESULTS).unlink(missing_ok=True))
        write_labels(output, labels)
        write_text(output / SETTINGS, json.dumps({"converted": True, "folder": os.getcwd()}))
        for picture in pictures:
            index = np.zeros(picture.size, np.uint8)
            for instance in picture.instances:
                x0, y0, x1, y1 = instance.box
                part = index[y0:y1, x0:x1]
                lost += int(np.count_nonzero(instance.mask & (part > 0) & (part != instance.concept + 1)))
                part[instance.mask] = instance.concept + 1
            parts = [_with_score_of(part, picture) for part in _parts(index, len(labels))]
            touching += len(parts) != len(picture.instances)
            mask, line = below(output, f"{picture.name}.png"), _line(picture, index, parts, labels)
            write_index(mask, index, [label.colour for label in labels])
            append_line(output / RESULTS, line)
        notes = {
            f"{lost} pixels belong to several concepts: they are the last one's": lost,
            f"{touching} pictures have objects that touch, overlap or lie apart: they are joined or split": touching,
        }
        return loss_notes("png", notes)

    def read(self, source: Path, reading: Reading | None = None) -> tuple[list[Label], Iterator[Marked]]:
        with parsing(source / SETTINGS, "run of insid3"):
            settings = as_dict(read_json(source / SETTINGS), "content")
            labels = read_labels(source)
            if labels is None:  # older versions wrote no concepts.json
                told = as_dict(settings.get("concept"), "concept")
                labels = [Label(as_text(told.get("name"), "name of the concept"), 1, MAGENTA)]
        return labels, self._pictures(source, labels, str(settings.get("folder", "")))

    def _pictures(self, source: Path, labels: Sequence[Label], folder: str) -> Iterator[Marked]:
        with parsing(source / RESULTS, "list of results"):
            for line in last_results(source):
                if line["error"] is None:
                    yield _marked(line, source, labels, folder)


def _marked(line: dict[str, Any], source: Path, labels: Sequence[Label], folder: str) -> Marked:
    told, parts = line.get("concepts") or {}, list[Instance]()
    if line["mask"] is not None:
        name, files = str(line["mask"]).removesuffix(".png"), [str(line["mask"])]
    else:
        files = [str(told[label.name]["mask"]) for label in labels]
        name = files[0].removesuffix(".png").rpartition(".")[0]
    values = _values(below(source, files[0]))
    size, indexed = values.shape, len(files) == 1 and len(labels) > 1
    for i, label in enumerate(labels):
        if i and not indexed:
            values = _values(below(source, files[i]))
        whole = _whole(values if indexed else np.where(values > 0, np.uint8(i + 1), np.uint8(0)), i)
        if whole is None:
            continue
        if "instances" in line:
            mine = [float(entry["score"]) for entry in line["instances"] if entry["concept"] == label.name]
            found = _apart(whole)
            scores = mine if len(mine) == len(found) else [1.0] * len(found)
            parts += [replace(part, score=score) for part, score in zip(found, scores, strict=True)]
        else:
            score = told[label.name]["score"] if told else line["score"]
            parts.append(replace(whole, score=1.0 if score is None else float(score)))
    return Marked(Path(os.path.join(folder, line["target"])), name, size, tuple(parts))


def _values(file: Path) -> UInt8[np.ndarray, "H W"]:
    try:
        values = read_values(file, _MOST)
    except ImageError as error:
        raise DataError(f"{error}: mark the picture again, or take it out of results.jsonl") from error
    if values.ndim != 2 or values.dtype.kind not in "bu":
        raise DataError(f"{file} is no mask of insid3: mark the picture again, or take it out of results.jsonl")
    return values


def _whole(index: UInt8[np.ndarray, "H W"], concept: int) -> Instance | None:
    """Return all pixels of a concept as one object, in no more memory than their box takes; None if there are none."""
    box = next(iter(find_objects((index == concept + 1).view(np.uint8))), None)
    if box is None:
        return None
    return Instance.from_mask_at(box[1].start, box[0].start, index[box] == concept + 1, concept, 1.0)


def _apart(whole: Instance) -> list[Instance]:
    """Split the pixels of a concept into their connected parts."""
    left, top = whole.box[:2]
    found = split(whole.mask, None, whole.concept)
    return [replace(part, box=tuple(np.add(part.box, (left, top, left, top)).tolist())) for part in found]


def _parts(index: UInt8[np.ndarray, "H W"], concepts: int) -> list[Instance]:
    return [part for i in range(concepts) if (whole := _whole(index, i)) for part in _apart(whole)]


def _with_score_of(part: Instance, picture: Marked) -> Instance:
    """Return the object of a picture that a part equals, with its score; the part itself if there is none."""
    for other in picture.instances:
        if other.concept == part.concept and other.box == part.box and np.array_equal(other.mask, part.mask):
            return other
    return part


def _line(
    picture: Marked, index: Bool[np.ndarray, "H W"], parts: Sequence[Instance], labels: Sequence[Label]
) -> dict[str, Any]:
    return {
        "target": str(picture.path),
        "mask": f"{picture.name}.png",
        "score": min((part.score for part in parts), default=0.0),
        "area": int(np.count_nonzero(index)),
        "reason": None if parts else "nothing is marked",
        "seconds": 0.0,
        "error": None,
        "instances": [
            {"concept": labels[part.concept].name, "box": list(part.box), "area": part.area, "score": part.score}
            for part in parts
        ],
    }
