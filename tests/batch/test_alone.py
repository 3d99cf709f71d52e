"""Failures of one target, failures that stop a run, and corrections as other programs save them."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insid3 import INSID3, Concept
from insid3.batch.corrections import find_corrections
from insid3.batch.options import Options
from insid3.batch.runner import Run
from insid3.batch.sources import Target, find_targets
from insid3.errors import ConfigError, MaskError, OutputError, SizeError
from insid3.imaging.colours import PALETTE
from insid3.label_map import Label
from stubs import scene

BOX = (16, 16, 48, 48)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(scene(BOX)).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def too_large(cause: BaseException | None) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise SizeError("too large") from cause

    return fail


def out_of_memory(*_: Any, **__: Any) -> Any:
    raise MemoryError


def cannot_allocate(*_: Any, **__: Any) -> Any:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


def of_disk(number: int, filename: str | None) -> Callable[..., Any]:
    def fail(path: Path, *_: Any) -> Any:
        raise OSError(number, "no", *([] if filename is None else [filename]))

    return fail


ALONE = {
    "resize": ("encode_many", too_large(MemoryError())),
    "memory": ("encode_many", out_of_memory),
    "label": ("label", out_of_memory),
    "torch": ("label", cannot_allocate),
    "closer": ("label", too_large(None)),
    "overlay": ("write_overlay", out_of_memory),
    "name too long": ("write_mask", of_disk(errno.ENAMETOOLONG, "b.png")),
    "name of no kind": ("write_mask", of_disk(errno.EILSEQ, "b.png")),
}
STOPS = {
    "encoder": ("encode_many", too_large(None), SizeError),
    "full disk": ("write_mask", of_disk(errno.ENOSPC, "b.png"), OutputError),
    "sync": ("write_mask", of_disk(errno.EINVAL, None), OutputError),
    "read-only": ("write_mask", of_disk(errno.EROFS, "b.png"), OutputError),
}


def failing(monkeypatch: pytest.MonkeyPatch, model: INSID3, what: str, fail: Callable[..., Any]) -> None:
    """Raise an error for the second target only."""
    import insid3.batch.worker as work

    place, seen = (model, []) if hasattr(model, what) else (work, list[int]())
    original = getattr(place, what)

    def sometimes(*words: Any, **more: Any) -> Any:
        seen.append(1)
        return (fail if len(seen) == 2 else original)(*words, **more)

    monkeypatch.setattr(place, what, sometimes)


def run(model: INSID3, red: Concept, photos: Path) -> Run:
    out = photos.parent / "out"
    return Run(model, red, find_targets([photos], out), out)


@pytest.mark.parametrize("kind", ALONE)
def test_one_picture_fails_alone(
    model: INSID3, red: Concept, photos: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    failing(monkeypatch, model, *ALONE[kind])
    errors = {Path(result.target).stem: result.error for result in run(model, red, photos)}
    assert [name for name, error in errors.items() if error] == ["b"]
    assert str(errors["b"]).startswith(f"{photos / 'b.png'}: ")
    monkeypatch.undo()
    assert [result.error for result in run(model, red, photos)] == [None]


@pytest.mark.parametrize("kind", STOPS)
def test_what_every_picture_would_suffer_from_stops_the_run(
    model: INSID3, red: Concept, photos: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    what, fail, error = STOPS[kind]
    failing(monkeypatch, model, what, fail)
    with pytest.raises(error):
        list(run(model, red, photos))
    monkeypatch.undo()
    assert len(run(model, red, photos).todo) == 2


LABELS = [
    Label(f"c{i}", i + 1, PALETTE[i % len(PALETTE)]) for i in range(9)
]  # the last two share the colours of the first two
INDEX = np.zeros((12, 12), np.uint8)
INDEX[:4], INDEX[4:8, :6], INDEX[8:, 6:] = 1, 2, 8
SHORT = np.where(INDEX == 8, 0, INDEX)


def palette(*colours: tuple[int, int, int]) -> list[int]:
    return [value for colour in colours for value in colour]


def read(tmp_path: Path, image: Image.Image, labels: list[Label]) -> np.ndarray:
    image.save(tmp_path / "a.png")
    slugs = [label.name for label in labels]
    correction = find_corrections(tmp_path, [Target(tmp_path / "a.jpg", "a")], slugs, Options())["a"]
    masks = correction.masks(INDEX.shape, labels, 10**6)
    return np.sum([mask * (i + 1) for i, mask in enumerate(masks)], 0)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 0, 1), (1, 2, 0)])
def test_a_palette_in_any_order_is_of_colours(tmp_path: Path, order: tuple[int, ...]) -> None:
    """GIMP and other programs number colours in the order in which they occur."""
    colours = [(0, 0, 0), LABELS[0].colour, LABELS[1].colour]
    shuffled = Image.fromarray(np.argsort(order)[SHORT].astype(np.uint8), "L")
    shuffled.putpalette(palette(*(colours[i] for i in order)))
    assert (read(tmp_path, shuffled, LABELS[:2]) == SHORT).all()


def test_an_edge_of_another_colour_is_refused_and_no_wrong_number(tmp_path: Path) -> None:
    index = np.where(SHORT > 0, 3 - SHORT, 0)
    index[6, 6] = 3
    smooth = Image.fromarray(index.astype(np.uint8), "L")
    smooth.putpalette(palette((0, 0, 0), LABELS[1].colour, LABELS[0].colour, (9, 9, 9)))
    with pytest.raises(MaskError, match="has colours of no concept"):
        read(tmp_path, smooth, LABELS[:2])


def test_concepts_that_share_a_colour_are_told_apart_by_their_numbers(tmp_path: Path) -> None:
    ours = Image.fromarray(INDEX, "L")
    ours.putpalette(palette((0, 0, 0), *(label.colour for label in LABELS)))  # as results are
    assert (read(tmp_path, ours, LABELS) == INDEX).all()
    with pytest.raises(MaskError, match="a colour that c0 and c7 share: save numbers"):
        read(tmp_path, ours.convert("RGB"), LABELS)
    alone = Image.fromarray(np.where(SHORT == 2, 2, 0).astype(np.uint8), "L")
    alone.putpalette(palette((0, 0, 0), *(label.colour for label in LABELS)))
    assert (read(tmp_path, alone, LABELS) == np.where(SHORT == 2, 2, 0)).all()


def test_files_among_corrections(tmp_path: Path) -> None:
    targets = [Target(tmp_path / "a.jpg", "a"), Target(tmp_path / "b.jpg", "b")]
    Image.fromarray(SHORT).save(tmp_path / "a.PNG", "PNG")
    for name in ("._b.png", "notes.txt", "a.jpg", "other.jpg"):  # the picture itself may lie beside its mask
        (tmp_path / name).write_bytes(b"x")
    assert {*find_corrections(tmp_path, targets, ["c0"], Options())} == {"a"}
    (tmp_path / "b.tif").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"b\.tif is no PNG: save the corrected mask as PNG"):
        find_corrections(tmp_path, targets, ["c0"], Options())
