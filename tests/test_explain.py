"""Looking at the stages, and what shares kept features: other settings, other masks, regions."""

from pathlib import Path

import numpy as np
import pytest

from insid3 import INSID3, Concept, ConceptError, ConfigError
from insid3.batch.annotations import from_labelme
from insid3.explain import look_inside
from insid3.imaging.points import parse_points
from insid3.imaging.read import read_image
from insid3.region_picker import Pick, Regions, parse_picks
from stubs import ColourEncoder, box_mask, colour_model, scene

BOX = (16, 16, 48, 48)


def calls(model: INSID3) -> int:
    assert isinstance(model.encoder, ColourEncoder)
    return model.encoder.calls


def test_other_settings_encode_nothing_and_give_what_a_new_model_gives(model: INSID3, red: Concept) -> None:
    target = model.encode(scene((0, 0, 30, 41)))
    model.segment(target, red)
    before = calls(model)
    for changes in ({"threshold": 0.9}, {"tau": 0.5}, {"rank": 0}, {"rank": 1, "aggregation": "seed"}):
        new = colour_model(**changes)
        expected = new.segment(scene((0, 0, 30, 41)), new.concept(scene(BOX), box_mask(*BOX)))
        found = model.but(**changes).segment(target, red)
        assert np.array_equal(found.mask, expected.mask)
        assert found.score == pytest.approx(expected.score, abs=1e-6)
    assert calls(model) == before
    with pytest.raises(ConfigError, match="did you mean 'tau'"):
        model.but(taus=0.5)


def test_a_concept_with_another_mask_is_what_it_would_have_been(model: INSID3, red: Concept) -> None:
    before = calls(model)
    again = model.redraw(red, box_mask(0, 0, 16, 64))
    assert calls(model) == before
    assert again.digest == model.concept(scene(BOX), box_mask(0, 0, 16, 64)).digest
    with pytest.raises(ConceptError, match="one mask for each of 1 pictures, got 2"):
        model.redraw(red, [box_mask(*BOX), box_mask(*BOX)])
    with pytest.raises(ConceptError, match="was made at size 32"):
        colour_model(size=64).redraw(red, box_mask(*BOX))


def test_of_a_field_every_cluster_tells_its_mean(red: Concept) -> None:
    inside = look_inside(colour_model("plus", refine="none"), scene((0, 0, 32, 32)), red)
    assert inside.result.seed is None
    assert inside.kept.tolist() == [True, False]
    assert inside.scores == pytest.approx([0.994, 0.002], abs=0.005)
    absent = look_inside(colour_model("plus", refine="none"), scene(), red)
    assert (len(absent.scores), len(absent.kept)) == (0, 0)


def test_the_stages_agree_with_the_mask(model: INSID3, red: Concept) -> None:
    inside = look_inside(model, scene((0, 0, 32, 32)), red)
    result = inside.result
    assert (result.mask == box_mask(0, 0, 32, 32)).mean() > 0.99
    assert inside.candidates[:4, :4].all()
    assert inside.candidates.sum() == 16
    assert inside.kept.tolist() == [True, False]
    assert result.seed == 0
    assert len(inside.scores) == result.clusters.max() + 1
    patches = np.kron(inside.kept[result.clusters], np.ones((8, 8), bool))
    assert (patches == result.mask).mean() > 0.99
    assert not np.allclose(inside.raw, result.similarity)
    raw = look_inside(model.but(rank=0), scene((0, 0, 32, 32)), red)
    assert np.allclose(raw.raw, raw.result.similarity)


def test_inside_an_empty_mask_there_is_its_reason(model: INSID3, red: Concept) -> None:
    inside = look_inside(model.but(threshold=5.0), scene((0, 0, 32, 32)), red)
    assert "threshold 5" in str(inside.result.reason)
    assert not inside.kept.any()
    assert inside.scores.max() < 5
    nothing = look_inside(model, scene((0, 0, 64, 64), colour=1), red)
    assert "no patch resembles" in str(nothing.result.reason)
    assert not len(nothing.scores)
    kept = look_inside(model.but(threshold=5.0, keep_seed=True), scene((0, 0, 32, 32)), red)
    assert kept.kept.sum() == 1
    assert kept.result.mask.any()


def test_regions_are_the_clusters_of_the_reference(pictures: dict[str, Path], model280: INSID3) -> None:
    _, mask = from_labelme(Path(__file__).parent.parent / "src/insid3/app/cheetah1.json", picture=pictures["cheetah1"])
    cheetah = model280.concept(pictures["cheetah1"], mask)
    fine, coarse = (Regions.from_concept(model280.but(tau=tau), cheetah) for tau in (0.9, 0.3))
    assert fine.labels.shape == cheetah.image_sizes[0]
    assert len(np.unique(fine.labels)) > 2 * len(np.unique(coarse.labels))
    result = model280.segment(read_image(pictures["cheetah1"]), cheetah)
    rows, columns = (((np.arange(side) + 0.5) * 20 / side).astype(int) for side in fine.labels.shape)
    seen = Regions.from_concept(model280, cheetah).labels
    assert (seen == result.clusters[np.ix_(rows, columns)]).all()


def test_picks_add_and_take_away(model: INSID3, red: Concept) -> None:
    regions = Regions.from_concept(model, red)
    inside, outside = Pick(20, 20), Pick(1, 1)
    assert np.array_equal(regions.mask([inside]), box_mask(*BOX))
    assert regions.mask([inside, outside]).all()
    assert np.array_equal(regions.mask([inside, outside, Pick(63, 63, adds=False)]), box_mask(*BOX))
    assert not regions.mask([]).any()
    assert regions.mask([Pick(64, 64)])[0, 0]  # on the far edge
    with pytest.raises(ConfigError, match="outside the reference picture of 64 x 64"):
        regions.mask([Pick(65, 1)])


def test_regions_of_a_padded_picture(red: Concept) -> None:
    model = colour_model(fit="pad")
    picture, mask = scene((16, 16, 48, 48), size=(64, 40)), box_mask(16, 16, 48, 40, size=(64, 40))
    assert np.array_equal(Regions.from_concept(model, model.concept(picture, mask)).mask([Pick(30, 30)]), mask)
    with pytest.raises(ConceptError, match="fit='stretch'"):
        Regions.from_concept(model, red)


def test_texts_of_points() -> None:
    assert parse_points(" 1,2  3.5,4 ") == [(1, 2), (3.5, 4)]
    assert parse_picks("+1,2 -3,4 5,6") == [Pick(1, 2), Pick(3, 4, adds=False), Pick(5, 6)]
    assert " ".join(map(str, parse_picks("1,2 -3.5,4"))) == "+1,2 -3.5,4"
    assert parse_picks("") == []
    for wrong in ("1", "1,2,3", "a,b", "1;2"):
        with pytest.raises(ConfigError, match="must look like"):
            parse_points(wrong)
        with pytest.raises(ConfigError, match="must look like"):
            parse_picks(wrong)
    with pytest.raises(ConfigError, match="must look like"):
        parse_points("")
