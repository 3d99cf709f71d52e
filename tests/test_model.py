"""The API as a user meets it: on scenes of coloured boxes, where the right answer is known, and on real pictures."""

import gc
import pickle
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from insid3 import INSID3, Concept, ConceptError, Config, ConfigError, ImageError, MaskError, Segmentation
from insid3.batch.annotations import from_labelme
from insid3.config import PLUS
from insid3.features.upsample import resized
from insid3.imaging.opening import Source
from insid3.methods.base import as_result
from insid3.stages.plus import smooth
from insid3.stages.plus.smooth import Graph, neighbour_graph
from stubs import ColourEncoder, box_mask, colour_model, scene

BOX = (16, 16, 48, 48)
DRAWN = Path(__file__).parent.parent / "src/insid3/app/cheetah1.json"


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.fixture(scope="module")
def cheetah(model280: INSID3, pictures: dict[str, Path]) -> Concept:
    return model280.concept(*from_labelme(DRAWN, picture=pictures["cheetah1"]), name="cheetah")


def test_finds_the_box_elsewhere(model: INSID3, red: Concept) -> None:
    found = model.segment(scene((0, 32, 32, 64)), red)
    assert iou(found.mask, box_mask(0, 32, 32, 64)) > 0.9
    assert found.reason is None
    assert 0 < found.score <= 1
    assert found.seed == found.clusters[2, 6]


def test_result_has_the_targets_own_size(model: INSID3, red: Concept) -> None:
    found = model.segment(scene((0, 0, 50, 60), size=(50, 120)), red)
    assert found.mask.shape == found.heatmap.shape == (50, 120)
    assert found.mask.dtype == bool
    assert found.heatmap.dtype == np.float32
    assert np.abs(found.heatmap).max() <= 1
    assert found.heatmap[25, 30] > found.heatmap[25, 100]
    assert found.clusters.shape == found.similarity.shape == (8, 8)
    assert iou(found.mask, box_mask(0, 0, 50, 60, size=(50, 120))) > 0.9


def test_absent_concept_gives_an_empty_mask_with_a_reason(model: INSID3, red: Concept) -> None:
    found = model.segment(scene(), red)
    assert not found.mask.any()
    assert found.score == 0
    assert found.seed is None
    assert found.reason == "no patch resembles the concept more than its background"
    assert found.clusters.max() >= 0  # clustered only now, because asked for


def test_a_mask_that_scores_below_the_least_is_emptied_and_says_so(red: Concept) -> None:
    target = (scene(BOX) * 0.7).astype(np.uint8)  # darker than the reference
    found = colour_model().segment(target, red)
    assert 0.5 < found.score < 0.98
    kept = colour_model(min_score=round(found.score - 0.01, 4)).segment(target, red)
    assert kept.score == found.score
    assert (kept.mask == found.mask).all()
    least = round(found.score + 0.01, 4)
    gone = colour_model(min_score=least, refine="guided", upsample="score").segment(target, red)
    assert not gone.mask.any()
    assert gone.score == found.score
    assert gone.reason == f"the score {found.score:.2f} is below the least that counts, {least:g}"
    assert gone.scores.max() == -1  # no threshold brings it back
    absent = colour_model(min_score=0.9).segment(scene(), red)
    assert absent.reason == "no patch resembles the concept more than its background"


def test_a_picture_without_the_concept_scores_lower(
    model280: INSID3, cheetah: Concept, pictures: dict[str, Path]
) -> None:
    scores = {name: model280.segment(path, cheetah).score for name, path in pictures.items()}
    present = [scores[name] for name in ("cheetah", "cheetah1", "cheetah2")]
    assert max(scores["tower"], scores["lion"]) < min(present)


def test_threshold_empties_the_mask_unless_the_seed_is_kept(red: Concept) -> None:
    strict = colour_model(threshold=2.0).segment(scene(BOX), red)
    assert not strict.mask.any()
    assert re.fullmatch(r"no cluster scores above the threshold 2 \(the best: \d\.\d\d\)", str(strict.reason))
    kept = colour_model(threshold=2.0, keep_seed=True).segment(scene(BOX), red)
    assert iou(kept.mask, box_mask(*BOX)) > 0.9


