"""A folder that helps itself: which targets become shots, for whom, and what that changes."""

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from insid3 import INSID3, Concept, ConfigError
from insid3.features.encoded import mask_patches
from insid3.stages.localize import backward_votes, candidates, prototype
from insid3.stages.plus.evidence_field import agreement
from insid3.stages.presence import presence
from insid3.transductive import POOL, SHOTS, Together, pooled
from stubs import ColourEncoder, box_mask, colour_model, scene

BOX = (16, 16, 48, 48)


@pytest.fixture(autouse=True)
def _small_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few pictures may help each other here."""
    monkeypatch.setattr("insid3.transductive.LEAST", 1)


def fades(count: int = 9) -> list[np.ndarray]:
    """The red thing turns white, step by step."""
    pictures = []
    for white in np.linspace(0, 1, count):
        picture = scene(BOX).astype(float)
        picture[16:48, 16:48] = (1 - white) * np.array([230, 20, 20]) + white * np.array([240, 240, 120])
        pictures.append(picture.astype(np.uint8))
    return pictures


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / (found | truth).sum())


def together(model: INSID3, concepts: list[Concept], pictures: list[np.ndarray]) -> Together:
    return Together.from_pool(model, concepts, ((i, model.encode(picture)) for i, picture in enumerate(pictures)))


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (64, 64), (65, 64), (1000, 64)])
def test_the_pool_is_bounded_and_evenly_spread(count: int, expected: int) -> None:
    found = pooled(range(count))
    assert len(found) == expected <= POOL
    assert found == sorted(set(found))
    assert {b - a for a, b in pairwise(found)} <= {count // POOL, -(-count // POOL), 1}


@pytest.mark.parametrize("preset", ["published", "plus"])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_only_what_leads_back_to_the_example_is_a_shot(preset: str, fit: str) -> None:
    model = colour_model(preset, fit=fit)
    size = (48, 64)
    red = model.concept(scene((8, 16, 40, 48), size=size), box_mask(8, 16, 40, 48, size=size))
    good = scene((0, 0, 32, 32), size=(64, 40))
    absent, everything = scene(), scene((0, 0, 64, 64))
    found = together(model, [red], [good, absent, everything]).helpers
    assert [each.found[0] is not None for each in found.values()] == [True, False, False]
    shot = found[0].found[0]
    assert shot is not None
    whole = model.segment(good, red).mask
    assert torch.equal(shot.patches, mask_patches(whole, model.config, model.encoder))
    assert max(shot.mask.shape) == model.config.size


def test_a_mask_of_something_else_is_no_shot(model: INSID3, red: Concept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model marks the background of one target: what that shows is not where the example's mask is."""
    wrong, segment = scene((0, 0, 32, 32)), INSID3.segment
    encoded = {"right": model.encode(scene(BOX)), "wrong": model.encode(wrong)}

    def mistaken(self: INSID3, target: object, concept: Concept) -> object:
        found = segment(self, target, concept)  # type: ignore[arg-type]
        return replace(found, mask=~found.mask) if target is encoded["wrong"] else found

    monkeypatch.setattr(INSID3, "segment", mistaken)
    found = Together.from_pool(model, [red], encoded.items()).helpers
    assert [each.found[0] is not None for each in found.values()] == [True, False]


def test_of_several_examples_the_mean_counts(model: INSID3, red: Concept) -> None:
    """A red target finds the red example (IoU 1) and nothing in a green one: the mean is not above a half."""
    green = model.concept(scene(BOX, colour=1), box_mask(*BOX))
    assert together(model, [red], [scene(BOX)]).helpers[0].found[0] is not None
    assert together(model, [red.with_shots(green)], [scene(BOX)]).helpers[0].found[0] is None
    two = red.with_shots(red).with_shots(green)
    assert together(model, [two], [scene(BOX)]).helpers[0].found[0] is not None


