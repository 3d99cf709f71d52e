"""Stage 2: prototype, backward votes, candidates."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import oracles
from insid3.stages import chunked
from insid3.stages.localize import backward_votes, candidates, nearest, prototype

E = torch.eye(4)  # tokens by hand: unit vectors along the axes
NO_NEGATIVES = torch.zeros(0, 4)


def votes_of(target: Tensor, reference: Tensor, masks: Tensor, negatives: Tensor) -> Tensor:
    beaten = nearest(target, negatives).similarity if len(negatives) else None
    return backward_votes([nearest(target, shot) for shot in reference], masks, beaten)


def bools(text: str) -> Tensor:
    return torch.tensor([letter == "1" for letter in text])


def unit(*shape: int, seed: int = 0) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_prototype_weighs_shots_alike_and_normalises_last() -> None:
    """Shot one: mean of e0, e1. Shot two: e0. Their mean is (3/4, 1/4), not that of three tokens or of unit means."""
    reference = torch.stack([E[[0, 1, 2]], E[[2, 0, 3]]])
    found = prototype(reference, torch.stack([bools("110"), bools("010")]))
    torch.testing.assert_close(found, torch.tensor([0.75, 0.25, 0, 0]) / 0.625**0.5)


@pytest.mark.parametrize(
    ("masks", "negatives", "expected"),
    [  # targets e0, e1, -e3; shots (e0, e1, e2) and (e1, e2, e3)
        (("100", "000"), NO_NEGATIVES, [1, 0, 1]),  # -e3 is equally unlike e0, e1 and e2: the first one counts
        (("111", "011"), NO_NEGATIVES, [1, 1, 1]),  # in shot two the first one, e1, is the nearest of all three
        (("000", "111"), E[[3]], [1, 1, 1]),  # e0: a tie at 0 with the negative goes to the shot
        (("111", "111"), torch.tensor([[0.8, 0.6, 0, 0]]), [1, 2, 2]),  # 0.8 beats shot two's 0 at e0
        (("111", "111"), E[[0]], [1, 2, 2]),  # as like as shot one, liker than shot two
        (("111", "111"), -E[[3]], [2, 2, 0]),
    ],
)
def test_votes_by_hand(masks: tuple[str, str], negatives: Tensor, expected: list[int]) -> None:
    target, reference = torch.cat([E[:2], -E[[3]]]), torch.stack([E[[0, 1, 2]], E[[1, 2, 3]]])
    found = votes_of(target, reference, torch.stack([bools(mask) for mask in masks]), negatives)
    assert found.tolist() == expected


def test_opposite_tokens_still_vote() -> None:
    """Rounding takes similarities below -1; without negatives no similarity has to be reached."""
    tokens = unit(500, 64)
    assert min(float(token @ -token) for token in tokens) < -1
    for token in tokens:
        found = votes_of(token[None], -token[None, None], bools("1")[None], torch.zeros(0, 64))
        assert found.tolist() == [1]


@pytest.mark.parametrize(("shots", "needed"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_half_of_the_shots_must_vote(shots: int, needed: int) -> None:
    found = candidates(torch.ones(shots + 1), torch.arange(shots + 1), shots)
    assert found.tolist() == [votes >= needed for votes in range(shots + 1)]


@pytest.mark.parametrize(
    ("forward", "votes", "expected"),
    [
        ([0.5, 0.0, -0.1, 1e-6], [1, 1, 1, 1], [1, 0, 0, 1]),  # strictly above 0
        ([0.5, 0.0, -0.1, 1e-6], [0, 1, 1, 1], [0, 0, 0, 1]),  # the gate is open for others: no second chance
        ([-0.4, -0.2, -0.3, 0.0], [1, 1, 1, 1], [0, 0, 0, 1]),  # nothing passes: above the 0.9 quantile, -0.06
        ([-float(i) for i in range(1, 13)], [1] * 12, [1, 1] + [0] * 10),  # the 0.9 quantile of twelve is -2.1
        ([-0.1, -0.1, -0.1], [1, 1, 1], [0, 0, 0]),  # not above its own quantile
        ([-0.1], [1], [0]),
    ],
)
def test_candidates_by_hand(forward: list[float], votes: list[int], expected: list[int]) -> None:
    assert candidates(torch.tensor(forward), torch.tensor(votes), 1).int().tolist() == expected


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 9), st.integers(0, 3), st.booleans())
def test_parity(seed: int, shots: int, n: int, negatives: int, opposite: bool) -> None:
    target, reference, others = unit(n, 5, seed=seed), unit(shots, n, 5, seed=seed + 1), unit(negatives, 5, seed=seed)
    masks = torch.rand(shots, n, generator=torch.Generator().manual_seed(seed)) < 0.5
    masks[:, seed % n] = True
    g = prototype(reference, masks)
    np.testing.assert_allclose(g, oracles.prototype(reference.double().numpy(), masks.numpy()), atol=1e-6)
    forward = -(target @ g).abs() if opposite else target @ g
    found = votes_of(target, reference, masks, others)
    expected = oracles.votes(target.numpy(), reference.numpy(), masks.numpy(), others.numpy())
    assert found.tolist() == expected
    assert candidates(forward, found, shots).tolist() == oracles.candidates(forward.double().numpy(), expected, shots)


def test_permuting_patches_permutes_votes_and_reference_order_does_not_matter() -> None:
    target, reference, others = unit(30, 6), unit(2, 30, 6, seed=1), unit(3, 6, seed=2)
    masks = torch.arange(60).view(2, 30) % 3 > 0
    order, other_order = unit(30, 2, seed=3).argsort(0).T
    votes = votes_of(target, reference, masks, others)
    moved = votes_of(target[order], reference[:, other_order], masks[:, other_order], others)
    assert moved.equal(votes[order])
    assert votes.unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("block", [1, 50, 10**9])
def test_blocks_do_not_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, keys = unit(23, 6), unit(17, 6, seed=1)
    whole = queries @ keys.T
    monkeypatch.setattr(chunked, "NUMBERS", block)
    found = nearest(queries, keys)
    assert found.index.equal(whole.argmax(1))
    assert found.back.equal(whole.argmax(0))
    torch.testing.assert_close(found.similarity, whole.amax(1))


@pytest.mark.parametrize("block", [1, 10**9])
def test_the_first_of_equals_is_nearest_both_ways(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "NUMBERS", block)
    found = nearest(E[[1, 0, 0]], E[[0, 0, 3]])
    assert found.index.tolist() == [0, 0, 0]  # e1 resembles none of e0, e0, e3
    assert found.back.tolist() == [1, 1, 0]
