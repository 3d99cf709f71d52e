"""The cache of what follows from tokens: computed once, and gone with the tokens."""

import gc
import weakref

import pytest
import torch
from torch import Tensor

from insid3 import INSID3, Config
from insid3.features.cache import FeatureCache
from stubs import ColourEncoder, box_mask, scene

BOX = (16, 16, 48, 48)


@pytest.fixture
def cache(model: INSID3) -> FeatureCache:
    return model.cache


class Counted:
    """A function of tokens that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *arguments: object) -> object:
        self.calls += 1
        return object()


def test_once_for_the_same_arguments(cache: FeatureCache) -> None:
    function, tokens, others = Counted(), torch.ones(3, 2), torch.ones(3, 2)
    first = cache.once(function, tokens, 0.5)
    assert cache.once(function, tokens, 0.5) is first
    for arguments in ((tokens, 0.6), (others, 0.5), (tokens, others), (others, tokens), (tokens,), ([tokens, others],)):
        assert cache.once(function, *arguments) is not first
        assert cache.once(function, *arguments) is cache.once(function, *arguments)
    assert function.calls == 7
    assert cache.once(Counted(), tokens, 0.5) is not first


@pytest.mark.parametrize("dies", [0, 1])
def test_results_go_with_any_of_their_tokens(cache: FeatureCache, dies: int) -> None:
    both = [torch.ones(3, 2), torch.ones(3, 2)]
    found = weakref.ref(cache.once(Held, *both))
    assert found() is not None
    del both[dies]
    gc.collect()
    assert found() is None


class Held:
    """A result that can be watched."""

    def __init__(self, *tokens: Tensor) -> None:
        self.sum = sum(float(one.sum()) for one in tokens)


def test_what_comes_back_as_it_was_is_not_kept_alive(cache: FeatureCache) -> None:
    tokens = torch.ones(3, 2)
    assert cache.once(Tensor.to, tokens, torch.device("cpu")) is tokens
    alive = weakref.ref(tokens)
    del tokens
    gc.collect()
    assert alive() is None


def test_forgotten_tokens_are_computed_again(cache: FeatureCache) -> None:
    gone, kept, tokens = Counted(), Counted(), torch.ones(3, 2)
    for function in (gone, kept):
        cache.once(function, tokens, 1)
    cache.forget(tokens, but=kept)
    for function in (gone, kept):
        cache.once(function, tokens, 1)
    assert (gone.calls, kept.calls) == (2, 1)
    cache.forget(torch.ones(1))  # of which nothing is known


def test_concepts_of_equal_pictures_share_what_follows(model: INSID3, cache: FeatureCache) -> None:
    one, other = (model.concept(scene(BOX), box_mask(*box)) for box in (BOX, (16, 16, 48, 32)))
    different = model.concept(scene((0, 0, 32, 32)), box_mask(0, 0, 32, 32))
    first, second, third = (cache.shots(each, model.config).tokens[0] for each in (one, other, different))
    assert first is second
    assert third is not first


def test_models_of_one_encoder_share_a_cache(model: INSID3) -> None:
    other = model.but(threshold=0.5)
    assert other.cache is model.cache
    assert INSID3(model.encoder, model.config).cache is not model.cache


@pytest.mark.parametrize("rank", [0, 2])
def test_an_encoder_need_not_be_hashable(rank: int) -> None:
    class Plain(ColourEncoder):
        __hash__ = None  # type: ignore[assignment]  # as a dataclass has none

    model = INSID3(Plain(), Config(size=32, rank=rank, tau=0.9))
    found = model.segment(scene(BOX), model.concept(scene(BOX), box_mask(*BOX)))
    assert found.mask.any()
    assert model.cache.basis(model.config) is model.cache.basis(model.config)
