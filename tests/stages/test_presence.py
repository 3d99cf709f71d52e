"""The score of a mask: a table case by hand, its bounds, and what it must order."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from insid3.stages.localize import nearest
from insid3.stages.presence import affinity, kinship, plainness, presence, round_trip
from insid3.types import Nearest

# Four target patches, two shots of three patches.
SIMILARITY = torch.tensor([[0.8, 0.6, 0.9, 0.2], [0.5, 0.7, -0.4, 0.2]])
MATCHES = [
    Nearest(SIMILARITY[0], torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 2])),
    Nearest(SIMILARITY[1], torch.tensor([2, 0, 0, 1]), torch.tensor([1, 3, 0])),
]
MASKS = [torch.tensor([True, True, False]), torch.tensor([True, False, False])]
TARGET = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0.6, 0.8], [-1, 0, 0]])
KEPT = torch.tensor([True, True, False, False])


def bools(text: str) -> Tensor:
    return torch.tensor([letter == "1" for letter in text])


@pytest.mark.parametrize(
    ("patches", "expected"),
    [
        ("1100", (0.8 + 0.7) / 2),  # patch 1 lies under both masks: the better shot counts
        ("0010", 0.0),  # under the second mask alone, with a similarity below 0
        ("0001", 0.2),
        ("0000", 0.0),
    ],
)
def test_affinity_by_hand(patches: str, expected: float) -> None:
    assert affinity(bools(patches), MATCHES, MASKS) == pytest.approx(expected)


def test_round_trip_by_hand() -> None:
    # Shot 1: patches 0, 1 come home, the mask is 0, 1. Shot 2: 0 (by 1) and 2 (by 0) come home, the mask is 0.
    assert round_trip(KEPT, MATCHES, MASKS) == pytest.approx((1 + 1 / 2) / 2)
    assert round_trip(~KEPT, MATCHES, MASKS) == pytest.approx(0)


def test_plainness_by_hand() -> None:
    # Backgrounds: e1 alone, |e1|^2 = 1; (e0 + e1) / 2, half; a reference without background counts as the worst.
    e0, e1 = torch.eye(2)
    shots, masks = [torch.stack([e0, e1]), torch.stack([e0, e0, e1])], [bools("10"), bools("100")]
    assert plainness(shots, masks) == pytest.approx((1 + 0.5) / 2)
    assert plainness([shots[0]], [bools("11")]) == 0


def test_kinship_by_hand() -> None:
    # The target's mean is (1, 0.6, 0.8) / 4. Shot 1 marks e0 and e1, (1 + 0.6) / 2 / 4; shot 2 marks e0, 1 / 4.
    assert kinship(TARGET, [torch.eye(3)] * 2, MASKS) == pytest.approx((0.2 + 0.25) / 2)
    assert kinship(-TARGET, [torch.eye(3)] * 2, MASKS) == 0


def test_the_score_is_their_weighted_mean() -> None:
    shots = [torch.eye(3)] * 2  # plainness 1 and (1/4 + 1/4)
    found = presence(KEPT, bools("1101"), MATCHES, shots, MASKS, TARGET)
    assert found == pytest.approx((0.75 + 0.25 * 0.75 + 0.1 * 0.75) / 1.35)
    assert presence(KEPT, bools("0011"), MATCHES, shots, MASKS, TARGET) == pytest.approx(
        (0.25 * 0.75 + 0.1 * 0.75) / 1.35
    )
    by_field = presence(KEPT, bools("1101"), MATCHES, shots, MASKS, TARGET, "field")
    assert by_field == pytest.approx((0.75 + 0.25 * 0.75 + 0.25 * 0.225) / 1.5)


def test_nothing_kept_is_zero() -> None:
    assert presence(bools("0000"), bools("1111"), MATCHES, [torch.eye(3)] * 2, MASKS, TARGET) == 0.0


def test_the_reference_itself_beats_any_other_mask() -> None:
    tokens = F.normalize(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    mask, everything = torch.arange(12) < 5, torch.ones(12, dtype=torch.bool)
    found, shift = nearest(tokens, tokens), mask.roll(3)
    assert affinity(mask, [found], [mask]) == pytest.approx(1, abs=1e-6)
    assert round_trip(mask, [found], [mask]) == 1
    best = presence(mask, everything, [found], [tokens], [mask], tokens)
    assert best > presence(shift, everything, [found], [tokens], [mask], tokens) + 0.2


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 9), c=st.integers(1, 4), shots=st.integers(1, 3))
def test_between_zero_and_one(seed: int, n: int, c: int, shots: int) -> None:
    random = torch.Generator().manual_seed(seed)
    tokens = F.normalize(torch.randn(shots + 1, n, c, generator=random), dim=-1)
    masks = torch.rand(shots, n, generator=random) < 0.5
    masks[:, 0] = True
    kept, candidate = torch.rand(2, n, generator=random) < 0.5
    matches = [nearest(tokens[0], shot) for shot in tokens[1:]]
    for rule in ("clusters", "field"):
        assert 0 <= presence(kept, candidate, matches, list(tokens[1:]), list(masks), tokens[0], rule) <= 1
