"""Stage 3: average-linkage clustering, always compared as partitions."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.cluster import AgglomerativeClustering
from torch import Tensor

import insid3.stages.cluster as module
import oracles
from insid3.stages.cluster import cluster, cluster_means

partition = oracles.partition


def at(*degrees: float) -> Tensor:
    """Return unit tokens in the plane, whose similarity is the cosine of the angle between them."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)


def grouped(seed: int, n: int, c: int = 6, spread: float = 0.5) -> Tensor:
    """Return tokens around a few centres."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(1 + n // 4, c, generator=generator)
    noise = torch.randn(n, c, generator=generator)
    picks = torch.randint(len(centres), (n,), generator=generator)
    return torch.nn.functional.normalize(centres[picks] + spread * noise, dim=-1)


@pytest.mark.parametrize(
    ("tokens", "tau", "expected"),
    [
        (at(0), 0.7, [0]),
        (at(0, 10, 90, 100), 0.7, [0, 0, 1, 1]),
        (at(90, 0, 100, 10), 0.7, [0, 1, 0, 1]),  # numbered by first patch
        (at(180, 0, 90), 0.7, [0, 1, 2]),
        # 0 and 38 merge (0.79); to 80 their mean similarity is (0.17 + 0.74) / 2 = 0.46: average, not single ...
        (at(0, 38, 80), 0.7, [0, 0, 1]),
        (at(0, 38, 80), 0.45, [0, 0, 0]),  # ... and not complete linkage
        # the mean of pairs, not the cosine of mean tokens: cos 0 and cos 90 make 0.5, the angle of means 0.71
        (at(0, 0, 0, 90), 0.4, [0, 0, 0, 1]),
        (at(-20, 20, 70), 0.5, [0, 0, 1]),  # pairs: (0 + 0.64) / 2 = 0.32; means: 0.34 x 0.94
        (at(0, 180), -1, [0, 1]),
        (at(0, 90, 180), -0.9, [0, 0, 0]),
    ],
)
def test_by_hand(tokens: Tensor, tau: float, expected: list[int]) -> None:
    assert cluster(tokens, float(tau)).tolist() == expected


@pytest.mark.parametrize(
    ("tau", "expected"), [(0.5, [0, 1]), (float(np.nextafter(np.float32(0.5), np.float32(0))), [0, 0])]
)
def test_a_pair_exactly_at_tau_does_not_merge(tau: float, expected: list[int]) -> None:
    assert cluster(torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]]), tau).tolist() == expected


@pytest.mark.parametrize("tau", [-1.0, 0.0, 0.6, 0.99])
def test_identical_tokens_are_one_cluster(tau: float) -> None:
    assert cluster(grouped(0, 1).expand(20, -1), tau).tolist() == [0] * 20


@pytest.mark.parametrize("stored", [2048, 0])
@pytest.mark.parametrize("noise", [0, 1e-8, 1e-7, 1e-6, 1e-5])
def test_equal_tokens_take_few_rounds(noise: float, stored: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a flat picture all tokens have the same nearest neighbour; one merge a round would be slow."""
    monkeypatch.setattr(module, "_STORED", stored)
    rounds = []
    for name in ("_pairs", "_nearest_other", "_similarities"):

        def counted(*given: Any, whole: Callable[..., Any] = getattr(module, name)) -> Any:
            rounds.append(whole)
            return whole(*given)

        monkeypatch.setattr(module, name, counted)
    generator = torch.Generator().manual_seed(0)
    flat = grouped(0, 3, c=64).repeat_interleave(torch.tensor([500, 1, 300]), 0)
    tokens = torch.nn.functional.normalize(flat + noise * torch.randn(801, 64, generator=generator), dim=-1)
    assert partition(cluster(tokens, 0.9)) == partition([0] * 500 + [1] + [2] * 300)
    assert len(rounds) <= 30


