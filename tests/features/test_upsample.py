"""Stage 6: patches to pixels, the edge refined or not."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import oracles
from insid3 import ConfigError
from insid3.config import Config
from insid3.features.patch_grid import PatchGrid
from insid3.features.upsample import _BLOCK, _blocks, picture_to_refine, resized, to_mask, working_size
from insid3.imaging.read import read_image
from insid3.imaging.resizing import resize_image
from stubs import box_mask, colour_model, scene

BOX = (16, 24, 48, 56)


def to_pixels(patches: np.ndarray, patch_size: int, size: tuple[int, int], **config: Any) -> np.ndarray:
    settings = Config(patch_size * max(patches.shape), 2, 0.9).but(**config)
    frame = PatchGrid.from_settings(size, settings, patch_size)
    return to_mask(np.where(patches, 0.5, -0.7).astype(np.float32).reshape(1, -1), frame, None, patch_size, settings)[0]


@pytest.mark.parametrize(
    ("patches", "side", "size", "expected"),
    [
        ("1. ..", 4, (4, 4), "11.. 11.. .... ...."),  # weights 1, 3/4, 1/4, 0 on each axis: 9/16 is above half
        ("1. ..", 4, (2, 4), "11.. ...."),
        ("11 1.", 4, (4, 4), "1111 1111 11.. 11.."),  # inside its quarter the empty corner weighs 9/16
        ("1. .1", 4, (4, 4), "11.. 11.. ..11 ..11"),
        ("11 11", 4, (3, 5), "11111 11111 11111"),
        (".. ..", 4, (3, 5), "..... ..... ....."),
        ("1. 1.", 6, (1, 1), "."),  # half of the picture is not above half
    ],
)
def test_by_hand(patches: str, side: int, size: tuple[int, int], expected: str) -> None:
    grid = np.array([[patch == "1" for patch in row] for row in patches.split()])
    found = " ".join("".join(".1"[pixel] for pixel in row) for row in to_pixels(grid, side // 2, size).tolist())
    assert found == expected


@given(arrays(bool, (4, 4)), st.sampled_from([(16, 16), (32, 16), (8, 64), (21, 13), (5, 47)]))
def test_parity(patches: np.ndarray, size: tuple[int, int]) -> None:
    square = oracles.bilinear(patches, (16, 16)) > 0.5
    exact = oracles.bilinear(square, size)
    found = to_pixels(patches, 4, size)
    decided = abs(exact - 0.5) > 1e-5  # a pixel at just half may round to either side where sizes do not divide
    assert (found == (exact > 0.5))[decided].all()
    assert size not in [(16, 16), (32, 16), (8, 64)] or (found == (exact > 0.5)).all()


@given(arrays(bool, (5, 5)))
def test_mirrored_patches_give_the_mirrored_mask(patches: np.ndarray) -> None:
    mask = to_pixels(patches, 8, (64, 24))
    for axis in (0, 1):
        assert (to_pixels(np.flip(patches, axis), 8, (64, 24)) == np.flip(mask, axis)).all()


def test_padding_is_cut_off() -> None:
    """A picture of 6 x 12 in a square of 12 x 12 with patches of 4: the second row of patches is half padding."""
    mask = to_pixels(np.array([[False, False, False], [True, True, True]]), 4, (6, 12), fit="pad")
    assert mask.tolist() == [[False] * 12] * 4 + [[True] * 12] * 2


def test_scores_are_cut_at_zero() -> None:
    """0.5 beside -0.7 ends before half way, where a mask would end."""
    patches = np.array([[True, False], [True, False]])
    exact = oracles.bilinear(np.where(patches, 0.5, -0.7), (22, 22)) > 0
    mask = to_pixels(patches, 11, (22, 22), upsample="score")
    assert mask.tolist() == exact.tolist()
    assert 0 < mask.sum() < to_pixels(patches, 11, (22, 22)).sum()


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


REFINED: list[dict[str, Any]] = [
    {"refine": "crf"}, {"refine": "crf", "solver": "frank-wolfe"}, {"refine": "guided"},
    {"refine": "crf", "upsample": "score"}, {"refine": "guided", "upsample": "score"},
]  # fmt: skip
WITH_REFINE = pytest.mark.parametrize("config", REFINED, ids=lambda c: "-".join(c.values()))


@WITH_REFINE
@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("size", [(64, 64), (40, 100)])
def test_refined_masks_follow_the_picture(config: dict[str, Any], fit: str, size: tuple[int, int]) -> None:
    """A box whose edges lie between those of the patches."""
    box = (11, 13, 34, 42)
    truth = box_mask(*box, size=size)
    plain = colour_model(fit=fit)
    concept = plain.concept(scene(BOX), box_mask(*BOX))
    rough = plain.segment(scene(box, size=size), concept).mask
    model = colour_model(fit=fit, crf_size=80, **config)
    found = model.segment(scene(box, size=size), concept)
    assert found.reason is None
    assert iou(found.mask, truth) > iou(rough, truth) + 0.15


@WITH_REFINE
def test_tiles_are_refined_without_seams(config: dict[str, Any]) -> None:
    box = (31, 33, 134, 242)
    plain = colour_model(tile=64)
    concept = plain.concept(scene(BOX), box_mask(*BOX))
    found = colour_model(tile=64, crf_size=64, **config).segment(scene(box, size=(200, 300)), concept)
    assert iou(found.mask, box_mask(*box, size=(200, 300))) > 0.97


@WITH_REFINE
@pytest.mark.parametrize("box", [(0, 0, 64, 64), (0, 0, 64, 8), (32, 0, 40, 64), (56, 56, 64, 64)])
def test_all_borders_and_thin_things(config: dict[str, Any], box: tuple[int, int, int, int]) -> None:
    model = colour_model(**config)
    concept = model.concept(scene(BOX), box_mask(*BOX))
    plain = colour_model().segment(scene(box), concept).mask
    found = model.segment(scene(box), concept)
    assert plain.any()
    assert (found.mask == plain).all() if found.reason else iou(found.mask, box_mask(*box)) > 0.45


@WITH_REFINE
def test_nothing_to_refine(config: dict[str, Any]) -> None:
    """A threshold just above the best score: close to the concept, but below it everywhere."""
    noise = np.random.default_rng(0).normal(0, 12, (64, 64, 3))
    picture = (scene(BOX) + noise).clip(0, 255).astype(np.uint8)
    for tile in (None, 32):
        plain = colour_model(tile=tile, threshold=2.0)
        concept = plain.concept(scene(BOX), box_mask(*BOX))
        best = float(str(plain.segment(picture, concept).reason).split("best: ")[1][:-1])
        found = colour_model(tile=tile, threshold=best + 0.01, **config).segment(picture, concept)
        assert not found.mask.any()
        assert str(found.reason).startswith("no cluster scores above the threshold")


@WITH_REFINE
@pytest.mark.parametrize("size", [(1, 500), (500, 1), (3, 200), (1, 1)])
@pytest.mark.parametrize("more", [{}, {"fit": "pad"}, {"tile": 100}])
def test_narrow_pictures(config: dict[str, Any], more: dict[str, Any], size: tuple[int, int]) -> None:
    model = colour_model(**config, **more)
    concept = model.concept(scene(BOX), box_mask(*BOX))
    picture = scene((0, 0, size[0], size[1] // 2), size=size)
    assert model.segment(picture, concept).mask.shape == size


@WITH_REFINE
def test_the_same_mask_every_time_on_one_thread_or_two(config: dict[str, Any]) -> None:
    margins = np.random.default_rng(0).normal(0, 1, (1, 256)).astype(np.float32)
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    settings = Config(128, 2, 0.9).but(**config)
    frame = PatchGrid.from_settings((100, 150), settings, 8)
    threads, found = torch.get_num_threads(), []
    for count in (1, 2, 2):
        torch.set_num_threads(count)
        found.append(to_mask(margins, frame, picture, 8, settings)[0])
    torch.set_num_threads(threads)
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_a_mask_that_refining_would_take_away_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spot of the ground's own colour: nothing in the picture speaks for it, and it has no core."""
    config = Config(64, 2, 0.9, refine="crf")
    frame = PatchGrid.from_settings((64, 64), config, 8)
    margins = np.full((8, 8), -1, np.float32)
    margins[4, 4] = 1
    picture = np.full((64, 64, 3), 100, np.uint8)
    mask, reason = to_mask(margins.reshape(1, -1), frame, picture, 8, config)
    plain, none = to_mask(margins.reshape(1, -1), frame, None, 8, config)
    assert mask.any()
    assert (mask == plain).all()
    assert reason == "edge as coarse as patches: crf left nothing of the mask"
    assert none is None

    monkeypatch.setattr("insid3.features.upsample.guided_filter", lambda v, *_: np.where(np.arange(64) < 35, v, -1))
    mask, reason = to_mask(margins.reshape(1, -1), frame, picture, 8, config.but(refine="guided"))
    assert (mask == plain).all()
    assert str(reason).startswith("edge as coarse as patches: guided left ")
    assert str(reason).endswith("% of the mask")

    faint = np.where(margins > 0, 0.05, -1).astype(np.float32)
    mask, reason = to_mask(faint.reshape(1, -1), frame, None, 8, Config(64, 2, 0.9, upsample="score"))
    assert (mask == plain).all()
    assert reason == "edge as coarse as patches: score left nothing of the mask"


