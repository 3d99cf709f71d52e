"""Where patches are: whole pictures, padded ones, and tiles."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insid3 import Config, ConfigError
from insid3.features.patch_grid import PatchGrid, inner_size
from insid3.imaging.resizing import resize_image, resize_part
from stubs import box_mask, colour_model, scene

CONFIG = Config(size=32, rank=2, tau=0.9)
sides = st.integers(1, 400)


def test_whole_pictures() -> None:
    grid = PatchGrid.from_settings((100, 200), CONFIG, 4)
    assert (grid.shape, grid.extent, grid.windows, grid.side) == ((8, 8), (8, 8), ((0, 0),), 8)
    assert grid.box((0, 0)) == (0, 0, 200, 100)


def test_padding_keeps_the_aspect_ratio() -> None:
    pad = CONFIG.but(fit="pad")
    assert inner_size((100, 200), pad) == (16, 32)
    assert inner_size((3, 1000), pad) == (1, 32)  # never nothing
    grid = PatchGrid.from_settings((90, 200), pad, 4)
    assert grid.extent == (14 / 4, 8)
    assert grid.shape == (4, 8)  # the last row is covered in part


def test_tiles_by_hand() -> None:
    """100 x 200 in tiles of 80: a lattice of 10 x 20 patches, windows of 8 x 8 that overlap by a quarter or more."""
    grid = PatchGrid.from_settings((100, 200), CONFIG.but(tile=80), 4)
    assert grid.shape == (10, 20)
    assert grid.windows == ((0, 0), (0, 6), (0, 12), (2, 0), (2, 6), (2, 12))
    assert grid.box((2, 6)) == pytest.approx((60, 20, 140, 100))
    assert len(PatchGrid.from_settings((80, 60), CONFIG.but(tile=80), 4).windows) == 1
    assert len(PatchGrid.from_settings((100, 200), CONFIG.but(tile=80), 4, tiled=False).windows) == 1


@given(sides, sides, st.integers(10, 100), st.sampled_from([0, 0.25, 0.5, 0.9]))
def test_tiles_cover_every_patch_and_overlap(height: int, width: int, tile: int, overlap: float) -> None:
    grid = PatchGrid.from_settings((height, width), CONFIG.but(tile=tile, overlap=overlap), 4)
    seen = np.zeros(grid.shape, int)
    for top, left in grid.windows:
        assert 0 <= top <= grid.shape[0] - grid.cells[0]
        assert 0 <= left <= grid.shape[1] - grid.cells[1]
        seen[top : top + grid.side, left : left + grid.side] += 1
        box = grid.box((top, left))
        assert min(box) >= 0
        assert box[2] <= width + 1e-6
        assert box[3] <= height + 1e-6
    assert seen.all()
    for axis in (0, 1):
        firsts = sorted({window[axis] for window in grid.windows})
        assert all(b - a <= max(1, grid.side * (1 - overlap)) + 1 for a, b in pairwise(firsts))


def test_blend_by_hand() -> None:
    """Two windows of 4 x 4 on a lattice of 4 x 6: the two shared columns weigh 2:1 and 1:2."""
    grid = PatchGrid((40, 60), (4, 6), (4, 6), ((0, 0), (0, 2)), 4)
    values = np.stack([np.zeros(16, np.float32), np.ones(16, np.float32)])
    assert grid.blend(values)[0] == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1])
    assert grid.choose(values.astype(np.int64))[0].tolist() == [0, 0, 0, 1, 1, 1]


@given(sides, sides, st.integers(10, 100))
def test_windows_that_agree_are_blended_to_what_they_say(height: int, width: int, tile: int) -> None:
    grid = PatchGrid.from_settings((height, width), CONFIG.but(tile=tile), 4)
    lattice = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    rows, columns = grid.cells
    parts = np.stack([lattice[y : y + rows, x : x + columns].ravel() for y, x in grid.windows])
    np.testing.assert_allclose(grid.blend(parts), lattice, atol=1e-5)
    np.testing.assert_array_equal(grid.choose(parts), lattice)


def test_parts_are_resized_like_pictures_of_their_own() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    part = resize_part(picture, (20.0, 10.0, 60.0, 50.0), 32)
    own = resize_image(np.ascontiguousarray(picture[10:50, 20:60]), (32, 32))
    assert np.abs(part.astype(int) - own).max() <= 1  # Pillow rounds between its passes, whose order may differ


SMALL = (72, 72, 88, 88)


def test_tiles_find_what_is_too_small_for_the_whole() -> None:
    """A red box of 16 pixels in 320 x 320: half a patch when seen whole, four patches a side in tiles of 32."""
    target = scene(SMALL, size=(320, 320))
    truth = box_mask(*SMALL, size=(320, 320))
    tiled = colour_model(tile=32)
    concept = tiled.concept(scene((16, 16, 48, 48)), box_mask(16, 16, 48, 48))
    result = tiled.segment(target, concept)
    assert (result.mask & truth).sum() / (result.mask | truth).sum() > 0.7
    whole = colour_model().segment(target, concept).mask
    assert (whole & truth).sum() / (whole | truth).sum() < 0.5
    assert result.similarity.shape == result.clusters.shape == (80, 80)
    assert result.heatmap.shape == (320, 320)
    seed = np.argwhere(result.clusters == result.seed)  # one of the box's clusters; which, rounding may decide
    assert ((seed >= 72 // 4) & (seed < 88 // 4)).all()


def test_an_object_across_a_seam_is_one() -> None:
    across = (24, 40, 56, 120)
    tiled = colour_model(tile=64)
    concept = tiled.concept(scene((16, 16, 48, 48)), box_mask(16, 16, 48, 48))
    mask = tiled.segment(scene(across, size=(80, 160)), concept).mask
    truth = box_mask(*across, size=(80, 160))
    assert (mask & truth).sum() / (mask | truth).sum() > 0.85
    assert not mask[:10].any()


def test_a_tile_as_large_as_the_picture_changes_nothing() -> None:
    concept = colour_model().concept(scene((16, 16, 48, 48)), box_mask(16, 16, 48, 48))
    target = scene((0, 0, 30, 30))
    whole, tiled = (m.segment(target, concept) for m in (colour_model(), colour_model(tile=64)))
    assert np.array_equal(whole.mask, tiled.mask)
    assert whole.score == tiled.score


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (64, 64)])
def test_padding_finds_the_box(size: tuple[int, int]) -> None:
    box = (16, 16, 48, 48)
    model = colour_model(fit="pad")
    concept = model.concept(scene((16, 16, 48, 48)), box_mask(16, 16, 48, 48))
    result = model.segment(scene(box, size=size), concept)
    truth = box_mask(*box, size=size)
    assert (result.mask & truth).sum() / (result.mask | truth).sum() > 0.7
    assert not model.segment(scene(size=size), concept).mask.any()


def test_padded_references() -> None:
    """Tokens of the padding are left out; shots of several shapes go together."""
    model = colour_model(fit="pad")
    shots = [scene((8, 8, 32, 32), size=(40, 160)), scene((8, 8, 32, 32), size=(64, 64))]
    masks = [box_mask(8, 8, 32, 32, size=(40, 160)), box_mask(8, 8, 32, 32)]
    concept = model.concept(shots, masks)
    assert [len(tokens) for tokens in concept.tokens] == [2 * 8, 8 * 8]
    assert model.segment(scene((0, 0, 32, 32)), concept).mask.any()


def test_points_of_padded_pictures() -> None:
    model = colour_model(fit="pad")
    concept = model.concept(scene((8, 8, 24, 24), size=(32, 128)))
    found = model.match(scene((40, 8, 56, 24), size=(128, 32)), concept, [[16, 16]])
    assert found.maps.shape == (1, 8, 2)
    assert np.abs(found.xy[0] - [16, 48]).max() < 24
    assert (found.xy[0] <= [32, 128]).all()


def test_settings_are_checked() -> None:
    for wrong in ({"tile": 0}, {"overlap": 0.95}, {"overlap": -0.1}, {"fit": "crop"}, {"tile": 1.5}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            CONFIG.but(**wrong)


def test_encoded_targets_are_used_again() -> None:
    model = colour_model()
    red, green = (
        model.concept(scene((16, 16, 48, 48), colour=c), box_mask(16, 16, 48, 48), name=n)
        for c, n in ((0, "red"), (1, "green"))
    )
    target = scene((0, 0, 32, 32))
    encoded = model.encode(target)
    model.segment(encoded, red)
    calls = model.encoder.calls  # type: ignore[attr-defined]
    again, other = model.segment(encoded, red), model.segment(encoded, green)
    model.match(encoded, model.concept(target), [[5, 5]])
    assert model.encoder.calls == calls + 1  # type: ignore[attr-defined]  # the picture that is matched
    assert np.array_equal(again.mask, model.segment(target, red).mask)
    assert not np.array_equal(again.mask, other.mask)
    with pytest.raises(ConfigError, match="another size, fit or tile"):
        colour_model(size=64).segment(encoded, colour_model(size=64).concept(target, box_mask(0, 0, 32, 32)))
    tiles = colour_model(tile=32).encode(target)
    with pytest.raises(ConfigError, match="another size, fit or tile"):
        model.match(tiles, model.concept(target), [[5, 5]])
    foreign = colour_model()
    foreign.encoder.weights_hash = "1" * 16
    with pytest.raises(ConfigError, match=r"was encoded with colours \(1111111111111111\), not this model"):
        model.segment(foreign.encode(target), red)
    assert torch.equal(encoded.tokens, model.encode(target).tokens)