@given(st.integers(0, 2**32), st.lists(st.integers(0, 9), min_size=1, max_size=25), st.floats(-0.5, 0.95))
def test_both_paths_agree_with_one_merge_at_a_time_also_on_repeated_tokens(
    seed: int, picks: list[int], tau: float
) -> None:
    tokens = grouped(seed, 10, spread=1.0)[picks]
    expected, closest_call = oracles.upgma(tokens.double().numpy(), tau, start=picks)
    assume(closest_call > 1e-6)
    for stored in (2048, 6, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_STORED", stored)
            assert cluster(tokens, tau).tolist() == expected


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tau", [-1.0, 0.3, 0.6, 0.8])
def test_both_paths_agree(seed: int, tau: float, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = torch.cat([grouped(seed, 600, c=16), grouped(seed, 100, c=16)])  # with repetitions
    stored = cluster(tokens, tau)
    for limit in (100, 0):
        monkeypatch.setattr(module, "_STORED", limit)
        assert cluster(tokens, tau).equal(stored)


@given(
    arrays(np.int8, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(-2, 2)),
    st.sampled_from([-0.5, 0.0, 0.5, 0.7, 0.9]),
    st.sampled_from([2048, 0]),
)
def test_exact_ties_end_and_leave_nothing_to_merge(grid: np.ndarray, tau: float, stored: int) -> None:
    """Small whole numbers often tie. Which of equal pairs merges first is free; that none is left at the end is not."""
    grid[(grid == 0).all(1), 0] = 1
    tokens = oracles.unit(grid.astype(np.float64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_STORED", stored)
        labels = cluster(torch.from_numpy(tokens).float(), tau).numpy()
    assert list(dict.fromkeys(labels.tolist())) == list(range(labels.max() + 1))  # numbered by first patch
    similarity = tokens @ tokens.T
    for k in range(labels.max() + 1):
        inside = labels == k
        pairs = similarity[np.ix_(inside, inside)][np.triu_indices(inside.sum(), 1)]
        assert not len(pairs) or pairs.mean() > tau - 1e-5  # each pair was once part of a mean above tau
        for other in range(k):
            assert similarity[np.ix_(inside, labels == other)].mean() <= tau + 1e-5


@given(st.integers(0, 2**32), st.integers(1, 14), st.floats(-0.5, 0.95), st.floats(0.1, 1.5))
def test_parity_with_one_merge_at_a_time(seed: int, n: int, tau: float, spread: float) -> None:
    tokens = grouped(seed, n, spread=spread)
    expected, closest_call = oracles.upgma(tokens.double().numpy(), tau)
    assume(closest_call > 1e-6)
    assert cluster(tokens, tau).tolist() == expected


def test_parity_with_one_merge_at_a_time_on_more_tokens() -> None:
    tokens = grouped(3, 48)
    expected, closest_call = oracles.upgma(tokens.double().numpy(), 0.6)
    assert closest_call > 1e-6
    assert 5 < max(expected) < 40
    assert cluster(tokens, 0.6).tolist() == expected


@pytest.mark.parity
@pytest.mark.parametrize(
    ("case", "tau"), [*(("one_shot_cat", tau) for tau in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)), ("one_shot_cat_518", 0.7)]
)
def test_parity_with_scikit_learn_on_real_features(shared: Path, case: str, tau: float) -> None:
    with np.load(shared / "golden" / f"{case}.npz") as golden:
        tokens = oracles.unit(golden["features"][-1].reshape(384, -1).T)
    expected = AgglomerativeClustering(
        metric="precomputed", linkage="average", distance_threshold=1 - tau, n_clusters=None
    ).fit_predict(1 - tokens.astype(np.float64) @ tokens.astype(np.float64).T)
    assert partition(cluster(torch.from_numpy(tokens.copy()), tau)) == partition(expected)


@pytest.mark.parametrize("seed", range(5))
def test_permuting_patches_permutes_the_partition(seed: int) -> None:
    tokens = grouped(seed, 200)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(seed))
    labels = cluster(tokens, 0.6)
    assert 5 < labels.max() < 150
    assert partition(cluster(tokens[order], 0.6)) == partition(labels[order])


def test_lower_tau_only_merges() -> None:
    """Cutting one dendrogram at several heights gives nested partitions."""
    tokens = grouped(0, 150)
    fine = cluster(tokens, 0.9)
    for tau in (0.7, 0.5, 0.2):
        coarse = cluster(tokens, tau)
        assert coarse.max() < fine.max()
        assert all(len(coarse[fine == k].unique()) == 1 for k in fine.unique())
        fine = coarse


@pytest.mark.parametrize("stored", [2048, 0])
@pytest.mark.parametrize("block", [1, 300])
def test_blocks_do_not_matter(block: int, stored: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = grouped(0, 120)
    whole = cluster(tokens, 0.6)
    monkeypatch.setattr(module, "_BLOCK", block)
    monkeypatch.setattr(module, "_STORED", stored)
    assert cluster(tokens, 0.6).equal(whole)


@pytest.mark.parametrize("block", [2**22, 500, 1])
@pytest.mark.parametrize("picks", [range(40), range(0, 40, 3), [39], [5, 6, 30]])
def test_nearest_other_takes_the_lowest_of_equals(
    picks: list[int], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products of small whole numbers are exact, and most of them tie."""
    monkeypatch.setattr(module, "_BLOCK", block)
    means = torch.randint(-1, 2, (40, 3), generator=torch.Generator().manual_seed(1)).float()
    similarity = (means @ means.T).fill_diagonal_(-9)
    best, near = module._nearest_other(means, torch.tensor(list(picks)))
    assert best.equal(similarity.amax(1)[list(picks)])
    assert near.tolist() == [row.tolist().index(row.max()) for row in similarity[list(picks)]]


@pytest.mark.parametrize("stored", [2048, 0])
def test_one_and_two_tokens(stored: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STORED", stored)
    assert cluster(at(3), -1.0).tolist() == [0]
    assert cluster(at(0, 60), 0.4).tolist() == [0, 0]
    assert cluster(at(0, 60), 0.6).tolist() == [0, 1]
    assert cluster(at(3, 3), 0.99).tolist() == [0, 0]
    assert cluster(at(3, 3), 1.0).tolist() == [0, 1]


def test_memory_stays_far_below_all_pairs() -> None:
    """14,000 tokens: all similarities would take 784 MB, the tokens take 0.9 MB, and a block 16 MB."""
    code = """
import resource, torch
from insid3.stages.cluster import cluster
tokens = torch.nn.functional.normalize(torch.randn(14_000, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
cluster(tokens[:3000], 0.6)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
cluster(tokens, 0.6)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 100e6


def test_a_round_without_a_mutual_pair_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding may differ between a pair's two directions; here the next cluster is each one's nearest."""

    def ring(means: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((len(rows),), 0.9), (rows + 1) % len(means)

    monkeypatch.setattr(module, "_STORED", 0)
    monkeypatch.setattr(module, "_nearest_other", ring)
    assert cluster(grouped(0, 7), 0.8).tolist() == [0] * 7
    assert cluster(grouped(0, 7), 0.9).tolist() == list(range(7))


def test_input_is_left_alone() -> None:
    tokens = grouped(0, 30)
    before = tokens.clone()
    cluster(tokens, 0.5)
    assert tokens.equal(before)


def test_cluster_means() -> None:
    found = cluster_means(at(0, 90, 200, 90), torch.tensor([0, 0, 1, 0]))
    expected = [[1 / math.sqrt(5), 2 / math.sqrt(5)], [math.cos(math.radians(200)), math.sin(math.radians(200))]]
    torch.testing.assert_close(found, torch.tensor(expected))
    tokens, labels = grouped(0, 40), torch.arange(40) % 7
    np.testing.assert_allclose(
        cluster_means(tokens, labels), oracles.means(tokens.double().numpy(), labels.tolist()), atol=1e-6
    )
