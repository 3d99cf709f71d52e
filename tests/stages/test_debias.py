"""Stage 1: the positional subspace and its removal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insid3.stages.debias import debias, positional_directions


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_directions_by_hand() -> None:
    """Four tokens around (0, 0, 5) that vary by 3 along the first axis and by 1 along the second."""
    tokens = torch.tensor([[3.0, 0, 5], [-3, 0, 5], [0, 1, 5], [0, -1, 5]])
    directions = positional_directions(tokens)
    torch.testing.assert_close(directions[:, :2].abs(), torch.eye(3)[:, :2])  # the mean (0, 0, 5) is no direction


@pytest.mark.parametrize(
    ("axes", "expected"),
    [([], [0.48, 0.6, 0.64]), ([0], [0, 0.6839411, 0.7295372]), ([0, 1], [0, 0, 1.0]), ([2], [0.624695, 0.780869, 0])],
)
def test_debias_by_hand(axes: list[int], expected: list[float]) -> None:
    found = debias(torch.tensor([[0.48, 0.6, 0.64]]), torch.eye(3)[:, axes])
    torch.testing.assert_close(found, torch.tensor([expected]))


@given(st.integers(0, 2**32), st.integers(0, 6), st.integers(2, 20))
def test_debiased_tokens_are_unit_and_orthogonal_to_the_basis(seed: int, rank: int, n: int) -> None:
    basis = positional_directions(random(40, 10, seed=seed))[:, :rank]
    torch.testing.assert_close(basis.T @ basis, torch.eye(rank), atol=1e-5, rtol=0)
    tokens = debias(random(2, n, 10, seed=seed + 1), basis)
    assert (tokens @ basis).abs().amax((0, 1)).tolist() == pytest.approx([0] * rank, abs=1e-5)
    torch.testing.assert_close(tokens.norm(dim=-1), torch.ones(2, n))
    torch.testing.assert_close(debias(tokens, basis), tokens, atol=1e-4, rtol=0)  # nothing is left to remove


def test_directions_are_the_eigenvectors_of_the_covariance() -> None:
    tokens = random(50, 12)
    x = tokens.double().numpy()
    _, vectors = np.linalg.eigh((x - x.mean(0)).T @ (x - x.mean(0)))  # ascending
    for rank in (1, 4, 12):
        ours, theirs = positional_directions(tokens)[:, :rank].numpy(), vectors[:, -rank:]
        np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-5)