def test_a_mask_below_a_pixel_says_so(model: INSID3, red: Concept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insid3.methods.base.to_mask", lambda *_: (np.zeros((64, 64), bool), None))
    assert model.segment(scene(BOX), red).reason == "the marked patches are smaller than a pixel of the target"


def test_noise_basis_is_another_subspace() -> None:
    black, noise = colour_model(), colour_model(basis="noise")
    bases = [m.cache.basis(m.config) for m in (black, noise)]
    for basis in bases:
        assert torch.allclose(basis.T @ basis, torch.eye(2), atol=1e-5)
    assert not torch.allclose(bases[0] @ bases[0].T, bases[1] @ bases[1].T, atol=1e-2)


def test_noise_basis_is_the_same_every_time() -> None:
    first, second = (colour_model(basis="noise") for _ in range(2))
    assert torch.equal(first.cache.basis(first.config), second.cache.basis(second.config))


def test_basis_is_encoded_once_and_in_float32(
    model: INSID3, red: Concept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSID3_CACHE", str(tmp_path))
    encoder = model.encoder
    assert isinstance(encoder, ColourEncoder)
    model.segment(scene(BOX), red)
    calls = encoder.calls  # reference, target, basis
    assert calls == 3
    model.segment(scene(BOX), red)
    assert encoder.calls == calls + 1


def test_rank_zero_removes_nothing(red: Concept) -> None:
    raw = colour_model(rank=0)
    assert torch.allclose(raw.cache.shots(red, raw.config).tokens[0], red.tokens[0], atol=1e-6)
    assert raw.segment(scene(BOX), red).mask.any()


def test_concepts_are_values(model: INSID3, red: Concept) -> None:
    target = scene((0, 0, 32, 32), (40, 40, 64, 64))
    before = red.digest
    first = model.segment(target, red)
    with pytest.raises(ImageError):
        model.segment("missing.jpg", red)
    assert np.array_equal(model.segment(target, red).mask, first.mask)
    assert red.digest == before


def test_what_a_model_keeps_of_a_concept_goes_with_it(model: INSID3) -> None:
    basis = model.cache.basis(model.config)
    model.segment(scene(BOX), model.concept(scene(BOX), box_mask(*BOX)))
    gc.collect()
    assert all(tensor.shape[0] == basis.shape[0] for tensor in model.cache._kept.tensors)  # directions, no tokens
    assert not model.cache._firsts


def test_several_shots_and_the_majority(model: INSID3) -> None:
    shots = [scene(BOX), scene((0, 0, 32, 64)), scene((32, 0, 64, 64))]
    masks = [box_mask(*BOX), box_mask(0, 0, 32, 64), box_mask(32, 0, 64, 64)]
    concept = model.concept(shots, masks)
    assert concept.shots == 3
    assert iou(model.segment(scene((8, 8, 40, 40)), concept).mask, box_mask(8, 8, 40, 40)) > 0.9


def test_negatives_are_background(model: INSID3) -> None:
    """The reference shows red only; a green picture, given as a negative, takes the green box out."""
    target = scene((0, 0, 32, 64), colour=1)
    mask = box_mask(0, 0, 64, 64)
    open_minded = model.concept(scene((0, 0, 64, 64), colour=1), mask)
    assert model.segment(target, open_minded).mask.any()
    warned = model.concept(scene((0, 0, 64, 64)), mask, negatives=[scene((0, 0, 64, 64), colour=1)])
    assert warned.negatives.shape == (64, 8)
    assert not model.segment(target, warned).mask.any()


@pytest.mark.parametrize("kind", ["path", "string", "PIL", "array", "grey"])
def test_pictures_of_any_kind(model: INSID3, red: Concept, kind: str, tmp_path: Path) -> None:
    array = scene((0, 32, 32, 64))
    Image.fromarray(array).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    sources: dict[str, Source] = {
        "path": path,
        "string": str(path),
        "PIL": Image.fromarray(array),
        "array": array,
        "grey": array[..., 0],
    }
    found = model.segment(sources[kind], red)
    assert found.mask.shape == (64, 64)
    if kind != "grey":
        assert np.array_equal(found.mask, model.segment(array, red).mask)


def test_save_load_gives_the_same_answer(model: INSID3, red: Concept, tmp_path: Path) -> None:
    red.save(tmp_path / "red.insid3")
    again = Concept.load(tmp_path / "red.insid3")
    target = scene((0, 32, 32, 64))
    assert np.array_equal(model.segment(target, again).mask, model.segment(target, red).mask)


def test_concepts_of_other_models_are_refused(red: Concept) -> None:
    with pytest.raises(ConceptError, match=r"'red' was made at size 32, this model works at 64: .*size=32 \(--size\)"):
        colour_model(size=64).segment(scene(BOX), red)
    model = colour_model()
    model.encoder.name = "others"
    with pytest.raises(ConceptError, match="made with backbone colours, this model has others"):
        model.segment(scene(BOX), red)
    model = colour_model()
    model.encoder.weights_hash = "f" * 16
    with pytest.raises(ConceptError, match=f"weights {'0' * 16} of colours, this model has {'f' * 16}"):
        model.segment(scene(BOX), red)
    with pytest.raises(ConceptError, match="this model has f"):
        model.match(scene(BOX), red, [[1, 1]])


@pytest.mark.parametrize(
    ("images", "masks", "error", "message"),
    [
        ([], [], ConceptError, "needs at least one picture"),
        ([scene(BOX)], [], ConceptError, "one mask for each of 1 pictures, got 0"),
        ([scene(BOX)] * 2, box_mask(*BOX), ConceptError, "one mask for each of 2 pictures, got 1"),
        (scene(BOX), np.zeros((64, 64)), MaskError, "is empty: mark at least one pixel"),
        (scene(BOX), np.ones((64, 32)), MaskError, "32 x 64 pixels but its picture is 64 x 64"),
        ("nowhere.png", box_mask(*BOX), ImageError, "nowhere.png: no such file"),
    ],
)
def test_bad_references(model: INSID3, images: object, masks: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model.concept(images, masks)  # type: ignore[arg-type]


def test_label_chooses_among_values(model: INSID3) -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[:32], labels[32:, 32:] = 3, 7
    with pytest.raises(MaskError, match="has the values 0, 3, 7"):
        model.concept(scene(BOX), labels)
    assert model.concept(scene(BOX), labels, label=7).masks[0].sum() == 32 * 32


def test_segment_needs_masks(model: INSID3) -> None:
    with pytest.raises(ConceptError, match="'concept' has no masks"):
        model.segment(scene(BOX), model.concept(scene(BOX)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"size": 30}, "size 30 is not a multiple of the patch size 4 of colours: use 28 or 32"),
        ({"size": 3}, "patch size 4 of colours: use 4"),
        ({"rank": 8}, "rank 8 leaves nothing of colours's 8 channels at 64 patches: use less than 8"),
        ({"size": 8, "rank": 4}, "at 4 patches: use less than 4"),
    ],
)
def test_settings_that_do_not_fit(config: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        INSID3(ColourEncoder(), Config(size=32, rank=2, tau=0.9).but(**config))


def test_typo_fails_before_the_weights_are_read() -> None:
    with pytest.raises(ConfigError, match="did you mean 'threshold'"):
        INSID3.from_pretrained("dinov3-vitl16", weights="nowhere.pth", treshold=0.1)


def test_segment_many_reports_and_goes_on(model: INSID3, red: Concept) -> None:
    targets: list[Source] = [scene(BOX), "missing.jpg", scene()]
    seen: list[int] = []
    results = list(model.segment_many(targets, red, progress=lambda done, target: seen.append(done), errors="return"))
    assert seen == [1, 2, 3]
    assert isinstance(results[1], ImageError)
    good = [result for result in results if isinstance(result, Segmentation)]
    assert [result.mask.any() for result in good] == [True, False]
    with pytest.raises(ImageError, match=r"missing\.jpg: no such file"):
        list(model.segment_many(targets, red))
    with pytest.raises(ConfigError, match="errors must be 'raise' or 'return'"):
        next(model.segment_many(targets, red, errors="ignore"))


def test_match_follows_a_corner(model: INSID3) -> None:
    reference, target = scene((0, 0, 24, 24)), scene((40, 40, 64, 64), size=(64, 128))
    found = model.match(target, model.concept(reference), [[8, 8]], debias=False)
    assert found.xy.shape == (1, 2)
    assert found.maps.shape == (1, 8, 8)
    assert len(found) == 1
    assert found.similarity[0] > 0.99
    assert found.maps[0].max() == found.similarity[0]


def test_match_uses_masked_concepts_too(model: INSID3, red: Concept) -> None:
    assert model.match(scene(BOX), red, [[20, 20]]).xy.shape == (1, 2)
    assert len(model.match(scene(BOX), red, np.zeros((0, 2)))) == 0


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[1, 2, 3]], r"shape \(p, 2\)"),
        ([1, 2], r"shape \(p, 2\)"),
        ([[1, np.nan]], "finite"),
        ([[65, 2]], r"\(65, 2\) lies outside the reference picture of 64 x 64"),
        ([[-1, 2]], "lies outside"),
    ],
)
def test_bad_points(model: INSID3, red: Concept, points: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.match(scene(BOX), red, points)  # type: ignore[arg-type]


def test_match_needs_one_picture(model: INSID3) -> None:
    with pytest.raises(ConceptError, match="exactly one picture, 'concept' has 2"):
        model.match(scene(BOX), model.concept([scene(BOX)] * 2), [[1, 1]])


def test_matching_has_its_own_size_and_rank() -> None:
    base = Config(size=32, rank=2, tau=0.9)
    model = INSID3(ColourEncoder(), base, base.but(size=64, rank=1))
    plain, masked = model.concept(scene(BOX)), model.concept(scene(BOX), box_mask(*BOX))
    assert (plain.size, masked.size) == (64, 32)
    assert model.match(scene(BOX), plain, [[20, 20]]).maps.shape == (1, 16, 16)
    assert model.match(scene(BOX), masked, [[20, 20]]).maps.shape == (1, 8, 8)
    assert model.cache.basis(model.match_config).shape[1] == 1


def test_real_pictures(model280: INSID3, pictures: dict[str, Path], cheetah: Concept) -> None:
    """The demo's job at 280 px: both other cheetahs are found, by centre and by extent."""
    own = model280.segment(pictures["cheetah1"], cheetah)
    assert iou(own.mask, cheetah.masks[0]) > 0.85
    runner = model280.segment(pictures["cheetah"], cheetah)  # 502 x 343, small in the middle
    assert runner.mask[140:210, 180:330].mean() > 0.5
    assert runner.mask[:80].mean() < 0.02
    assert runner.mask[260:].mean() < 0.02
    cub = model280.segment(pictures["cheetah2"], cheetah)
    assert cub.mask[250:700, 150:650].mean() > 0.9
    assert 0 < runner.score < 1


@pytest.mark.parametrize("name", ["cheetah", "cheetah2", "lion"])
def test_less_to_join_by_marks_more(model280: INSID3, pictures: dict[str, Path], cheetah: Concept, name: str) -> None:
    """Intra is at most 1, so what it multiplies only falls."""
    target = model280.encode(pictures[name])
    alone, both, cross = (
        INSID3(model280.encoder, model280.config.but(aggregation=aggregation)).segment(target, cheetah)
        for aggregation in ("seed", "cross-intra", "cross")
    )
    assert alone.seed == both.seed == cross.seed
    assert alone.mask.any()
    assert (alone.mask <= both.mask).all()
    assert (both.mask <= cross.mask).all()
    assert np.array_equal(both.mask, model280.segment(target, cheetah).mask)


@pytest.mark.parametrize("threshold", [-1.0, 0.2, 3.0])
def test_seed_alone_is_its_cluster(
    model280: INSID3, pictures: dict[str, Path], cheetah: Concept, threshold: float
) -> None:
    model = INSID3(model280.encoder, model280.config.but(aggregation="seed", threshold=threshold))
    found = model.segment(pictures["cheetah"], cheetah)
    square = resized(torch.from_numpy(found.clusters == found.seed).float(), (280, 280)) > 0.5
    assert np.array_equal(found.mask, resized(square.float(), found.mask.shape).numpy() > 0.5)


@pytest.mark.parametrize("k", [1, 5, 40, 1000])
def test_kmeans_in_the_place_of_linkage(model280: INSID3, pictures: dict[str, Path], cheetah: Concept, k: int) -> None:
    target = model280.encode(pictures["cheetah"])
    linked = model280.segment(target, cheetah).clusters
    model, other = (INSID3(model280.encoder, model280.config.but(kmeans=k, tau=tau)) for tau in (0.7, 0.1))
    found = model.segment(target, cheetah)
    assert len(np.unique(found.clusters)) == min(k, 400)
    assert np.array_equal(found.clusters, other.segment(target, cheetah).clusters)
    assert np.array_equal(model280.segment(target, cheetah).clusters, linked)


def test_tiles_have_their_own_kmeans(pictures: dict[str, Path]) -> None:
    model = colour_model(tile=32, kmeans=2)
    found = model.segment(scene((0, 0, 32, 32)), model.concept(scene(BOX), box_mask(*BOX)))
    assert found.mask.any()
    assert len(np.unique(found.clusters)) <= 2 * len(model.encode(scene(BOX)).grid.windows)


def test_a_result_tells_its_candidates(model: INSID3, red: Concept) -> None:
    inside = np.zeros((8, 8), bool)
    inside[:4, 4:] = True
    assert np.array_equal(model.segment(scene((0, 32, 32, 64)), red).candidates, inside)


def test_a_result_cuts_at_zero_and_says_why_nothing_is_left(model: INSID3, red: Concept) -> None:
    target = model.encode(scene((0, 32, 32, 64)))
    inside = torch.from_numpy(model.segment(target, red).candidates).flatten().float()
    result = as_result(target, red, model.config, model.cache, inside - 0.5, inside, "nothing")
    assert iou(result.mask, box_mask(0, 32, 32, 64)) > 0.9
    assert (result.reason, result.seed) == (None, None)
    assert result.score > 0
    assert (result.clusters == -1).all()  # of a method that forms none
    empty = as_result(target, red, model.config, model.cache, torch.zeros(64), inside, "nothing is above 0")
    assert not empty.mask.any()
    assert (empty.reason, empty.score) == ("nothing is above 0", 0)


def test_what_others_made_is_refused(model: INSID3, red: Concept) -> None:
    with pytest.raises(ConceptError, match="was made at size 64"):
        model.segment(scene(BOX), colour_model(size=64).concept(scene(BOX), box_mask(*BOX)))
    with pytest.raises(ConceptError, match="has no masks"):
        model.segment(scene(BOX), model.concept(scene(BOX)))
    with pytest.raises(ConfigError, match="was encoded with another size, fit or tile"):
        model.segment(colour_model(size=64).encode(scene(BOX)), red)


def test_results_hold_no_model_and_can_be_pickled(model: INSID3, red: Concept) -> None:
    target = model.encode(scene(BOX))
    found, alive = model.segment(target, red), weakref.ref(target)
    del target
    gc.collect()
    assert alive() is None
    copy = pickle.loads(pickle.dumps(found))  # noqa: S301  of our own
    for name in ("mask", "similarity", "clusters", "candidates", "cluster_scores", "scores", "heatmap"):
        assert np.array_equal(getattr(copy, name), getattr(found, name))
    assert len(pickle.dumps(found)) < 64 * 64 * 12  # arrays of the picture, and nothing else


def test_match_finds_itself(model280: INSID3, pictures: dict[str, Path]) -> None:
    points = [[91, 91], [160, 92], [121, 142]]  # eyes and nose
    found = model280.match(pictures["cheetah1"], model280.concept(pictures["cheetah1"]), points)
    assert np.abs(found.xy - points).max() < 14 * 256 / 280 * 1.5
    assert found.similarity.min() > 0.999


def test_one_path_is_no_list_of_targets(model: INSID3, red: Concept) -> None:
    with pytest.raises(ConfigError, match=r"targets must be a list of pictures, got 'photo\.jpg'"):
        model.segment_many("photo.jpg", red)


def plus_model(**config: object) -> INSID3:
    return colour_model("plus", **{"refine": "none", **config})


def test_plus_finds_the_box_elsewhere(red: Concept) -> None:
    found = plus_model().segment(scene((0, 32, 32, 64)), red)
    assert iou(found.mask, box_mask(0, 32, 32, 64)) > 0.9
    assert found.seed is None
    assert found.scores.min() >= -1e-3
    assert found.scores.max() <= 1 + 1e-3
    assert ((found.scores > 0.5) == found.mask).all()


def test_plus_leaves_a_picture_without_a_candidate_empty(red: Concept) -> None:
    found = plus_model().segment(scene(), red)
    assert (found.mask.any(), found.score) == (False, 0)
    assert found.reason == "no patch resembles the concept more than its background"


def test_plus_names_a_threshold_that_nothing_reaches(red: Concept) -> None:
    found = plus_model(threshold=1.5).segment(scene(BOX), red)
    assert re.fullmatch(r"no patch's field is above the threshold 1.5 \(the best: [01]\.\d\d\)", found.reason or "")


@pytest.mark.parametrize("switch", ["background", "votes", "regions", "discriminant", "smoothing"])
def test_every_part_of_plus_can_be_switched_off_and_matters(
    model280: INSID3, cheetah: Concept, pictures: dict[str, Path], switch: str
) -> None:
    plus = model280.but(**{**PLUS, "refine": "none"})
    target = model280.encode(pictures["lion"])
    with_it, without = (model.segment(target, cheetah).scores for model in (plus, plus.but(**{switch: 0.0})))
    assert np.abs(with_it - without).max() > 0.01


def test_plus_marks_cheetahs_as_the_published_way_does(
    model280: INSID3, cheetah: Concept, pictures: dict[str, Path]
) -> None:
    """All three are easy: both mark the same animals."""
    plus = model280.but(**PLUS)
    for name in ("cheetah", "cheetah1", "cheetah2"):
        ours, theirs = plus.segment(pictures[name], cheetah).mask, model280.segment(pictures[name], cheetah).mask
        assert iou(ours, theirs) >= 0.6, name


def test_plus_sees_windows_as_one_picture(red: Concept) -> None:
    """Two boxes, in different tiles: the field is spread over all of them, so that an empty tile stays empty."""
    picture = scene((0, 0, 24, 24), (40, 104, 64, 128), size=(64, 128))
    found = plus_model(tile=64).segment(picture, red)
    truth = box_mask(0, 0, 24, 24, size=(64, 128)) | box_mask(40, 104, 64, 128, size=(64, 128))
    assert iou(found.mask, truth) > 0.8


def test_the_patches_graph_is_computed_once_for_all_concepts(red: Concept, monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = plus_model(), list[int]()

    def counted(tokens: torch.Tensor) -> Graph:
        calls.append(1)
        return neighbour_graph(tokens)

    monkeypatch.setattr(smooth, "neighbour_graph", counted)
    target = model.encode(scene(BOX))
    model.segment(target, red)
    model.but(background=0.2).segment(target, red)
    assert calls == [1]


def test_an_odd_shot_of_four_is_outvoted(red: Concept) -> None:
    """Three shots show red, the fourth green by mistake."""
    model = plus_model()
    shots = [scene(BOX), scene((0, 0, 32, 32)), scene((32, 0, 64, 32)), scene((0, 0, 32, 32), colour=1)]
    masks = [box_mask(*BOX), box_mask(0, 0, 32, 32), box_mask(32, 0, 64, 32), box_mask(0, 0, 32, 32)]
    target = scene((0, 32, 32, 64))
    target[32:, :32] = (20, 230, 20)
    found = model.segment(target, model.concept(shots, masks))
    assert iou(found.mask, box_mask(0, 32, 32, 64)) > 0.9


def test_a_small_object_is_looked_at_again_and_its_edge_is_finer(red: Concept) -> None:
    """A box of 10 x 10 pixels where a patch has 8 x 8: the second look has patches of 4 or fewer."""
    truth = box_mask(22, 26, 32, 36)
    picture = scene((22, 26, 32, 36))
    once, twice = plus_model(), plus_model(closer=True)
    first, second = once.segment(picture, red), twice.segment(picture, red)
    assert iou(second.mask, truth) > max(0.75, iou(first.mask, truth) + 0.05)
    assert ((second.scores > 0.5) == second.mask).all()


def test_a_second_look_costs_one_encoding_and_only_where_something_small_was_found(red: Concept) -> None:
    model = plus_model(closer=True)
    encoder = model.encoder
    assert isinstance(encoder, ColourEncoder)
    model.segment(scene(BOX), red)  # the positional basis
    for picture, calls in ((scene((22, 26, 32, 36)), 2), (scene((0, 0, 64, 48)), 1), (scene(), 1)):
        before = encoder.calls
        target = model.encode(picture)
        model.segment(target, red)
        assert encoder.calls - before == calls
        model.but(regions=0.4).segment(target, red)
        assert encoder.calls - before == calls  # the part is kept with its picture


def test_a_second_look_needs_the_picture_the_field_and_no_tiles(red: Concept) -> None:
    with pytest.raises(ConfigError, match="closer goes with rule="):
        colour_model(closer=True)
    with pytest.raises(ConfigError, match="without tile"):
        plus_model(closer=True, tile=32)
    model = plus_model()
    target = model.encode(scene(BOX))
    with pytest.raises(ConfigError, match="was encoded without closer: encode it again"):
        model.but(closer=True).segment(target, red)
