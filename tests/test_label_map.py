"""Several concepts in one picture, soft scores, concepts that learn: on small scenes and on real pictures."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import insid3.features.cache
import insid3.methods.insid3
from insid3 import INSID3, Concept, Config, ConfigError, Segmentation
from insid3.features.patch_grid import PatchGrid
from insid3.features.upsample import PatchScores
from insid3.imaging.colours import MAGENTA, PALETTE
from insid3.imaging.read import picture_size
from insid3.label_map import LabelMap, decide, numbered
from stubs import ColourEncoder, box_mask, colour_model, scene

BOX, RIGHT = (16, 16, 48, 48), (16, 40, 48, 64)


def claim(mask: np.ndarray, similarity: float, score: float) -> Segmentation:
    flat = np.full((4, 4), similarity, np.float32)
    grid = PatchGrid(mask.shape, mask.shape, mask.shape, ((0, 0),), 4)
    soft = PatchScores(flat.reshape(1, -1), grid, 1, Config(size=4, rank=0, tau=0.5))
    reason = None if mask.any() else "nothing"
    return Segmentation(mask, score, flat, None, reason, flat.astype(int), mask, flat[0], soft)


@pytest.fixture
def model() -> INSID3:
    return colour_model()


@pytest.fixture
def concepts(model: INSID3) -> list[Concept]:
    return [
        model.concept(scene(BOX, colour=colour), box_mask(*BOX), name=name)
        for colour, name in enumerate(("red", "green"))
    ]


def both() -> np.ndarray:
    """Red on the left, green on the right."""
    picture = scene((16, 0, 48, 24))
    picture[16:48, 40:64] = scene(RIGHT, colour=1)[16:48, 40:64]
    return picture


def test_two_concepts_in_one_picture(model: INSID3, concepts: list[Concept]) -> None:
    found = model.label(both(), concepts)
    assert [label.name for label in found.labels] == ["red", "green"]
    assert set(np.unique(found.index)) == {0, 1, 2}
    assert (found.index[20:44, 2:20] == 1).mean() > 0.9
    assert (found.index[20:44, 44:60] == 2).mean() > 0.9
    for i, concept in enumerate(concepts):
        alone = model.segment(both(), concept)
        assert (found.results[i].mask == alone.mask).all()
        assert found.results[i].score == alone.score
        assert (found.masks[i] == (found.index == i + 1)).all()


def test_one_encode_and_one_clustering_for_ten(model: INSID3, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    for module, name in ((insid3.methods.insid3, "cluster"), (insid3.features.cache, "nearest")):

        def counting(*words: Any, _name: str = name, _original: Any = vars(module)[name]) -> Any:
            calls[_name] += 1
            return _original(*words)

        monkeypatch.setattr(module, name, counting)
    tens = [model.concept(scene(BOX), box_mask(16, 16, 20 + 2 * i, 48), name=str(i)) for i in range(10)]
    assert isinstance(model.encoder, ColourEncoder)
    model.label(scene(BOX), tens[:1])  # the basis is encoded once as well
    model.encoder.calls = 0
    calls.clear()
    model.label(scene((0, 0, 32, 32)), tens)
    assert model.encoder.calls == 1
    assert calls == {"cluster": 1, "nearest": 1}  # all ten come from the same picture


@pytest.mark.parametrize(
    ("similarities", "scores", "winner"),
    [
        ((0.9, 0.5), (0.1, 0.9), 1),  # clearly more similar
        ((0.52, 0.5), (0.1, 0.9), 2),  # within the margin the better mask
        ((0.5, 0.52), (0.7, 0.7), 1),  # within the margin and equal: the first
        ((0.5, 0.9), (0.9, 0.0), 2),
    ],
)
def test_who_gets_a_contested_pixel(
    similarities: tuple[float, float], scores: tuple[float, float], winner: int
) -> None:
    masks = box_mask(0, 0, 4, 3, (4, 4)), box_mask(0, 1, 4, 4, (4, 4))
    index = decide([claim(*words) for words in zip(masks, similarities, scores, strict=True)], 0.05)
    assert index.tolist() == [[1, winner, winner, 2]] * 4


def test_three_claims_do_not_depend_on_their_order() -> None:
    whole = np.ones((4, 4), bool)
    claims = [claim(whole, 0.50, 0.9), claim(whole, 0.54, 0.5), claim(whole, 0.58, 0.6)]
    assert decide(claims, 0.05)[0, 0] == 3  # the first is too far behind the third
    assert decide(claims[::-1], 0.05)[0, 0] == 1
    assert decide(claims, 0.1)[0, 0] == 1
    assert decide([claims[0], claim(~whole, 0.9, 0.0)], 0.05)[0, 0] == 1


def test_overlap_all_keeps_every_mask() -> None:
    masks = box_mask(0, 0, 4, 3, (4, 4)), box_mask(0, 1, 4, 4, (4, 4))
    results = tuple(claim(mask, 0.5, 0.5) for mask in masks)
    kept = LabelMap((), results, decide(results), "all")
    assert all((a == b).all() for a, b in zip(kept.masks, masks, strict=True))
    with pytest.raises(ConfigError, match="overlap must be one of best, all, got 'most'"):
        LabelMap((), results, decide(results), "most")


def test_names_ids_and_colours(model: INSID3, concepts: list[Concept]) -> None:
    red, green = concepts
    assert [(label.id, label.colour) for label in numbered(concepts)] == [(1, PALETTE[0]), (2, PALETTE[1])]
    assert numbered([red])[0].colour == MAGENTA
    mine = replace(green, id=1, colour=(1, 2, 3))
    assert [(label.name, label.id, label.colour) for label in numbered([red, mine])] == [
        ("red", 2, PALETTE[0]),
        ("green", 1, (1, 2, 3)),
    ]
    for bad, message in (
        ([], "expected 1 to 255 concepts, got 0"),
        ([red, red], "two concepts have the name 'red'"),
        ([replace(red, id=4), replace(green, id=4)], "two concepts have the id 4"),
        ([replace(red, name=str(i)) for i in range(256)], "got 256"),
    ):
        with pytest.raises(ConfigError, match=message):
            model.label(scene(BOX), bad)


def test_id_and_colour_are_saved_and_no_part_of_the_digest(model: INSID3, tmp_path: Path) -> None:
    plain = model.concept(scene(BOX), box_mask(*BOX))
    told = model.concept(scene(BOX), box_mask(*BOX), id=7, colour=(9, 8, 7))
    told.save(tmp_path / "a.insid3")
    again = Concept.load(tmp_path / "a.insid3")
    assert (again.id, again.colour) == (7, (9, 8, 7))
    assert again.digest == plain.digest
    plain.save(tmp_path / "b.insid3")
    assert Concept.load(tmp_path / "b.insid3").id is None
    for bad, message in (({"id": 0}, "a whole number from 1 to"), ({"colour": (0, 0, 256)}, "RGB from 0 to 255")):
        with pytest.raises(ValueError, match=message):
            model.concept(scene(BOX), box_mask(*BOX), **bad)


def test_a_concept_learns_shots_and_negatives(model: INSID3, concepts: list[Concept]) -> None:
    red, _ = concepts
    more = model.extend(red, scene((0, 0, 32, 32)), box_mask(0, 0, 32, 32), negatives=scene())
    assert more.shots == 2
    assert len(more.negatives) == len(red.negatives) + 64
    assert more.name == "red"
    same = model.concept(
        [scene(BOX), scene((0, 0, 32, 32))], [box_mask(*BOX), box_mask(0, 0, 32, 32)], negatives=[scene()]
    )
    assert more.digest == same.digest
    assert model.extend(red) is red
    assert red.shots == 1


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.45, 0.8])
@pytest.mark.parametrize("size", [None, (150, 211)])
def test_scores_hold_the_mask_of_every_threshold(
    model280: INSID3, pictures: dict[str, Path], threshold: float, size: tuple[int, int] | None
) -> None:
    reference = model280.concept(pictures["cheetah"], box_mask(60, 200, 400, 500, picture_size(pictures["cheetah"])))
    target = np.asarray(Image.open(pictures["cheetah1"]).convert("RGB"))
    if size is not None:
        target = np.asarray(Image.fromarray(target).resize(size))
    scores = model280.segment(target, reference).scores
    other = INSID3(model280.encoder, model280.config.but(threshold=threshold))
    mask = other.segment(target, reference).mask
    assert ((scores > threshold) == mask).all()
    assert scores.min() >= -1
    assert scores.max() <= 1
    assert len(np.unique(scores)) > 3


def test_scores_of_what_is_not_there_and_of_seeds_that_stay(model: INSID3, concepts: list[Concept]) -> None:
    assert (model.segment(scene(), concepts[0]).scores == -1).all()
    stays = colour_model(keep_seed=True, threshold=1.0)
    found = stays.segment(scene(BOX), stays.concept(scene(BOX), box_mask(*BOX)))
    assert (found.scores[found.mask] == 1).all()


@pytest.mark.parametrize("change", [{"upsample": "score"}, {"tile": 32}])
def test_scores_of_smooth_masks_are_nearly_the_mask(change: dict[str, object]) -> None:
    model = colour_model(**change)
    found = model.segment(scene((0, 0, 32, 32)), model.concept(scene(BOX), box_mask(*BOX)))
    inside = found.scores > model.config.threshold
    assert (inside & found.mask).sum() / (inside | found.mask).sum() > 0.7


def test_a_batch_is_one_call_and_gives_the_same(model: INSID3) -> None:
    targets = [scene(BOX), scene((0, 0, 32, 32), size=(40, 90)), scene()]
    assert isinstance(model.encoder, ColourEncoder)
    alone = [model.encode(target) for target in targets]
    model.encoder.calls = 0
    together = model.encode_many(targets)
    assert model.encoder.calls == 1
    for one, other in zip(alone, together, strict=True):
        assert torch.allclose(one.tokens, other.tokens, atol=1e-6)
        assert one.grid == other.grid


def test_a_batch_that_does_not_fit_is_halved(model: INSID3, monkeypatch: pytest.MonkeyPatch) -> None:
    original, seen = ColourEncoder.__call__, []

    def narrow(self: ColourEncoder, images: torch.Tensor, *a: object, **more: object) -> tuple[torch.Tensor, ...]:
        seen.append(len(images))
        if len(images) > 1:
            raise RuntimeError("out of memory")
        return original(self, images, *a, **more)  # type: ignore[arg-type]

    whole = model.encode_many([scene(BOX)] * 3)
    monkeypatch.setattr(ColourEncoder, "__call__", narrow)
    again = model.encode_many([scene(BOX)] * 3)
    assert seen == [3, 1, 2, 1, 1]
    assert all(torch.allclose(a.tokens, b.tokens, atol=1e-6) for a, b in zip(whole, again, strict=True))


def test_a_real_batch(model280: INSID3, pictures: dict[str, Path]) -> None:
    for path, encoded in zip(pictures.values(), model280.encode_many(list(pictures.values())), strict=True):
        assert torch.allclose(encoded.tokens, model280.encode(path).tokens, atol=1e-4)