@pytest.mark.parametrize(
    ("config", "size", "expected"),
    [
        ({}, (300, 400), (518, 518)),  # min(size, 640)
        ({"size": 1022}, (300, 400), (640, 640)),
        ({"size": 1022, "crf_size": 1022}, (300, 400), (1022, 1022)),
        ({"size": 1022, "fit": "pad"}, (300, 400), (480, 640)),
        ({"tile": 518}, (6000, 600), (6000, 600)),
        ({"tile": 1036}, (6000, 600), (3000, 300)),
        ({"tile": 300}, (6000, 600), (6000, 600)),  # never enlarged
        ({"tile": 1036}, (1, 6000), (1, 3000)),
        ({"tile": 518}, (300, 400), (518, 518)),  # smaller than a tile: seen whole
    ],
)
def test_working_size(config: dict[str, Any], size: tuple[int, int], expected: tuple[int, int]) -> None:
    settings = Config(518, 2, 0.9, refine="crf").but(**config)
    frame = PatchGrid.from_settings(size, settings, 14)
    assert working_size(frame, settings) == expected
    seen = picture_to_refine(np.zeros((*size, 3), np.uint8), frame, settings)
    assert seen is not None
    assert seen.shape == (*expected, 3)
    assert picture_to_refine(np.zeros((*size, 3), np.uint8), frame, settings.but(refine="none")) is None


