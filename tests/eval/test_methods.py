"""Other methods on the same features."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from insid3 import INSID3, Concept, ConceptError
from insid3.annotations import from_labelme
from insid3.eval.methods import METHODS, nearest, prototype
from stubs import box_mask, colour_model, scene

BOX = (16, 16, 48, 48)
DRAWN = Path(__file__).parents[2] / "src/insid3/app/cheetah1.json"


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def made(model: INSID3) -> Concept:
    return model.concept(scene(BOX), box_mask(*BOX))


@pytest.mark.parametrize("method", METHODS)
def test_all_find_the_red_box(method: str) -> None:
    model = colour_model()
    found = METHODS[method](model, model.encode(scene((0, 0, 32, 32))), made(model))
    assert iou(found.mask, box_mask(0, 0, 32, 32)) > 0.9
    assert found.score > 0.5


@pytest.mark.parametrize("method", METHODS)
def test_all_say_why_there_is_nothing(method: str) -> None:
    model = colour_model(threshold=0.99)
    found = METHODS[method](model, model.encode(scene()), made(model))
    assert not found.mask.any()
    assert found.reason
    assert found.score == 0


@pytest.mark.parametrize("method", METHODS)
def test_all_refuse_a_concept_of_another_size(method: str) -> None:
    model = colour_model()
    with pytest.raises(ConceptError, match="was made at size 16"):
        METHODS[method](model, model.encode(scene(BOX)), made(colour_model(size=16)))


@pytest.mark.parametrize(
    ("shots", "expected"),
    [(1, [False, True, True, True]), (2, [False, True, True, True]), (3, [False, False, True, True])],
)
def test_nearest_needs_half_of_the_shots(shots: int, expected: list[bool]) -> None:
    evidence = SimpleNamespace(votes=torch.arange(4), forward=torch.zeros(4), shots=shots)
    model = SimpleNamespace(evidence=lambda *_: evidence, marked=lambda _, margin, __: margin > 0)
    assert nearest(model, "target", "concept").tolist() == expected  # type: ignore[arg-type, attr-defined]


def test_prototype_on_a_real_picture_grows_as_the_threshold_falls(model280: INSID3, pictures: dict[str, Path]) -> None:
    areas = []
    for threshold in (0.6, 0.4, 0.2):
        model = INSID3(model280.encoder, model280.config.but(threshold=threshold))
        concept = model.concept(*from_labelme(DRAWN, picture=pictures["cheetah1"]))
        areas.append(int(prototype(model, model.encode(pictures["cheetah"]), concept).mask.sum()))
    assert 0 < areas[0] < areas[1] < areas[2]


def test_nearest_on_the_reference_is_its_own_mask(model280: INSID3, pictures: dict[str, Path]) -> None:
    picture, truth = from_labelme(DRAWN, picture=pictures["cheetah1"])
    found = nearest(model280, model280.encode(picture), model280.concept(picture, truth)).mask
    assert iou(found, truth) > 0.8
