"""The score of a mask: a table case by hand, its bounds, and what it must order."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from insid3 import blocks
from insid3.stages.score import score

CONCEPT = torch.tensor([1.0, 0.0])
TARGET = torch.tensor([[0.8, 0.6], [0.8, -0.6], [0.0, 1.0]])
KEPT = torch.tensor([True, True, False])
REFERENCE = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [[0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]]])
MASKS = torch.tensor([[True, False, False], [True, True, False]])


def test_by_hand() -> None:
    # The kept mean is (0.8, 0): q = (1, 0), likeness 1. Nearest kept patch of shot 1's (1, 0): 0.8; of shot 2's
    # (0.6, 0.8): 0.48 + 0.48 = 0.96, of its (0, 1): 0.6. Coverage (0.8 + (0.96 + 0.6) / 2) / 2 = 0.79.
    assert score(CONCEPT, TARGET, KEPT, REFERENCE, MASKS) == pytest.approx(0.79**0.5, abs=1e-6)


def test_likeness_by_hand() -> None:
    # Kept (0.8, 0.6): likeness 0.8. Shot 1: 0.8; shot 2: (0.96 + 0.6) / 2. sqrt(0.8 * 0.79).
    kept = torch.tensor([True, False, False])
    assert score(CONCEPT, TARGET, kept, REFERENCE, MASKS) == pytest.approx(0.632**0.5, abs=1e-6)


def test_nothing_kept_is_zero() -> None:
    assert score(CONCEPT, TARGET, torch.zeros(3, dtype=torch.bool), REFERENCE, MASKS) == 0.0


def test_opposite_is_zero() -> None:
    assert score(-CONCEPT, TARGET, KEPT, -REFERENCE, MASKS) == 0.0


def test_the_reference_itself_beats_any_other_mask() -> None:
    tokens = F.normalize(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    mask = torch.arange(12) < 5
    concept = F.normalize(tokens[mask].mean(0), dim=0)
    assert score(concept, tokens, mask, tokens[None], mask[None]) == pytest.approx(1, abs=1e-6)
    assert score(concept, tokens, mask.roll(3), tokens[None], mask[None]) < 0.99


def test_a_mask_that_the_round_trip_misses_scores_lower() -> None:
    # Both masks have the mean g; the reference's patches find themselves only in the first.
    half = 0.5**0.5
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0], [half, half]])
    concept, reference, masks = target[2], target[None], torch.tensor([[True, True, False]])
    found, missed = torch.tensor([True, True, False]), torch.tensor([False, False, True])
    assert score(concept, target, found, reference, masks) == pytest.approx(1, abs=1e-6)
    assert score(concept, target, missed, reference, masks) == pytest.approx(half**0.5, abs=1e-6)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 9), c=st.integers(1, 4), shots=st.integers(1, 3))
def test_between_zero_and_one(seed: int, n: int, c: int, shots: int) -> None:
    random = torch.Generator().manual_seed(seed)
    tokens = F.normalize(torch.randn(shots + 1, n, c, generator=random), dim=-1)
    masks = torch.rand(shots, n, generator=random) < 0.5
    masks[:, 0] = True
    kept = torch.rand(n, generator=random) < 0.5
    concept = F.normalize(torch.randn(c, generator=random), dim=0)
    assert 0 <= score(concept, tokens[0], kept, tokens[1:], masks) <= 1


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score(CONCEPT, TARGET, KEPT, REFERENCE, MASKS)
    monkeypatch.setattr(blocks, "NUMBERS", 1)
    assert score(CONCEPT, TARGET, KEPT, REFERENCE, MASKS) == pytest.approx(whole, abs=1e-6)