@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 30), st.integers(3, 9))
def test_blocks_are_as_one(height: int, width: int, side: int, halo: int) -> None:
    """A box of 7 pixels needs a halo of 3; each block with its halo is all that is seen."""
    values = torch.rand(height, width, generator=torch.Generator().manual_seed(0))
    found = torch.full_like(values, -1)
    with patch("insid3.features.upsample._BLOCK", side):
        for inner, outer, within in _blocks((height, width), halo):
            assert max(values[outer].shape) <= side + 2 * halo
            found[inner] = torch.nn.functional.avg_pool2d(values[outer][None], 7, 1, 3)[0][within]
    assert torch.allclose(found, torch.nn.functional.avg_pool2d(values[None], 7, 1, 3)[0])


@pytest.mark.parametrize("solver", ["mean-field", "frank-wolfe"])
def test_blocks_of_the_crf_are_as_one(pictures: dict[str, Path], solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Config(504, 2, 0.9, refine="crf", solver=solver, crf_size=400)  # type: ignore[arg-type]
    frame = PatchGrid.from_settings((400, 400), settings, 14)
    coarse = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(1)) - 0.5
    margins = torch.nn.functional.interpolate(coarse, (36, 36)).reshape(1, -1).sign().numpy()
    picture = resize_image(read_image(pictures["cheetah2"]), (400, 400))
    assert _BLOCK >= 400
    whole, _ = to_mask(margins, frame, picture, 14, settings)
    plain, _ = to_mask(margins, frame, None, 14, settings)
    monkeypatch.setattr("insid3.features.upsample._BLOCK", 150)
    parts, _ = to_mask(margins, frame, picture, 14, settings)
    assert (whole != plain).sum() > 500
    assert (parts != whole).sum() < 0.01 * (whole != plain).sum()


def test_what_was_encoded_without_a_picture_cannot_be_refined() -> None:
    plain, model = colour_model(), colour_model(refine="crf")
    concept = plain.concept(scene(BOX), box_mask(*BOX))
    encoded = model.encode(scene(BOX))
    assert (model.segment(encoded, concept).mask == model.segment(scene(BOX), concept).mask).all()
    assert (plain.segment(encoded, concept).mask == plain.segment(scene(BOX), concept).mask).all()
    assert len(model.match(plain.encode(scene(BOX)), concept, [[30, 30]])) == 1  # needs no picture
    for wrong in (plain.encode(scene(BOX)), replace(encoded, picture=np.zeros((9, 9, 3), np.uint8))):
        with pytest.raises(ConfigError, match="encode it again"):
            model.segment(wrong, concept)


def test_resizing_to_the_same_size_changes_nothing() -> None:
    values = torch.rand(13, 17)
    assert resized(values, (13, 17)).equal(values)
