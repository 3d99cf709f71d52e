"""Small files that ask for much time or memory, and what is no file: refused by name. More of them: traps.py."""

import io
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from safetensors.torch import save_file

from crafted import chunk, encoded, png
from hostile import pictures
from insid3 import Concept, ConceptError
from insid3.batch.concept_files import find_concepts
from insid3.batch.formats import FORMATS
from insid3.batch.lines import last_results, read_settings
from insid3.batch.sources import find_targets
from insid3.concept_file import FORMAT, VERSION, digest_of
from insid3.errors import DataError, ImageError, Insid3Error
from insid3.imaging.containers.ifd import read_directory
from insid3.imaging.opening import picture_from_bytes
from insid3.imaging.read import picture_size, read_image


def written(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_postscript_reaches_no_decoder(tmp_path: Path) -> None:
    for seed in range(4):
        data = pictures.postscript(random.Random(seed))
        for open_it in (
            lambda data: picture_from_bytes(data, "inside"),
            lambda data: read_image(written(tmp_path / "a.png", data)),
        ):
            with pytest.raises(ImageError, match="is not a picture of a supported format"):
                open_it(data)


def test_jpegs_of_thousands_of_scans_are_refused(tmp_path: Path) -> None:
    data = encoded(np.zeros((64, 64), np.uint8), "JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    assert read_image(written(tmp_path / "a.jpg", data[:-2] + 20 * last + data[-2:])).shape == (64, 64, 3)
    with pytest.raises(ImageError, match=r"b\.jpg goes over its pixels too many times"):
        read_image(written(tmp_path / "b.jpg", data[:-2] + 3000 * last + data[-2:]))
    preview = b"\xff\xe2" + struct.pack(">H", 6002) + b"\xff\xda" * 3000  # those of a preview do not count
    assert read_image(written(tmp_path / "c.jpg", data[:2] + preview + data[2:])).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", png(np.zeros((4, 4), np.uint8), before=[chunk(b"tEXt", b"") * 250])),
        ("a.jpg", b"\xff\xd8" + b"\xff\xfe\0\2" * 250 + encoded(np.zeros((8, 8), np.uint8), "JPEG")[2:]),
        ("b.jpg", b"\xff\xd8" + b"\xff" * 250 + encoded(np.zeros((8, 8), np.uint8), "JPEG")[2:]),
        ("a.webp", encoded(np.zeros((8, 8, 3), np.uint8), "WEBP") + b"junk\0\0\0\0" * 250),
    ],
)
def test_files_of_very_many_pieces_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes
) -> None:
    assert picture_size(written(tmp_path / f"few-{name}", data)) in ((4, 4), (8, 8))
    for kind in ("png", "jpeg", "webp"):
        monkeypatch.setattr(f"insid3.imaging.containers.{kind}.MANY", 200)
    with pytest.raises(ImageError, match="is made of more than 200,000 pieces"):
        picture_size(written(tmp_path / name, data))


def test_of_a_gif_only_the_first_picture_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    data, comment = encoded(values, "GIF"), b"!\xfe" + (b"\xff" + b"x" * 255) * 8 + b"\0"
    at = 13 + (3 << (data[10] & 7) + 1)
    plain = read_image(written(tmp_path / "plain.gif", data))
    blocks, block = list[int](), GifImageFile.data

    def counted(self: GifImageFile) -> bytes | None:
        blocks.append(1)
        return block(self)

    monkeypatch.setattr(GifImageFile, "data", counted)
    assert (read_image(written(tmp_path / "a.gif", data[:at] + comment * 2000 + data[at:])) == plain).all()
    assert len(blocks) < 20  # not 18,000: Pillow takes the square of their number in time
    blocks.clear()
    Image.open(tmp_path / "a.gif").close()
    assert len(blocks) >= 18_000  # that is where it reads them
    with pytest.raises(ImageError, match=r"65535 x 65535 pixels, the limit is"):
        read_image(written(tmp_path / "b.gif", pictures.gif_of_one_size(random.Random(0))))


def test_the_size_of_a_webp_takes_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path / "a.webp", pictures.webp_of_one_size(random.Random(0)))
    assert picture_size(path) == (16384, 16384)
    with pytest.raises(ImageError, match="the limit is"):
        read_image(path)
    for lossless in (False, True):
        for options in ({}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}):
            data = encoded(np.zeros((5, 7, 3), np.uint8), "WEBP", lossless=lossless, **options)
            assert picture_size(written(path, data)) == (5, 7)


