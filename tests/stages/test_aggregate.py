"""Stage 5: scores of clusters, and which of them make the mask."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from insid3.methods.ablations import cross_alone, seed_alone
from insid3.stages.aggregate import cluster_scores, margins

LABELS = torch.tensor([0, 0, 1, 1, 1, 1, 2])
MEANS = torch.tensor([[1, 0], [0.5, 0.75**0.5], [0, 1]])
FORWARD = torch.tensor([0.4, 0.6, 0.1, 0.3, 0.5, 0.7, -0.2])
CANDIDATES = torch.tensor([1, 0, 0, 0, 0, 1, 0]).bool()


@pytest.mark.parametrize(
    ("seed", "expected"),
    [  # cross 0.5, 0.4, -0.2; area 1/2, 1/4, 0 and 1 for the seed; means at 0, 60 and 90 degrees
        (0, [0.5, 0.4 * 0.5 / 4, 0]),
        (1, [0.5 * 0.5 / 2, 0.4, 0]),
        (2, [0, 0.4 * 0.75**0.5 / 4, -0.2]),
    ],
)
def test_scores_by_hand(seed: int, expected: list[float]) -> None:
    assert cluster_scores(MEANS, FORWARD, LABELS, CANDIDATES, seed).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("seed", "expected"), [(0, [0.5, 0.1, 0]), (1, [0.25, 0.4, 0]), (2, [0.25, 0.1, -0.2])])
def test_scores_without_intra_by_hand(seed: int, expected: list[float]) -> None:
    scores = cluster_scores(MEANS, FORWARD, LABELS, CANDIDATES, seed, cross_alone)
    assert scores.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [-2.0, 0.0, 0.2, 1.0, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_seed_alone_whatever_the_threshold(seed: int, threshold: float) -> None:
    scores = seed_alone(MEANS, FORWARD, LABELS, CANDIDATES, seed)
    expected = [1 if k == seed else -1 for k in range(3)]
    assert margins(scores, seed, threshold, False).tolist() == expected


@pytest.mark.parametrize(
    ("threshold", "keep_seed", "expected"),
    [
        (0.2, False, [1, 0, 1]),  # 0.25 is strictly above 0.2
        (0.25, False, [0, 0, 1]),  # and not above itself
        (0.5, False, [0, 0, 0]),  # the published code drops the seed as well
        (0.5, True, [0, 1, 0]),
        (-1.0, False, [1, 1, 1]),
        (0.0, False, [1, 1, 1]),
    ],
)
def test_kept_by_hand(threshold: float, keep_seed: bool, expected: list[int]) -> None:
    found = margins(torch.tensor([0.25, 0.125, 0.5]), 1, threshold, keep_seed)
    assert (found > 0).int().tolist() == expected


def test_margins_are_in_units_of_the_threshold_and_cut() -> None:
    found = margins(torch.tensor([0.25, 0.1, 0.9, -0.9]), 1, 0.2, False)
    assert found.tolist() == pytest.approx([0.25, -0.5, 1, -1])


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(0, 12))
def test_parity_and_permutation(seed: int, k: int, more: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    means = torch.nn.functional.normalize(torch.randn(k, 5, generator=generator), dim=-1)
    labels = torch.cat([torch.arange(k), torch.randint(k, (more,), generator=generator)])
    forward = torch.rand(len(labels), generator=generator) * 2 - 1
    candidates = torch.rand(len(labels), generator=generator) < 0.5
    scores = cluster_scores(means, forward, labels, candidates, seed % k)
    expected = oracles.cluster_scores(
        means.double().numpy(), forward.double().numpy(), labels.tolist(), candidates.tolist(), seed % k
    )
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    order = torch.randperm(len(labels), generator=generator)
    moved = cluster_scores(means, forward[order], labels[order], candidates[order], seed % k)
    torch.testing.assert_close(moved, scores)
