"""Other methods on the same features."""

from pathlib import Path

import numpy as np
import pytest

from insid3 import INSID3, Concept, Segmentation
from insid3.batch.annotations import from_labelme
from insid3.imaging.opening import Source
from insid3.methods import METHODS
from stubs import box_mask, colour_model, scene

BOX = (16, 16, 48, 48)
DRAWN = Path(__file__).parents[1] / "src/insid3/app/cheetah1.json"


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def made(model: INSID3) -> Concept:
    return model.concept(scene(BOX), box_mask(*BOX))


def by(method: str, model: INSID3, target: Source, concept: Concept) -> Segmentation:
    return METHODS[method](model.encode(target), concept, model.config, model.cache)


@pytest.mark.parametrize("method", METHODS)
def test_all_find_the_red_box(method: str) -> None:
    model = colour_model()
    found = by(method, model, scene((0, 0, 32, 32)), made(model))
    assert iou(found.mask, box_mask(0, 0, 32, 32)) > 0.9
    assert found.score > 0.5


@pytest.mark.parametrize("method", METHODS)
def test_all_say_why_there_is_nothing(method: str) -> None:
    model = colour_model(threshold=0.99)
    found = by(method, model, scene(), made(model))
    assert not found.mask.any()
    assert found.reason
    assert found.score == 0


@pytest.mark.parametrize(
    ("shots", "expected"),
    [(1, [False, True]), (2, [False, True, True]), (3, [False, False, True, True])],
)
def test_nearest_needs_half_of_the_shots(shots: int, expected: list[bool]) -> None:
    """The red box of each shot is under its mask or not: as many vote."""
    model, rest = colour_model(), ~box_mask(*BOX)
    for votes, marked in enumerate(expected):
        masks = [box_mask(*BOX) if i < votes else rest for i in range(shots)]
        found = by("nearest", model, scene(BOX), model.concept([scene(BOX)] * shots, masks))
        assert found.mask[32, 32] == marked


def test_prototype_on_a_real_picture_grows_as_the_threshold_falls(model280: INSID3, pictures: dict[str, Path]) -> None:
    areas = []
    for threshold in (0.6, 0.4, 0.2):
        model = INSID3(model280.encoder, model280.config.but(threshold=threshold))
        concept = model.concept(*from_labelme(DRAWN, picture=pictures["cheetah1"]))
        areas.append(int(by("prototype", model, pictures["cheetah"], concept).mask.sum()))
    assert 0 < areas[0] < areas[1] < areas[2]


def test_nearest_on_the_reference_is_its_own_mask(model280: INSID3, pictures: dict[str, Path]) -> None:
    picture, truth = from_labelme(DRAWN, picture=pictures["cheetah1"])
    found = by("nearest", model280, picture, model280.concept(picture, truth)).mask
    assert iou(found, truth) > 0.8