def test_each_gets_the_most_similar_and_never_itself(model: INSID3, red: Concept) -> None:
    pictures = [scene((i, i, i + 32, i + 32)) // (1 + i % 3) for i in range(0, 32, 4)]
    folder = together(model, [red], pictures)
    helping = {str(i) for i, each in folder.helpers.items() if each.found[0]}
    assert len(helping) > SHOTS
    for i, picture in enumerate(pictures):
        encoded = model.encode(picture)
        (taught,) = folder.concepts_for(model, encoded, i)
        shots = taught.sources[1:]
        assert taught.sources[0] == red.sources[0]
        assert len(shots) == SHOTS
        assert set(shots) <= helping - {str(i)}
        assert taught.drawn is red
        means = {str(j): float(folder.helpers[i].mean @ folder.helpers[j].mean) for j in range(len(pictures)) if j != i}
        best = sorted((means[name] for name in helping - {str(i)}), reverse=True)[:SHOTS]
        assert [means[name] for name in shots] == pytest.approx(best)
    (stranger,) = folder.concepts_for(model, model.encode(pictures[0]))
    assert stranger.sources[1] == "0"  # a target that is not known to be in the pool


def test_without_helpers_a_target_is_marked_as_before(model: INSID3, red: Concept) -> None:
    encoded = model.encode(scene(BOX))
    assert together(model, [red], [scene()]).concepts_for(model, encoded) == [red]
    assert together(model, [red], [scene(BOX)]).concepts_for(model, encoded, 0) == [red]
    assert Together.from_pool(model, [red], []).concepts_for(model, encoded) == [red]


def test_what_turns_into_something_else_is_found(model: INSID3, red: Concept) -> None:
    pictures, truth = fades(), box_mask(*BOX)
    folder = together(model, [red], pictures)
    (taught,) = folder.concepts_for(model, model.encode(pictures[-1]), 8)
    assert (
        iou(model.segment(pictures[-1], taught).mask, truth) > 0.9 > iou(model.segment(pictures[-1], red).mask, truth)
    )


def test_what_was_drawn_keeps_most_of_the_weight(red: Concept) -> None:
    plus = colour_model("plus", refine="none")
    picture = scene(BOX)
    (taught,) = together(plus, [red], [picture] * 3).concepts_for(plus, plus.encode(picture), 0)
    for concept, weights in ((taught, [0.85, 0.075, 0.075]), (red, [1])):
        shots = plus.cache.shots(concept, plus.config)
        assert agreement(shots.tokens, shots.masks, shots.found).tolist() == pytest.approx(weights)


def test_masks_are_scored_against_the_example_alone(model: INSID3, red: Concept) -> None:
    picture = fades()[4]
    folder = together(model, [red], [picture] * 3)  # it would be sure of itself
    encoded = model.encode(picture)
    (taught,) = folder.concepts_for(model, encoded, 0)
    found = model.segment(encoded, taught)
    kept = mask_patches(found.mask, model.config, model.encoder)
    shots, debiased = model.cache.shots(red, model.config), model.cache.debiased(encoded.tokens, model.config)
    matches, _ = model.cache.matches(debiased, shots)
    candidate = candidates(debiased @ prototype(shots.tokens, shots.masks), backward_votes(matches, shots.masks), 1)
    assert found.score == pytest.approx(presence(kept, candidate, matches, shots.tokens, shots.masks, debiased))
    assert found.score < model.segment(encoded, replace(taught, drawn=None)).score
    strict = model.but(min_score=found.score + 0.01)
    assert not strict.segment(encoded, taught).mask.any()


def test_every_concept_has_shots_of_its_own(model: INSID3, red: Concept) -> None:
    green = model.concept(scene(BOX, colour=1), box_mask(*BOX), name="green")
    pictures = [scene((0, 0, 32, 32), colour=i % 2) for i in range(4)]
    taught = together(model, [red, green], pictures).concepts_for(model, model.encode(scene(BOX)))
    assert [concept.sources[1:] for concept in taught] == [("0", "2"), ("1", "3")]


@pytest.mark.parametrize("more", [{}, {"refine": "guided"}, {"preset": "plus", "closer": True}])
def test_what_is_kept_is_used_again(more: dict[str, object]) -> None:
    model = colour_model(**more)
    assert isinstance(model.encoder, ColourEncoder)
    red, picture = model.concept(scene(BOX), box_mask(*BOX)), scene((0, 0, 12, 12))
    folder = together(model, [red], [picture])
    assert folder.helpers[0].encoded.picture is folder.helpers[0].encoded.whole is None
    assert folder.helpers[0].encoded.tokens not in model.cache._kept.tensors  # what follows is not kept for the run
    again = folder.encoded(0, picture, model.config)
    assert again is not None
    assert folder.encoded("other", picture, model.config) is None
    assert np.array_equal(model.segment(again, red).mask, model.segment(picture, red).mask)


def test_other_processes_can_have_it(model: INSID3, red: Concept) -> None:
    folder = together(model, [red], [scene(BOX), scene((0, 0, 32, 32))])
    copy = pickle.loads(pickle.dumps(folder))  # noqa: S301  of our own
    encoded = model.encode(scene((8, 8, 40, 40)))
    (one,), (other,) = folder.concepts_for(model, encoded), copy.concepts_for(model, encoded)
    assert one.digest == other.digest


def test_tiles_are_refused(red: Concept) -> None:
    with pytest.raises(ConfigError, match=r"seen whole: leave out tile \(--tile\), or --together \("):
        Together.from_pool(colour_model(tile=32), [red], [])


@pytest.mark.parametrize(("count", "helps"), [(7, False), (8, True)])
def test_a_folder_of_fewer_than_eight_does_not_help(
    model: INSID3, red: Concept, monkeypatch: pytest.MonkeyPatch, count: int, helps: bool
) -> None:
    monkeypatch.setattr("insid3.transductive.LEAST", 8)
    folder = together(model, [red], fades(count))
    (taught,) = folder.concepts_for(model, model.encode(scene(BOX)))
    assert (taught.shots > 1) == helps
    assert len(folder.helpers) == count  # not encoded again all the same
