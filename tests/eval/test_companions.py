"""Transductive evaluations: the choice of helper targets, their effect, and the recorded settings."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insid3.config import Config
from insid3.errors import ConfigError, OutputError
from insid3.eval.companions import Companions
from insid3.eval.datasets import draw
from insid3.eval.episodes import Episode, EpisodeList, Pair, View
from insid3.eval.outcome import Outcome
from insid3.eval.outputs import write_outputs
from insid3.eval.predict import Material, ModelPredictor
from insid3.eval.published import follows_paper, paper_settings
from insid3.eval.reader import Readers
from insid3.eval.run import Evaluation
from insid3.eval.sweep_predictors import model_predictors
from stubs import ColourEncoder, box_mask, colour_model, scene

BOX = (16, 16, 48, 48)


@pytest.fixture(autouse=True)
def _small_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few pictures suffice as helper targets."""
    monkeypatch.setattr("insid3.transductive.LEAST", 1)


def episode(
    id: str, target: str, *references: str, cls: str = "thing", box: tuple[int, int, int, int] | None = None
) -> Episode:
    views = [View(f"{name}.png", ("any", "mask.png"), box) for name in (target, *references)]
    return Episode(id, cls, views[0], tuple(views[1:]))


def listed(*episodes: Episode, root: Path | None = None) -> EpisodeList:
    classes = {each.cls: each.cls for each in episodes}
    return EpisodeList("x", "x", 0, 1, 0, len(episodes), classes, episodes, str(root) if root else None)


@pytest.fixture
def fading(tmp_path: Path) -> EpisodeList:
    """Return episodes of a red thing that turns white step by step; the first step is the reference of all others."""
    folder = tmp_path / "data"
    folder.mkdir()
    Image.fromarray(box_mask(*BOX)).save(folder / "mask.png")
    for i, white in enumerate(np.linspace(0, 1, 9)):
        picture = scene(BOX).astype(float)
        picture[16:48, 16:48] = (1 - white) * np.array([230, 20, 20]) + white * np.array([240, 240, 120])
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{i}.png")
    return listed(*(episode(f"to{i}", str(i), "0") for i in range(1, 9)), root=folder)


def evaluated(lists: list[EpisodeList], output: Path, *, helped: bool = True) -> dict[str, Outcome]:
    readers = Readers()
    companions = Companions(lists, readers) if helped else None
    predictors = {".": ModelPredictor(colour_model(), companions=companions)}
    with Evaluation(dict(predictors), lists, output, readers) as evaluation:
        for _ in evaluation.run():
            pass
        write_outputs(evaluation)
        return evaluation.records["."].outcomes


def test_companions_are_the_other_targets_of_list_and_class() -> None:
    first = listed(
        episode("1", "a", "r"), episode("2", "b", "c"), episode("3", "c", "r"), episode("4", "b", "s"),
        episode("5", "z", "r", cls="other"), episode("6", "a", "r", box=(0, 0, 8, 8)),
    )  # fmt: skip
    second = listed(episode("7", "d", "r"), episode("8", "e", "r"))
    found = Companions([first, second], Readers(Path("/data")))
    episodes = (*first.episodes, *second.episodes)
    names = {each.id: [view.picture[0] for view in found.list_helpers(each)] for each in episodes}
    assert names == {
        "1": ["a", "b", "c"],  # another part of a is another target
        "2": ["a", "a"],  # c is its reference
        "3": ["a", "a", "b"],
        "4": ["a", "a", "c"],
        "5": [],
        "6": ["a", "b", "c"],
        "7": ["e"],
        "8": ["d"],
    }
    assert found.files(second.episodes[0]) == [Path("/data/e.png")]
    assert found.list_helpers(Pair("p", "x", "a", "b", (), (), 1.0)) == []


