"""k-means in the place of stage 3."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from insid3.stages.kmeans import kmeans


def unit(n: int, c: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, c, generator=torch.Generator().manual_seed(seed)), dim=-1)


def objective(tokens: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the mean similarity of tokens to their cluster's normalised mean: the mean length of clusters' sums."""
    sums = torch.zeros(len(tokens), tokens.shape[1]).index_add_(0, labels, tokens)
    return float(sums.norm(dim=1).sum() / len(tokens))


def test_by_hand() -> None:
    degrees = torch.tensor([0.0, 90, 5, 85, 180, 2])
    tokens = torch.stack([degrees.deg2rad().cos(), degrees.deg2rad().sin()], -1)
    assert kmeans(tokens, 3).tolist() == [0, 1, 0, 1, 2, 0]
    assert kmeans(tokens, 1).tolist() == [0] * 6
    assert kmeans(tokens, 6).tolist() == kmeans(tokens, 60).tolist() == [0, 1, 2, 3, 4, 5]


def test_equal_tokens_are_one_cluster() -> None:
    assert kmeans(unit(1, 4, 0).expand(9, 4), 5).tolist() == [0] * 9


def test_as_many_clusters_as_patches_leave_every_patch_alone() -> None:
    assert kmeans(unit(1, 4, 0).expand(9, 4), 9).tolist() == list(range(9))


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 12))
def test_every_patch_is_with_the_most_similar_mean(seed: int, n: int, k: int) -> None:
    tokens = unit(n, 6, seed)
    labels = kmeans(tokens, k)
    count = int(labels.max()) + 1
    assert count <= min(k, n)
    means = torch.stack([tokens[labels == label].mean(0) for label in range(count)])
    similarity = tokens @ torch.nn.functional.normalize(means, dim=-1).T
    own = similarity.gather(1, labels[:, None])[:, 0]
    assert (own >= similarity.amax(1) - 1e-5).all()
    assert [labels.tolist().index(label) for label in range(count)] == sorted(
        labels.tolist().index(label) for label in range(count)
    )
    assert labels.equal(kmeans(tokens, k))


@given(st.integers(0, 2**32), st.integers(2, 12))
def test_the_mean_similarity_to_the_centres_never_falls(seed: int, k: int) -> None:
    tokens = unit(60, 6, seed)
    assert np.diff([objective(tokens, kmeans(tokens, k, seed, rounds)) for rounds in range(1, 12)]).min() >= -1e-6


@pytest.mark.parametrize("seed", range(3))
def test_separated_groups_as_scikit_learn(seed: int) -> None:
    centres = torch.linalg.qr(unit(8, 8, seed)).Q
    tokens = torch.nn.functional.normalize(centres.repeat(20, 1) + 0.05 * unit(160, 8, seed + 9), dim=-1)
    ours, theirs = kmeans(tokens, 8).numpy(), KMeans(8, n_init=10, random_state=0).fit_predict(tokens.numpy())
    assert len({*zip(ours.tolist(), theirs.tolist(), strict=True)}) == len(np.unique(theirs)) == 8