def test_of_metadata_only_the_first_number_is_read() -> None:
    entries = b"".join(struct.pack("<HHII", tag, 3, 4096, 8) for tag in range(5000))
    data = b"II*\0" + struct.pack("<I", 9000) + bytes(8992) + struct.pack("<H", 5000) + entries
    found = read_directory(io.BytesIO(data), len(data))
    assert found is not None
    assert found.number(7, 1) == 0
    assert sys.getsizeof(found.entries[7].first) < 100


def test_bands_count_in_the_limit(tmp_path: Path) -> None:
    data = next(
        data for seed in range(99) if (data := pictures.map_of_bands(random.Random(seed))).count(struct.pack("<I", 600))
    )
    with pytest.raises(ImageError, match=r"6000 x 6000 x 600 x 1 numbers of 2 bytes|is damaged"):
        read_image(written(tmp_path / "a.tif", data))


# ------------------------------------------------------------------------------------------------- concepts


def concept_file(path: Path, **changes: object) -> Path:
    """With the checksum of what it holds."""
    header = {"name": "cat", "backbone": "b", "weights_hash": "0", "size": 28, "fit": "pad"}
    told = json.dumps(header | {"image_sizes": [[4, 6]], "sources": ["a.jpg"]} | changes.pop("header", {}))  # type: ignore[operator]
    tensors = {
        "tokens.0": torch.ones(2, 3), "negatives": torch.zeros(0, 3), "patch_mask.0": torch.tensor([True, False]),
        "thumbnail.0": torch.zeros(2, 2, 3, dtype=torch.uint8), "mask.0": torch.full((3,), 255, dtype=torch.uint8),
    } | {name.replace("_0", ".0"): tensor for name, tensor in changes.items()}  # fmt: skip
    metadata = {"format": FORMAT, "version": str(VERSION), "header": told, "sha256": digest_of(tensors, told)}  # type: ignore[arg-type]
    save_file(tensors, path, metadata)  # type: ignore[arg-type]
    return path


def test_a_sound_concept_is_read(tmp_path: Path) -> None:
    concept = Concept.load(concept_file(tmp_path / "a.insid3", header={"name": "\x1b[31mcat\n", "colour": [1, 2, 3]}))
    assert concept.name == "_[31mcat_"
    assert concept.masks[0].all()
    assert concept.colour == (1, 2, 3)
    half = Concept.load(concept_file(tmp_path / "b.insid3", tokens_0=torch.ones(2, 3, dtype=torch.bfloat16)))
    assert half.tokens[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"header": {"image_sizes": [[60_000, 60_000]]}}, "does not fit its 60000 x 60000 pixels"),
        ({"header": {"image_sizes": [[2**31, 2**31]]}}, "as side of a picture"),
        ({"header": {"image_sizes": [[4, 6]] * 9, "sources": ["a"] * 9}}, "has no tokens.1"),
        ({"header": {"name": 7}}, "has 7 as name"),
        ({"header": {"sources": [7]}}, "has 7 as source"),
        ({"header": {"size": 1e999}}, "as size"),
        ({"header": {"given": 1}}, "unknown entry 'given'"),
        ({"header": {"id": 2**60}}, "as id"),
        ({"header": {"colour": [1, 2]}}, "as colour"),
        ({"tokens_0": torch.full((2, 3), torch.nan)}, "not finite"),
        ({"tokens_0": torch.ones(2, 3, dtype=torch.int32)}, "tokens.0 as I32"),
        ({"tokens_0": torch.ones(2, 4)}, "3 and 4 channels"),
        ({"tokens_0": torch.ones(0, 3)}, "0 tokens"),
        ({"mask_0": torch.zeros(2, dtype=torch.uint8)}, "does not fit"),
        ({"patch_mask_0": torch.ones(3, dtype=torch.bool)}, "does not fit"),
        ({"other_0": torch.ones(1)}, "unknown tensor"),
    ],
    ids=str,
)
def test_concepts_are_checked_before_anything_is_made(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConceptError, match=rf"a\.insid3 .*{message}"):
        Concept.load(concept_file(tmp_path / "a.insid3", **changes))


