"""The cached encoder: equal tokens, fewer computations, bounded memory."""

import pytest
import torch

from insid3 import INSID3, Config
from insid3.eval.cached_encoder import CachedEncoder
from insid3.types import Encoder
from stubs import ColourEncoder, box_mask, scene

PICTURE = 8 * 8 * 8 * 4  # bytes of one picture's tokens


def pictures(count: int) -> list[torch.Tensor]:
    return [torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in range(count)]


def test_equal_pixels_are_encoded_once() -> None:
    kept = CachedEncoder(ColourEncoder(), 10 * PICTURE)
    assert isinstance(kept, Encoder)
    first, second = pictures(2)
    (tokens,) = kept(first)
    assert torch.equal(kept(first.clone())[0], tokens)
    assert torch.equal(tokens, ColourEncoder()(first)[0])
    kept(second)
    assert (kept.computed, kept.size) == (2, 2 * PICTURE)
    assert len(kept(first, (0, 1))) == 2  # other layers are another question
    assert kept.computed == 3


def test_the_longest_unused_goes_first() -> None:
    kept = CachedEncoder(ColourEncoder(), 2 * PICTURE)
    a, b, c = pictures(3)
    for picture in (a, b, a, c):  # c takes the place of b
        kept(picture)
        assert kept.size <= 2 * PICTURE
    kept(a)
    assert kept.computed == 3
    kept(b)
    assert kept.computed == 4


@pytest.mark.parametrize("budget", [0, PICTURE - 1])
def test_nothing_is_kept_that_does_not_fit(budget: int) -> None:
    kept = CachedEncoder(ColourEncoder(), budget)
    (picture,) = pictures(1)
    assert torch.equal(kept(picture)[0], kept(picture)[0])
    assert (kept.computed, kept.size) == (2, 0)


def test_a_model_gives_the_same_masks(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSID3_CACHE", str(tmp_path))
    encoder, config = ColourEncoder(), Config(size=32, rank=2, tau=0.9)
    plain, keeping = INSID3(ColourEncoder(), config), INSID3(CachedEncoder(encoder, 2**20), config)
    box, target = (16, 16, 48, 48), scene((0, 0, 32, 32))
    masks = [m.segment(target, m.concept(scene(box), box_mask(*box))).mask for m in (plain, keeping, keeping)]
    assert (masks[0] == masks[1]).all()
    assert (masks[1] == masks[2]).all()
    assert encoder.calls <= 3  # reference, target, basis
