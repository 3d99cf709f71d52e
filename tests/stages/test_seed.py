"""Stage 4: the seed cluster."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from insid3.stages.localize import seed_cluster

# three clusters of two patches; their prototypes are 0.9, 0.5 and -0.2 like the concept
LABELS = torch.tensor([0, 1, 2, 2, 1, 0])
PROTOTYPES = torch.tensor([[0.9, 0.19**0.5], [0.5, 0.75**0.5], [-0.2, 0.96**0.5]])


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([1, 1, 1, 1, 1, 1], 0),
        ([0, 0, 0, 0, 0, 1], 0),  # one candidate makes a cluster eligible
        ([0, 1, 1, 1, 1, 0], 1),  # the most similar one holds none
        ([0, 0, 1, 0, 0, 0], 2),  # below zero, but the only one
    ],
)
def test_by_hand(candidates: list[int], expected: int) -> None:
    assert seed_cluster(PROTOTYPES, torch.tensor([1.0, 0]), LABELS, torch.tensor(candidates).bool()) == expected


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(0, 10))
def test_parity_and_permutation(seed: int, k: int, more: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.nn.functional.normalize(torch.randn(k + 1, 5, generator=generator), dim=-1)
    concept = prototypes[-1]
    labels = torch.cat([torch.arange(k), torch.randint(k, (more,), generator=generator)])
    candidates = torch.rand(len(labels), generator=generator) < 0.4
    candidates[seed % len(labels)] = True
    found = seed_cluster(prototypes[:k], concept, labels, candidates)
    exact = prototypes.double().numpy()
    assert found == oracles.seed(exact[:k], exact[-1], labels.tolist(), candidates.tolist())
    order = torch.randperm(len(labels), generator=generator)
    assert seed_cluster(prototypes[:k], concept, labels[order], candidates[order]) == found
