"""Label Studio: tasks with brush masks as predictions, and the labelling interface that they need."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Bool

from insid3.batch.formats.base import (
    LABELS,
    Marked,
    file_within,
    label_of,
    read_json,
    read_labels,
    reading,
    without_suffix,
    write_labels,
)
from insid3.images import MAX_PIXELS
from insid3.instances import Instance
from insid3.labels import Label
from insid3.storage import write_atomically, write_text, writing

FILE = "tasks.json"
_SIZES = (3, 4, 8, 16)  # bits in which the length of a run is written, smallest first


class LabelStudio:
    title = "Label Studio tasks with brush masks, config.xml"

    def is_at(self, source: Path) -> bool:
        return (source / FILE).exists() or source.name == FILE

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        def tasks(file: Path) -> None:
            with file.open("w", encoding="utf-8") as out:
                for i, picture in enumerate(pictures):
                    out.write((",\n" if i else "[\n") + json.dumps(_task(picture, labels)))
                out.write("\n]\n" if out.tell() else "[]\n")

        writing(lambda: write_atomically(output / FILE, tasks))
        lines = [f"    <Label value={quoteattr(x.name)} background='#{bytes(x.colour).hex()}'/>" for x in labels]
        brush = ['  <BrushLabels name="tag" toName="image">', *lines, "  </BrushLabels>"]
        view = ["<View>", '  <Image name="image" value="$image"/>', *brush, "</View>"]
        write_text(output / "config.xml", "\n".join(view) + "\n")
        write_labels(output, labels)
        return []

    def read(self, source: Path) -> tuple[list[Label], Iterator[Marked]]:
        file = file_within(source, FILE, "*.json", LABELS)
        with reading(file, "Label Studio"):
            if not isinstance(content := read_json(file), list):
                raise ValueError("expected a list of tasks")
            tasks = [(task["data"], _results(task)) for task in content]
            names = {_name(result) for _, results in tasks for result in results}
            labels = read_labels(file.parent) or [label_of(n, i) for i, n in enumerate(sorted(names))]
        index = {label.name: i for i, label in enumerate(labels)}

        def each() -> Iterator[Marked]:
            for data, results in tasks:
                with reading(file, "Label Studio"):
                    image, found = _image(str(data["image"])), []
                    size = int(data.get("height", 0)), int(data.get("width", 0))
                    for result in results:
                        size = int(result["original_height"]), int(result["original_width"])
                        mask = decoded(result["value"]["rle"], size)
                        if mask.any():
                            score = float(1 if result.get("score") is None else result["score"])
                            found.append(Instance.of(mask, index[_name(result)], score))
                yield Marked(file.parent / image, without_suffix(image), size, tuple(found))

        return labels, each()


def encoded(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """The brush's run-length code: bytes of a bit stream that begins with how many values follow (32 bits), their size
    in bits less one (5), and four sizes of run lengths less one (4 each). A value is a byte of RGBA; a run is 1 (the
    same value over and over) or 0 (different ones), a choice of size (2), the length less one and the value or values.
    """
    flat = mask.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=not flat[0] if len(flat) else False))
    lengths = np.diff(starts, append=len(flat)) * 4  # what is marked is opaque white: one value, four times a pixel
    bits = [_bits(flat.size * 4, 32), _bits(7, 5), *(_bits(size - 1, 4) for size in _SIZES)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        value = _bits(255 if flat[start] else 0, 8)
        while length > 0:
            run = min(length, 2 ** _SIZES[-1])
            choice = next(i for i, size in enumerate(_SIZES) if run <= 2**size)
            bits.append(f"1{choice:02b}{_bits(run - 1, _SIZES[choice])}{value}")
            length -= run
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return np.packbits(np.frombuffer(stream.encode(), np.uint8) - ord("0")).tolist()


def decoded(code: Sequence[int], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """The alpha channel of what `encoded`, or the brush, wrote; ValueError for anything else."""
    stream = np.unpackbits(np.asarray(code, np.uint8)).astype("S1").tobytes().decode()
    at = 0

    def number(width: int) -> int:
        nonlocal at
        if at + width > len(stream):
            raise ValueError("a mask's code is cut short")
        at += width
        return int(stream[at - width : at], 2)

    count, width = number(32), number(5) + 1
    if count != size[0] * size[1] * 4 or not 0 < count <= 4 * MAX_PIXELS:
        raise ValueError(f"a mask of {count} values in a picture of {size[1]} x {size[0]}")
    sizes, values, done = [number(4) + 1 for _ in range(4)], np.empty(count, np.uint8), 0
    while done < count:
        same, length = number(1), number(sizes[number(2)]) + 1
        if done + length > count:
            raise ValueError("a mask's code holds more than its picture")
        if same:
            values[done : done + length] = number(width)
        else:
            values[done : done + length] = [number(width) for _ in range(length)]
        done += length
    return values[3::4].reshape(size) > 0


def _bits(value: int, width: int) -> str:
    return f"{value:0{width}b}"


def _task(picture: Marked, labels: Sequence[Label]) -> dict[str, Any]:
    height, width = picture.size
    results = [
        {
            "id": uuid4().hex[:10],
            "type": "brushlabels",
            "from_name": "tag",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": encoded(instance.whole(picture.size)),
                "brushlabels": [labels[instance.concept].name],
            },
            "score": round(instance.score, 4),
        }
        for instance in picture.instances
    ]
    score = sum(instance.score for instance in picture.instances) / max(1, len(results))
    predictions = [{"model_version": "insid3", "score": round(score, 4), "result": results}]
    return {"data": {"image": picture.file, "width": width, "height": height}, "predictions": predictions}


def _results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """The last annotation's, else the last prediction's."""
    made = [*task.get("predictions", []), *task.get("annotations", [])]
    return [result for result in (made[-1]["result"] if made else []) if result["type"] == "brushlabels"]


def _image(address: str) -> str:
    """A path as it was before Label Studio took it in: of its local storage, or uploaded."""
    if found := re.fullmatch(r"/data/local-files/\?d=(.+)", address):
        return unquote(found[1]).lstrip("/")
    return unquote(re.sub(r"^/data/upload/(\d+/)?", "", address)) if address.startswith("/data/upload/") else address


def _name(result: dict[str, Any]) -> str:
    return str(result["value"]["brushlabels"][0])
