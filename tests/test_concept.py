"""Concepts as values and as files."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from insid3 import Concept, ConceptError


def make(shots: int = 2, masked: bool = True) -> Concept:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.nn.functional.normalize(torch.randn(shots, 4, 3, generator=generator), dim=-1).unbind()
    masks = tuple(np.arange(6 * (5 + i)).reshape(6, 5 + i) % 3 == 0 for i in range(shots))
    return Concept(
        name="kätzchen",
        backbone="dinov2-vits14",
        weights_hash="0123456789abcdef",
        size=28,
        fit="stretch",
        tokens=tokens,
        patch_masks=(torch.tensor([True, False, False, True]),) * (shots if masked else 0),
        masks=masks if masked else (),
        image_sizes=tuple((6, 5 + i) for i in range(shots)),
        sources=tuple(f"{i}.jpg" for i in range(shots)),
        thumbnails=tuple(np.full((3, 2, 3), i, np.uint8) for i in range(shots)),
        negatives=torch.zeros(0, 3),
    )


@pytest.mark.parametrize("masked", [True, False])
def test_round_trip(tmp_path: Path, masked: bool) -> None:
    concept = make(masked=masked)
    concept.save(tmp_path / "a.insid3")
    again = Concept.load(tmp_path / "a.insid3")
    assert again.name == "kätzchen"
    assert again.digest == concept.digest
    assert all(torch.equal(a, b) for a, b in zip(again.tokens, concept.tokens, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(again.patch_masks, concept.patch_masks, strict=True))
    assert again.image_sizes == concept.image_sizes
    assert again.sources == concept.sources
    assert all(np.array_equal(a, b) for a, b in zip(again.masks, concept.masks, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(again.thumbnails, concept.thumbnails, strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["a.insid3"]


def test_digest_tells_contents_apart_not_names() -> None:
    concept = make()
    assert replace(concept, name="other", sources=("x", "y")).digest == concept.digest
    assert replace(concept, tokens=concept.tokens[::-1]).digest != concept.digest
    assert replace(concept, size=56).digest != concept.digest


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.insid3"
    make().save(path)
    good = path.read_bytes()
    for position in range(0, len(good), 13):
        bad = bytearray(good)
        bad[position] ^= 0x10
        path.write_bytes(bad)
        with pytest.raises(ConceptError, match=r"a\.insid3"):
            Concept.load(path)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 600])
def test_cut_short(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.insid3"
    make().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ConceptError, match=r"a\.insid3 is damaged or not a concept file"):
        Concept.load(path)


def test_refused_files(tmp_path: Path) -> None:
    with pytest.raises(ConceptError, match="no such file"):
        Concept.load(tmp_path / "none.insid3")
    (tmp_path / "text.insid3").write_text("hello")
    with pytest.raises(ConceptError, match="damaged or not a concept file"):
        Concept.load(tmp_path / "text.insid3")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ConceptError, match="is a safetensors file but not a concept"):
        Concept.load(tmp_path / "other.safetensors")


def test_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.insid3"
    make().save(path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    metadata = json.loads(raw[8 : 8 + length])["__metadata__"]
    save_file(load_file(path), path, {**metadata, "version": "2"})
    with pytest.raises(ConceptError, match="has version 2, this insid3 reads version 1: update insid3"):
        Concept.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.insid3"
    make().save(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        make(shots=1).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.insid3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": ("one",)}, "at least one picture"),
        ({"masks": ()}, "masks for all of its pictures or for none"),
        ({"patch_masks": (torch.zeros(4, dtype=torch.bool),) * 2}, "a mask that is not empty"),
        ({"image_sizes": ((6, 5), (9, 9))}, "every mask must have its picture's size"),
        ({"negatives": torch.zeros(0, 5)}, "another number of channels"),
    ],
)
def test_checked_on_construction(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConceptError, match=re.escape(message)):
        replace(make(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"id": "3"}, "id must be a whole number from 1 to 2,147,483,648, got '3'"),
        ({"id": True}, "id must be a whole number from 1 to 2,147,483,648, got True"),
        ({"id": np.float32(1.5)}, "id must be a whole number from 1 to 2,147,483,648, got 1.5"),
        ({"colour": "red"}, "colour is RGB from 0 to 255, got 'red'"),
        ({"colour": (1, 2, 300)}, r"colour is RGB from 0 to 255, got \(1, 2, 300\)"),
        ({"name": b"cat"}, "name must be text, got bytes that read 'cat'"),
    ],
)
def test_what_is_no_number_or_text_is_refused_in_words(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConceptError, match=told):
        replace(make(), **given)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    numbers: dict[str, Any] = {"id": np.int64(3), "colour": np.array([1, 2, 3])}
    made = replace(make(), **numbers)
    made.save(tmp_path / "cat.insid3")
    loaded = Concept.load(tmp_path / "cat.insid3")
    assert (loaded.id, loaded.colour) == (made.id, made.colour) == (3, (1, 2, 3))