def test_the_last_is_found_with_the_help_of_the_others(fading: EpisodeList, tmp_path: Path) -> None:
    helped = evaluated([fading], tmp_path / "helped")
    alone = evaluated([fading], tmp_path / "alone", helped=False)
    assert all(outcome.error is None for outcome in helped.values())
    assert (helped["to8"].iou or 0) > 90
    assert (alone["to8"].iou or 0) < 50
    results = json.loads((tmp_path / "helped/results.json").read_text())
    assert results["settings"]["transductive"] is True
    assert "**transductive**: the targets of a class help each other" in (tmp_path / "helped/report.md").read_text()
    assert json.loads((tmp_path / "alone/results.json").read_text())["settings"]["transductive"] is False
    assert "transductive" not in (tmp_path / "alone/report.md").read_text()


def test_every_picture_is_encoded_once(fading: EpisodeList, tmp_path: Path) -> None:
    model, readers = colour_model(), Readers()
    assert isinstance(model.encoder, ColourEncoder)
    predictors = model_predictors(
        lambda: model, {".": {"method": "insid3"}}, False, "model", 10**8, Companions([fading], readers)
    )
    with Evaluation(predictors, [fading], tmp_path / "out", readers) as evaluation:
        assert len(list(evaluation.run())) == 8
    assert model.encoder.calls <= 9 + 2  # the basis


def test_results_of_another_list_are_made_again(fading: EpisodeList, tmp_path: Path) -> None:
    """A shorter list has fewer helper targets."""
    whole = evaluated([fading], tmp_path / "whole")
    few = evaluated([fading.first(2)], tmp_path / "out")
    assert few["to1"].files != whole["to1"].files
    again = evaluated([fading], tmp_path / "out")
    assert {id: replace(o, seconds=0) for id, o in again.items()} == {
        id: replace(o, seconds=0) for id, o in whole.items()
    }


def test_a_companion_that_cannot_be_read_fails_alone(fading: EpisodeList, tmp_path: Path) -> None:
    (tmp_path / "data/4.png").write_bytes(b"broken")
    outcomes = evaluated([fading], tmp_path / "out")
    assert [id for id, outcome in outcomes.items() if outcome.error] == ["to4"]


def test_it_does_not_mix_with_the_published_setting(fading: EpisodeList, tmp_path: Path) -> None:
    evaluated([fading.first(2)], tmp_path / "out", helped=False)
    with pytest.raises(OutputError, match="transductive False not True"):
        evaluated([fading.first(2)], tmp_path / "out")
    settings = tmp_path / "out/run.json"
    older = json.loads(settings.read_text())
    del older["transductive"]
    settings.write_text(json.dumps(older))
    with pytest.raises(OutputError, match="transductive False not True"):
        evaluated([fading.first(2)], tmp_path / "out")
    evaluated([fading.first(2)], tmp_path / "out", helped=False)


def test_the_papers_figures_do_not_stand_beside_it() -> None:
    config = Config(1024, 500, 0.6, **paper_settings(1024)).as_dict()  # type: ignore[arg-type]
    settings = {"method": "insid3", "score_at": "model", "config": config, "transductive": False}
    assert follows_paper(settings)
    assert not follows_paper({**settings, "transductive": True})


def test_at_the_original_size(fading: EpisodeList) -> None:
    predictor = ModelPredictor(colour_model(), score_at="original", companions=Companions([fading], Readers()))
    found = predictor.segment(Material(fading.episodes[-1], Readers()(fading.root)))
    assert found.mask.shape == (64, 64)
    assert found.mask[16:48, 16:48].mean() > 0.95


def test_what_cannot_be(fading: EpisodeList, own: Path) -> None:
    companions = Companions([fading, *draw([f"episodes:{own}"])], Readers())
    with pytest.raises(ConfigError, match="method nearest marks each target alone"):
        ModelPredictor(colour_model(), "nearest", companions=companions)
    with pytest.raises(ConfigError, match=r"must be seen whole: .* \(of evaluate: --transductive\)"):
        ModelPredictor(colour_model(tile=32), score_at="original", companions=companions)
