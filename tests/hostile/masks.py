"""Damaged and hostile picture files, read as masks, as labels, and as what annotation files carry inside."""

import base64
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from hostile.pictures import SIDE, files, inputs
from insid3.batch.annotations import from_labelme
from insid3.batch.formats import FORMATS
from insid3.imaging.masks import read_mask, read_patch
from insid3.imaging.read import read_values

KIND = "masks"


def attempts(folder: Path, seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    for index, data in enumerate(files().values()):  # loads every decoder
        (folder / f"sound-{index}").write_bytes(data)
        read_values(folder / f"sound-{index}")
    for index, (did, data) in enumerate(inputs(count, seed ^ 0x5EED)):
        (folder / "input").write_bytes(data)
        yield did, partial(_READERS[index % len(_READERS)], folder, data)


def _mask(label: int | str | None, folder: Path, data: bytes) -> None:
    assert read_mask(folder / "input", SIDE, label).shape == SIDE  # type: ignore[arg-type]


def _patch(folder: Path, data: bytes) -> None:
    assert read_patch(data, "its mask").ndim == 2


def _values(folder: Path, data: bytes) -> None:
    read_values(folder / "input")
    read_values(folder / "input", grey=True)


def _in_labelme(folder: Path, data: bytes) -> None:
    """Put a picture into labelme's `imageData`, and into the mask of a shape."""
    carried = base64.b64encode(data).decode()
    shape = {"label": "cat", "shape_type": "mask", "points": [[0, 0]], "mask": carried}
    content = {"shapes": [shape], "imagePath": "gone.png", "imageData": carried}
    (folder / "input.json").write_text(json.dumps(content))
    from_labelme(folder / "input.json")


def _in_label_studio(folder: Path, data: bytes) -> None:
    carried = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    value = {"format": "mask", "imageDataURL": carried, "bitmasklabels": ["cat"]}
    result = {"type": "bitmasklabels", "original_width": SIDE[1], "original_height": SIDE[0], "value": value}
    task = {"data": {"image": "gone.png"}, "annotations": [{"result": [result]}]}
    (folder / "tasks.json").write_text(json.dumps([task]))
    list(FORMATS["label-studio"].read(folder / "tasks.json")[1])


_READERS: tuple[Callable[[Path, bytes], None], ...] = (
    partial(_mask, None), partial(_mask, "any"), partial(_mask, 1), _patch, _values, _in_labelme, _in_label_studio,
)  # fmt: skip