# ------------------------------------------------------------------------------------- annotations and runs


def yolo(folder: Path, names: str) -> Path:
    for name in ("images", "labels"):
        (folder / name).mkdir(exist_ok=True)
    written(folder / "data.yaml", f"names: {names}")
    return folder


def test_yaml_aliases_are_refused(tmp_path: Path) -> None:
    laughs = "a: &a [x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(DataError, match=r"data\.yaml .* has aliases"):
        FORMATS["yolo"].read(yolo(tmp_path, f"*i\n{laughs}".replace("names: *i", "x: 1")))
    with pytest.raises(DataError, match="as name of a class"):
        FORMATS["yolo"].read(yolo(tmp_path, "[cat, [dog]]"))
    with pytest.raises(DataError, match=r"data\.yaml"):
        FORMATS["yolo"].read(yolo(tmp_path, "[" * 20_000))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp037"])
def test_xml_entities_are_refused_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    head = "" if encoding == "utf-16" else f'<?xml version="1.0" encoding="{encoding}"?>'
    body = '<!DOCTYPE a [<!ENTITY b "ha">]><annotations>&b;</annotations>'
    file = tmp_path / "annotations.xml"
    file.write_bytes((head + body).encode(encoding))
    with pytest.raises(DataError, match=r"annotations\.xml"):
        FORMATS["cvat"].read(file)


ODD: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
    "folder": Path.mkdir,
}
READERS: dict[str, Callable[[Path], object]] = {
    "a.json": lambda path: FORMATS["labelme"].read(path),
    "instances.json": lambda path: FORMATS["coco"].read(path),
    "annotations.xml": lambda path: FORMATS["cvat"].read(path),
    "list.json": find_concepts,
    "a.insid3": Concept.load,
    "run.json": lambda path: read_settings(path.parent),
    "results.jsonl": lambda path: list(last_results(path.parent)),
    "a.png": read_image,
    "list.txt": lambda path: find_targets([path], path.parent / "out"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes among files")
@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    ODD[kind](tmp_path / name)
    if (name, kind) in (("results.jsonl", "loop"),):
        assert READERS[name](tmp_path / name) == []  # as if nothing were there
        return
    with pytest.raises(Insid3Error) as caught:
        READERS[name](tmp_path / name)
    assert tmp_path.name in str(caught.value)
    assert "Errno" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"mask": "../../secret.png"}, "must be the path of a file below the folder"),
        ({"mask": "/etc/passwd"}, "must be the path of a file below the folder"),
        ({"score": float("nan")}, '"score" must be a number or null'),
        ({"concepts": 7}, '"concepts" must be an object'),
        ({"instances": {"a": 1}}, '"instances" must be a list'),
    ],
)
def test_results_of_strangers(tmp_path: Path, line: dict[str, object], message: str) -> None:
    sound = {"target": "a.jpg", "mask": "a.png", "score": 0.5, "area": 3, "reason": None, "error": None}
    written(tmp_path / "results.jsonl", json.dumps(sound | line) + "\n")
    with pytest.raises(DataError, match=message):
        list(last_results(tmp_path))


def test_deep_results_are_told_in_words(tmp_path: Path) -> None:
    for content in ("[" * 100_000 + "\n", "9" * 5000 + "\n"):
        written(tmp_path / "results.jsonl", content)
        with pytest.raises(DataError, match=r"results\.jsonl, line 1, is no JSON: it nests too deeply"):
            list(last_results(tmp_path))


# ----------------------------------------------------------------------------------------------- the terminal


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of another kind")
@pytest.mark.parametrize(
    ("redirected", "status", "said"),
    [
        ("segment - --reference a.png --mask b.png -o out <&-", 2, "standard input is closed"),
        ("--help >&-", 0, ""),
        ("--help >/dev/full", 2, "No space left on device"),
        ("segment --config deep.toml x -o out", 2, "deep.toml is damaged, or no TOML file"),
        ("segment --help | head -1", 0, ""),
    ],
)
def test_no_traceback(tmp_path: Path, redirected: str, status: int, said: str) -> None:
    written(tmp_path / "deep.toml", "a = " + "[" * 5000)
    command = f"{sys.executable} -m insid3 {redirected}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr, said in done.stderr) == (status, False, True), done.stderr
