"""Run files, changed: settings and results of an output folder, lists of concepts and of targets, TOML of options."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from hostile.pictures import files
from hostile.values import bytes_changed, json_changed, value
from insid3.batch.concept_files import find_concepts
from insid3.batch.convert import convert
from insid3.batch.formats import FORMATS
from insid3.batch.lines import last_results, read_settings
from insid3.batch.rethreshold import rethreshold
from insid3.batch.review import doubts, learning_command, strays
from insid3.batch.sources import find_targets
from insid3.cli import app
from insid3.errors import Insid3Error

KIND = "runs"
_TOML = 'targets = ["photos"]\noutput = "out"\nmin-area = 3\nreference = ["a.png"]\nmask = ["b.png"]\nthreshold = 0.5\n'
_CONCEPTS = {"concepts": [{"name": "cat", "images": ["a.png"], "masks": ["b.png"], "id": 2, "colour": "#f80"}]}
_BAD_TOML = ("a = " + "[" * 5000, "x = 1e999", "a = 1\na = 2", "= 3", "a.b.c = 1", "[[a]]\n[a]", "min-area = [[1]]")


def attempts(folder: Path, seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    rng = random.Random(seed)
    sound = _run(folder / "sound")
    for read in _READERS.values():
        _answered(read, sound)  # loads what they need
    for number in range(count):
        shutil.rmtree(folder / "run", ignore_errors=True)
        shutil.copytree(sound, folder / "run")
        name, did = rng.choice(list(_READERS)), ""
        file = folder / "run" / name
        if rng.random() < 0.05:
            did = rng.choice(list(_ODD))
            file.unlink()
            _ODD[did](file)
        elif file.suffix == ".toml" and rng.random() < 0.7:
            did, lines = "words", file.read_text().splitlines()
            lines[rng.randrange(len(lines))] = rng.choice(
                (*_BAD_TOML, f"{rng.choice(lines).split(' ')[0]} = {_toml(value(rng))}")
            )
            file.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        elif file.suffix in (".json", ".jsonl") and rng.random() < 0.8:
            did, lines = "values", file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
            at = rng.randrange(len(lines))
            lines[at] = json_changed(lines[at], rng)
            file.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))
        else:
            did = "bytes"
            file.write_bytes(bytes_changed(file.read_bytes(), rng))
        yield f"{number}: {name}, {did}", partial(_READERS[name], folder / "run")


def _answered(read: Callable[[Path], object], folder: Path) -> None:
    try:
        read(folder)
    except Insid3Error as error:
        raise AssertionError(f"a sound run is refused: {error}") from error


def _run(folder: Path) -> Path:
    """Make an output folder as `convert` writes it, with other files of users beside."""
    sound, marked = files(), folder.parent / "marked"
    for at in (folder, marked):
        at.mkdir(parents=True)
    for name, kind in (("a.png", "PNG RGBA"), ("b.png", "PNG L")):
        (folder / name).write_bytes(sound[kind])
        (marked / name).write_bytes(sound[kind])
    shape = {"label": "cat", "shape_type": "rectangle", "points": [[3, 3], [20, 30]]}
    other = {"label": "dog", "shape_type": "polygon", "points": [[30, 3], [50, 3], [40, 30]]}
    content = {"shapes": [shape, other], "imagePath": "a.png", "imageHeight": 40, "imageWidth": 56}
    (marked / "a.json").write_text(json.dumps(content))
    convert(marked, "png", folder / "out", "labelme")
    for file in (folder / "out").iterdir():
        if file.is_file():
            file.rename(folder / file.name)
    shutil.rmtree(folder / "out")
    (folder / "settings.toml").write_text(_TOML)
    (folder / "list.json").write_text(json.dumps(_CONCEPTS))
    (folder / "targets.txt").write_text("a.png\n# a comment\nb.png\n")
    return folder


def _settings(folder: Path) -> None:
    read_settings(folder)
    list(FORMATS["png"].read(folder)[1])


def _results(folder: Path) -> None:
    """Do all that is done with results; each reader is called, whatever the others raise."""
    said: list[Insid3Error] = []
    for read in (
        lambda: list(last_results(folder)),
        lambda: strays(folder, doubts(folder)),
        lambda: learning_command(folder),
        lambda: _all_masks(folder),
        lambda: _thresholded(folder),
    ):
        try:
            read()
        except Insid3Error as error:
            said.append(error)
    if len(said) > 1:
        raise said[0]


def _thresholded(folder: Path) -> None:
    with suppress(Insid3Error):  # there are no scores
        list(rethreshold(folder, folder / "new", 0.5))


def _all_masks(folder: Path) -> None:
    for picture in FORMATS["png"].read(folder)[1]:
        for instance in picture.instances:
            assert np.isfinite(instance.score)
            assert instance.mask.any()


def _options(folder: Path) -> None:
    """Read options as the command line does; no model is loaded before the settings are right."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        result = CliRunner().invoke(app, ["segment", "--config", "settings.toml", "--weights", "gone.pth", "-o", "out"])
    finally:
        os.chdir(before)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception


def _toml(found: object) -> str:
    return json.dumps(found, default=str) if not isinstance(found, dict) else "{a = 1}"


_READERS: dict[str, Callable[[Path], object]] = {
    "run.json": _settings,
    "results.jsonl": _results,
    "concepts.json": _settings,
    "settings.toml": _options,
    "list.json": lambda folder: find_concepts(folder / "list.json"),
    "targets.txt": lambda folder: find_targets([folder / "targets.txt"], folder / "out"),
}
_ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link to itself": lambda file: file.symlink_to(file),
    "a folder": lambda file: file.mkdir(),
    "a device": lambda file: file.symlink_to("/dev/zero"),
}
