"""The preset "plus": smoothing on the graph of a target's own patches."""

import numpy as np
import pytest
import torch
from torch import Tensor

import oracles
from insid3.stages import chunked
from insid3.stages.plus.smooth import Graph, neighbour_graph, smooth


def unit(*shape: int, seed: int = 0) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def dense(graph: Graph, n: int) -> np.ndarray:
    matrix = np.zeros((n, n))
    matrix[graph.start, graph.end] = graph.weight
    return matrix


@pytest.mark.parametrize("neighbours", [3, 20, 100])
def test_graph_equals_the_equations(neighbours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = unit(60, 8)
    expected = oracles.neighbour_graph(tokens.double().numpy(), min(neighbours, 59))
    assert (expected > 0).any()
    np.testing.assert_allclose(dense(neighbour_graph(tokens, neighbours), 60), expected, atol=1e-5)
    monkeypatch.setattr(chunked, "NUMBERS", 60 * 7)  # in blocks of seven rows
    np.testing.assert_allclose(dense(neighbour_graph(tokens, neighbours), 60), expected, atol=1e-5)


def test_equal_patches_are_neighbours_but_not_of_themselves() -> None:
    """A patch has more copies than neighbours."""
    graph = neighbour_graph(unit(1, 8).expand(50, 8).contiguous(), 5)
    assert not (graph.start == graph.end).any()
    assert torch.isfinite(graph.weight).all()


def test_one_patch_has_no_neighbours() -> None:
    graph = neighbour_graph(unit(1, 8))
    assert len(graph.start) == 0
    assert smooth(torch.ones(1), graph, 4.0).tolist() == [1]


@pytest.mark.parametrize("strength", [0.5, 4.0, 100.0])
def test_smoothing_solves_its_equation(strength: float) -> None:
    tokens, values = unit(80, 8), torch.rand(80, generator=torch.Generator().manual_seed(1))
    graph = neighbour_graph(tokens, 10)
    expected = oracles.smooth(values.double().numpy(), dense(graph, 80), strength)
    np.testing.assert_allclose(smooth(values, graph, strength), expected, atol=2e-5)


def test_an_odd_patch_out_follows_its_likes_and_islands_stay_apart() -> None:
    """One patch of the first of two groups has the value of the second."""
    groups = torch.cat([torch.tensor([[1.0, 0, 0]]).expand(10, 3), torch.tensor([[0, 1.0, 0]]).expand(10, 3)])
    tokens = torch.nn.functional.normalize(groups + 0.01 * unit(20, 3), dim=-1)
    values = torch.cat([torch.full((10,), 0.9), torch.full((10,), 0.1)])
    values[3] = 0.45
    found = smooth(values, neighbour_graph(tokens, 8), 4.0)
    assert found[3] > 0.7
    assert found[:10].min() > 0.7
    assert found[10:].max() < 0.11


def test_flat_values_stay() -> None:
    graph = neighbour_graph(unit(30, 8), 5)
    torch.testing.assert_close(smooth(torch.full((30,), 0.3), graph, 8.0), torch.full((30,), 0.3), atol=1e-5, rtol=0)
