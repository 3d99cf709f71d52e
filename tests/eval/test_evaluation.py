"""Evaluation runs: their numbers, and that no outcome is lost."""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from insid3 import INSID3
from insid3.batch.writers import write_mask
from insid3.cli.evaluate_progress import tell
from insid3.errors import ConfigError, DataError, OutputError
from insid3.eval import run as running
from insid3.eval.datasets import draw
from insid3.eval.episodes import Episode, EpisodeList, Pair, View, load, save
from insid3.eval.outcome import Outcome
from insid3.eval.outputs import write_outputs
from insid3.eval.predict import FolderPredictor, Material, ModelPredictor, Prediction
from insid3.eval.reader import Reader
from insid3.eval.run import Evaluation
from insid3.imaging.read import picture_size
from stubs import box_mask, colour_model, scene

Invoke = Callable[..., Result]


def evaluated(
    lists: list[EpisodeList], output: Path, model: INSID3 | None = None, *, overwrite: bool = False
) -> dict[str, Outcome]:
    predictors = {".": ModelPredictor(model or colour_model())}
    with Evaluation(dict(predictors), lists, output, overwrite=overwrite) as evaluation:
        for _ in evaluation.run():
            pass
        write_outputs(evaluation)
        return evaluation.records["."].outcomes


def without_times(output: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    lines = [json.loads(line) | {"seconds": 0} for line in (output / "results.jsonl").read_text().splitlines()]
    results = json.loads((output / "results.json").read_text())
    return sorted(lines, key=lambda line: str(line["id"])), {**results, "seconds": 0, "machine": {}}


def test_own_episodes_are_solved(own: Path, tmp_path: Path) -> None:
    outcomes = evaluated(draw([f"episodes:{own}"]), tmp_path / "out")
    assert len(outcomes) == 6
    assert all(outcome.iou and outcome.iou > 80 and outcome.error is None for outcome in outcomes.values())
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert set(results["sets"]) == {"warm", "cold"}
    assert results["miou"] == pytest.approx((results["sets"]["warm"]["miou"] + results["sets"]["cold"]["miou"]) / 2)
    assert results["sets"]["warm"]["folds"]["0"]["classes"]["red"]["episodes"] == 3
    for name in ("report.md", "report.html", "episodes.json", "run.json", "masks/red0.png", "pictures/warm_best.jpg"):
        assert (tmp_path / "out" / name).stat().st_size > 0


def test_counts_by_hand(own: Path, tmp_path: Path) -> None:
    """A model of 32 pixels scores a truth of 16 x 16 of them; the rest of the 1,024 is background."""
    outcome = evaluated(draw([f"episodes:{own}"]), tmp_path / "out")["red0"]
    mask = np.asarray(Image.open(tmp_path / "out/masks/red0.png")) > 0
    assert mask.shape == (32, 32)
    truth = box_mask(16, 16, 32, 32, size=(32, 32))
    both, either = int((mask & truth).sum()), int((mask | truth).sum())
    assert outcome.intersection == (1024 - either, both)
    assert outcome.union == (1024 - both, either)
    assert outcome.iou == pytest.approx(100 * both / either)


def test_at_the_original_size(own: Path, tmp_path: Path) -> None:
    lists = draw([f"episodes:{own}"])
    with Evaluation({".": ModelPredictor(colour_model(), score_at="original")}, lists, tmp_path / "out") as evaluation:
        ((_, (outcome,)), *_) = evaluation.run()
    mask = np.asarray(Image.open(tmp_path / "out/masks/red0.png")) > 0
    model = colour_model()
    concept = model.concept(own / "images/red_a.png", own / "masks/red_a.png")
    assert np.array_equal(mask, model.segment(own / "images/red_b.png", concept).mask)
    assert outcome.union is not None
    assert sum(outcome.union) >= mask.size == 64 * 64


def test_what_is_ignored_does_not_count(own: Path, tmp_path: Path) -> None:
    """All but the box is ignored, so that only the box is left of prediction and truth."""
    (own / "ignore").mkdir()
    Image.fromarray(~box_mask(32, 32, 64, 64)).save(own / "ignore/red_b.png")
    entries = json.loads((own / "episodes.json").read_text())
    entries[0]["ignore"] = "red_b"
    (own / "episodes.json").write_text(json.dumps(entries))
    outcome = evaluated(draw([f"episodes:{own}"]), tmp_path / "out")["red0"]
    assert outcome.intersection is not None
    assert outcome.union is not None
    assert outcome.union[1] <= 256
    assert outcome.intersection[0] + outcome.union[1] == 256


def test_a_second_run_computes_nothing_again(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = draw([f"episodes:{own}"])
    evaluated(lists, tmp_path / "out")
    before = without_times(tmp_path / "out")

    def broken(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(ModelPredictor, "segment", broken)
    evaluated(lists, tmp_path / "out")
    assert without_times(tmp_path / "out") == before


@pytest.mark.parametrize("done", [0, 1, 4])
@pytest.mark.parametrize("torn", ["", '{"id": "red1", "fing'])
def test_an_interrupted_run_continues(own: Path, tmp_path: Path, done: int, torn: str) -> None:
    lists = draw([f"episodes:{own}"])
    evaluated(lists, tmp_path / "whole")
    evaluated(lists, tmp_path / "out")
    lines = (tmp_path / "out/results.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out/results.jsonl").write_text("".join(lines[:done]) + torn)
    (tmp_path / "out/results.json").unlink()
    evaluated(lists, tmp_path / "out")
    assert without_times(tmp_path / "out") == without_times(tmp_path / "whole")


def test_what_was_done_before_is_said_to_be_skipped(invoke: Invoke, own: Path) -> None:
    """Each run reports its own work; an episode whose files changed is run again, and not reported as skipped."""
    words = ("evaluate", f"episodes:{own}", "--sweep", "tau=0.5,0.6", "-o", "out")
    first = invoke(*words, "--limit", 1)  # of each of two sets
    assert "episodes: 4 scored (0 empty, 0 doubtful), 0 failed, 0 skipped\n" in first.stderr
    assert "episodes: 8 scored (0 empty, 0 doubtful), 0 failed, 4 skipped (4 done before)\n" in invoke(*words).stderr
    again = invoke(*words).stderr
    assert "episodes: 0 scored (0 empty, 0 doubtful), 0 failed, 12 skipped (12 done before)\n" in again
    assert "0 failed, 4 skipped (4 done before)\n" in invoke(*words, "--limit", 1).stderr
    target = next(own.glob("images/red_b.*"))
    target.write_bytes(b"no picture")
    assert "0 scored (0 empty, 0 doubtful), 2 failed, 10 skipped (10 done before)\n" in invoke(*words).stderr


def test_polygons_of_few_points_are_said(invoke: Invoke, tmp_path: Path) -> None:
    box, line = [0.0, 0, 32, 0, 32, 32, 0, 32], [1.0, 1, 5, 5]
    its = {f"{i}.png": {"annotations": [{"segmentation": [box, *[line] * i]}]} for i in range(2)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({0: its}))
    for name in its:
        Image.fromarray(scene((0, 0, 32, 32))).save(tmp_path / name)
    views = [View(name, ("lvis", "a.pkl", 0, name)) for name in its]
    episodes = (Episode("a", "0", views[0], (views[1],)), Episode("b", "0", views[1], (views[0],)))
    save([EpisodeList("mine", "mine", 0, 1, 0, 2, {"0": "box"}, episodes, str(tmp_path))], tmp_path / "list.json")
    result = invoke("evaluate", "--episodes", tmp_path / "list.json", "-o", "out")
    assert result.exit_code == 0, result.output
    assert "2 polygons of fewer than three points left out" in result.stderr
    assert "mine: 2 polygons of fewer than three points were left out of masks." in Path("out/report.md").read_text()
    assert json.loads(Path("out/results.json").read_text())["sets"]["mine"]["polygons_left_out"] == 2
    assert "2 polygons of fewer" in invoke("evaluate", "--episodes", tmp_path / "list.json", "-o", "out").stderr


def test_names_of_data_sets_move_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    odd = "a\u202eb\x1b[1m\n"
    its = {"miou": 1.0, "fb_iou": 1.0, "episodes": 1}
    tell({odd: {"sets": {odd: its, f"{odd}2": {"pck": {"0.1": 1.0}, "episodes": 1}}, "miou": None}}, Path(odd))
    lines = capsys.readouterr().out
    assert lines.count("\n") == 4
    assert lines.count(r"a\u202eb\x1b[1m\n") == 4
    assert not {*lines} & {*odd.replace("\n", "")} - {*r"a\u202eb\x1b[1m\n"}


@pytest.mark.parametrize("name", ["lock", "results.json", "report.md"])
def test_places_that_cannot_be_written_to_are_named(own: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(OutputError, match=rf"cannot write results: .*{name}: "):
        evaluated(draw([f"episodes:{own}"], limit=1), tmp_path / "out")


def test_a_changed_episode_is_run_again(own: Path, tmp_path: Path) -> None:
    first = evaluated(draw([f"episodes:{own}"]), tmp_path / "out")
    text = (own / "episodes.json").read_text().replace('"tgt": "red_b"', '"tgt": "red_c"')
    (own / "episodes.json").write_text(text)
    second = evaluated(draw([f"episodes:{own}"]), tmp_path / "out")
    assert first["red0"].fingerprint != second["red0"].fingerprint == second["red1"].fingerprint
    assert second["red0"].intersection == second["red1"].intersection
    assert len(second) == 6


def test_another_limit_continues_and_other_settings_do_not(own: Path, tmp_path: Path) -> None:
    lists = draw([f"episodes:{own}"])
    evaluated([each.first(1) for each in lists], tmp_path / "out")
    assert len(evaluated(lists, tmp_path / "out")) == 6
    with pytest.raises(OutputError, match=r"results of another run \(config.threshold 0.2 not 0.3, .*: use another"):
        evaluated(lists, tmp_path / "out", colour_model(threshold=0.3))
    evaluated(lists, tmp_path / "out", colour_model(threshold=0.3), overwrite=True)


def test_only_one_run_at_a_time(own: Path, tmp_path: Path) -> None:
    lists, predictors = draw([f"episodes:{own}"]), {".": ModelPredictor(colour_model())}
    with (
        Evaluation(dict(predictors), lists, tmp_path / "out"),
        pytest.raises(OutputError, match=r"another insid3 evaluate is writing to .*out: wait for it"),
    ):
        Evaluation(dict(predictors), lists, tmp_path / "out")
    (tmp_path / "out/lock").write_text("12345")  # of a run that was killed
    with Evaluation(dict(predictors), lists, tmp_path / "out"):
        pass


def test_results_of_somebody_else_stay(own: Path, tmp_path: Path) -> None:
    lists = draw([f"episodes:{own}"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/results.jsonl").write_text("{}\n")
    with pytest.raises(OutputError, match="is not from insid3 evaluate"):
        evaluated(lists, tmp_path / "out")
    (tmp_path / "out/run.json").write_text("{")
    with pytest.raises(OutputError, match="that cannot be read"):
        evaluated(lists, tmp_path / "out")
    assert (tmp_path / "out/results.jsonl").read_text() == "{}\n"


def test_missing_files_are_named_before_anything_runs(own: Path, tmp_path: Path) -> None:
    lists = draw([f"episodes:{own}"])
    (own / "images/red_c.png").unlink()
    (own / "masks/green_d.png").unlink()
    with pytest.raises(DataError, match=r"2 files are missing:\n.*red_c.png\n.*green_d.png$"):
        evaluated(lists, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_picture_fails_alone_and_is_tried_again(own: Path, tmp_path: Path) -> None:
    lists = draw([f"episodes:{own}"])
    whole = (own / "images/red_c.png").read_bytes()
    (own / "images/red_c.png").write_bytes(whole[:100])
    outcomes = evaluated(lists, tmp_path / "out")
    assert "red_c.png is damaged or cut short" in str(outcomes["red1"].error)
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert (results["episodes"], results["errors"]) == (6, 1)
    assert results["sets"]["warm"]["episodes"] == 2
    assert "1 episodes failed" in (tmp_path / "out/report.md").read_text()
    (own / "images/red_c.png").write_bytes(whole)
    assert evaluated(lists, tmp_path / "out")["red1"].error is None
    assert len((tmp_path / "out/results.jsonl").read_text().splitlines()) == 6


def test_a_reference_without_a_mask_predicts_nothing(own: Path) -> None:
    """A part may lie outside its object's box; of several shots, those with a mask count."""
    (episode, *_) = draw([f"episodes:{own}"])[0].episodes
    assert isinstance(episode, Episode)
    empty = View("images/red_a.png", episode.references[0].mask, (40, 40, 64, 64))
    predictor, reader = ModelPredictor(colour_model()), Reader(own)
    found = predictor.segment(Material(replace(episode, references=(empty,)), reader))
    assert not found.mask.any()
    assert found.reason == "the reference's mask is empty"
    both = predictor.segment(Material(replace(episode, references=(empty, *episode.references)), reader))
    alone = predictor.segment(Material(episode, reader))
    assert np.array_equal(both.mask, alone.mask)


def test_points(tmp_path: Path) -> None:
    """The corners of a moved box are found, whatever the picture's size."""
    Image.fromarray(scene((0, 0, 32, 32))).save(tmp_path / "a.png")
    Image.fromarray(scene((32, 32, 64, 64))).save(tmp_path / "b.png")
    pair = Pair("p", "box", "a.png", "b.png", ((12, 12), (20, 20)), ((44, 44), (52, 52)), 64.0)
    lists = [EpisodeList("spair", "spair", 0, 1, 0, 1, {"box": "box"}, (pair,), str(tmp_path))]
    outcome = evaluated(lists, tmp_path / "out")["p"]
    assert outcome.found is not None
    assert len(outcome.found) == 2
    assert outcome.correct is not None
    assert list(outcome.correct) == sorted(outcome.correct)
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["miou"] is None
    assert results["sets"]["spair"]["pck"]["0.2"] == 50 * outcome.correct[3]
    outside = replace(lists[0], episodes=(replace(pair, source_points=((-1, 12), (20, 99))),))
    assert evaluated([outside], tmp_path / "outside")["p"].error is None  # as published: the nearest patch
    no_points = replace(pair, source_points=(), target_points=())
    outcomes = evaluated([replace(lists[0], episodes=(no_points,))], tmp_path / "none")
    assert "has no points in common" in str(outcomes["p"].error)


def test_masks_of_another_program(own: Path, tmp_path: Path) -> None:
    lists = draw([f"episodes:{own}"])
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for each in lists:
        for episode in each.episodes:
            assert isinstance(episode, Episode)
            truth = Reader(own).mask(episode.target)
            Image.fromarray(truth.astype(np.uint8) * 9).save(theirs / f"{episode.id}.png")
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(theirs / "red0.png")  # another size, and empty
    with Evaluation({".": FolderPredictor(theirs)}, lists, tmp_path / "out") as evaluation:
        outcomes = {outcome.id: outcome for _, (outcome,) in evaluation.run()}
        results = write_outputs(evaluation)["."]
    assert outcomes["red0"].iou == 0
    assert sum(outcomes["red0"].union or ()) >= 100
    assert all(outcome.iou == 100 for name, outcome in outcomes.items() if name != "red0")
    assert results["sets"]["cold"]["miou"] == 100
    (theirs / "green1.png").unlink()
    with pytest.raises(DataError, match=r"1 files are missing:\n.*theirs/green1.png"):
        Evaluation({".": FolderPredictor(theirs)}, lists, tmp_path / "other")
    with pytest.raises(DataError, match="is not a folder: --predictions wants"):
        FolderPredictor(tmp_path / "nowhere")


def test_masks_of_another_program_at_the_original_size(own: Path, tmp_path: Path) -> None:
    lists = [each.first(1) for each in draw([f"episodes:{own}"])]
    for name in ("red0", "green0"):
        Image.fromarray(box_mask(4, 4, 8, 8, size=(8, 8))).save(tmp_path / f"{name}.png")
    with Evaluation({".": FolderPredictor(tmp_path, "original")}, lists, tmp_path / "out") as evaluation:
        outcomes = [outcome for _, (outcome,) in evaluation.run()]
    assert [(outcome.intersection, outcome.union) for outcome in outcomes] == [((3072, 1024), (3072, 1024))] * 2


def test_variants_share_what_they_can(own: Path, tmp_path: Path) -> None:
    lists = draw([f"episodes:{own}"])
    base = colour_model()
    models = {f"threshold={t}": INSID3(base.encoder, base.config.but(threshold=t)) for t in (0.1, 0.2, 1.5)}
    predictors = {name: ModelPredictor(model) for name, model in models.items()}
    with Evaluation(dict(predictors), lists, tmp_path / "out") as evaluation:
        for _ in evaluation.run():
            pass
        found = write_outputs(evaluation)
    calls = base.encoder.calls  # type: ignore[attr-defined]
    assert calls <= 2 * 6 + 3  # reference and target of each episode, a basis for each model
    assert found["threshold=0.2"]["miou"] > found["threshold=1.5"]["miou"]
    alone = tmp_path / "alone"
    evaluated(lists, alone)
    assert without_times(alone)[1]["sets"] == without_times(tmp_path / "out/threshold=0.2")[1]["sets"]
    assert "`threshold=1.5`" in (tmp_path / "out/sweep.md").read_text()


def test_settings_that_cannot_be_scored() -> None:
    with pytest.raises(ConfigError, match="tiles have no one square to score masks at: use --score-at original"):
        ModelPredictor(colour_model(tile=32))
    with pytest.raises(ConfigError, match="unknown method 'magic': use insid3, nearest, prototype"):
        ModelPredictor(colour_model(), "magic")


def test_a_full_disk_keeps_what_is_done(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = draw([f"episodes:{own}"])
    write: Callable[..., None] = write_mask

    def full(path: Path, mask: np.ndarray) -> None:
        if path.stem == "red2":
            raise OSError(28, os.strerror(28), str(path))
        write(path, mask)

    monkeypatch.setattr(running, "write_mask", full)
    with pytest.raises(OutputError, match=r"the disk is full .* it continues where it stopped"):
        evaluated(lists, tmp_path / "out")
    assert len((tmp_path / "out/results.jsonl").read_text().splitlines()) == 2
    monkeypatch.setattr(running, "write_mask", write)
    assert len(evaluated(lists, tmp_path / "out")) == 6


def test_a_set_of_which_nothing_could_be_run_has_no_numbers(own: Path, tmp_path: Path) -> None:
    for path in (own / "images").glob("red_*"):
        path.write_text("hello")
    outcomes = evaluated(draw([f"episodes:{own}"]), tmp_path / "out")
    assert sum(outcome.error is None for outcome in outcomes.values()) == 3
    text = (tmp_path / "out/results.json").read_text()
    results = json.loads(text, parse_constant=pytest.fail)  # NaN is not JSON
    assert results["sets"]["warm"]["miou"] is None
    assert results["sets"]["cold"]["miou"] > 80
    assert results["miou"] is None  # the other set's alone would be another mean
    assert "| **warm** | 0 |  |  |  |  |" in (tmp_path / "out/report.md").read_text()


def test_pictures_that_keep_their_aspect_ratio(own: Path, tmp_path: Path) -> None:
    for path in (*(own / "images").iterdir(), *(own / "masks").iterdir()):
        with Image.open(path) as image:
            image.crop((0, 0, 64, 48)).save(path)
    outcome = evaluated(draw([f"episodes:{own}"]), tmp_path / "out", colour_model(fit="pad"))["red2"]
    assert picture_size(tmp_path / "out/masks/red2.png") == (24, 32)
    assert outcome.iou
    assert outcome.iou > 80


def ids_run(lists: list[EpisodeList], output: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Run the lists and return the ids of the episodes that are marked again."""
    found, segment = set(), ModelPredictor.segment

    def counted(self: ModelPredictor, material: Material) -> Prediction:
        found.add(material.episode.id)
        return segment(self, material)

    with monkeypatch.context() as patch:
        patch.setattr(ModelPredictor, "segment", counted)
        evaluated(lists, output)
    return found


def test_episodes_with_the_same_names_but_other_files_are_run_again(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated(draw([f"episodes:{own}"]), tmp_path / "out")
    own.rename(tmp_path / "moved")
    lists = draw([f"episodes:{tmp_path / 'moved'}"])
    assert ids_run(lists, tmp_path / "out", monkeypatch) == set()
    Image.fromarray(box_mask(0, 0, 30, 30)).save(tmp_path / "moved/masks/red_b.png")  # the truth of one
    assert ids_run(lists, tmp_path / "out", monkeypatch) == {"red0"}
    Image.fromarray(scene((0, 0, 30, 30), colour=1)).save(tmp_path / "moved/images/green_a.png")  # reference of three
    assert ids_run(lists, tmp_path / "out", monkeypatch) == {"green0", "green1", "green2"}


def test_nothing_old_stands_beside_new_results(own: Path, tmp_path: Path) -> None:
    lists = draw([f"episodes:{own}"])
    evaluated([each.first(1) for each in lists], tmp_path / "out")
    with Evaluation({".": ModelPredictor(colour_model())}, lists, tmp_path / "out") as evaluation:
        list(evaluation.run())
    assert not [name for name in ("results.json", "report.md") if (tmp_path / "out" / name).exists()]
    evaluated(lists, tmp_path / "out")
    assert (tmp_path / "out/results.json").exists()
    Evaluation({".": ModelPredictor(colour_model())}, lists, tmp_path / "out", overwrite=True).close()
    assert not [name for name in ("results.json", "report.md") if (tmp_path / "out" / name).exists()]


def test_a_run_that_did_nothing_blocks_no_other(own: Path, tmp_path: Path) -> None:
    lists = draw([f"episodes:{own}"])
    Evaluation({".": ModelPredictor(colour_model())}, lists, tmp_path / "out").close()
    assert len(evaluated(lists, tmp_path / "out", colour_model(tau=0.5))) == 6


def test_a_box_outside_of_its_picture_fails_alone(own: Path, tmp_path: Path) -> None:
    (warm, cold) = draw([f"episodes:{own}"])
    (first, *others) = warm.episodes
    assert isinstance(first, Episode)
    broken = replace(first, target=replace(first.target, box=(100, 100, 120, 120)))
    outcomes = evaluated([replace(warm, episodes=(broken, *others)), cold], tmp_path / "out")
    assert "nothing of it lies in the box (100, 100, 120, 120)" in str(outcomes["red0"].error)
    assert sum(outcome.error is None for outcome in outcomes.values()) == 5


def test_points_that_are_no_numbers_fail_alone(tmp_path: Path) -> None:
    Image.fromarray(scene((0, 0, 32, 32))).save(tmp_path / "a.png")
    pairs = [Pair(f"{x}", "red", "a.png", "a.png", ((x, 8.0),), ((8.0, 8.0),), 10.0) for x in (float("nan"), 8.0)]
    lists = [EpisodeList("own", "own", 0, 1, 0, 2, {"red": "red"}, tuple(pairs), str(tmp_path))]
    outcomes = evaluated(lists, tmp_path / "out")
    assert "finite numbers" in str(outcomes["nan"].error)
    assert outcomes["8.0"].error is None


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_users_own_list_is_never_replaced(own: Path, overwrite: bool) -> None:
    before = (own / "episodes.json").read_bytes()
    with pytest.raises(OutputError, match=r"holds the data of 'warm': use another output folder"):
        evaluated(draw([f"episodes:{own}"]), own, overwrite=overwrite)
    (own.parent / "other").mkdir()
    (own.parent / "other/episodes.json").write_bytes(before)
    with pytest.raises(OutputError, match=r"episodes.json is not from insid3 evaluate: use another output folder"):
        evaluated(draw([f"episodes:{own}"]), own.parent / "other", overwrite=overwrite)
    assert [path.name for path in (own.parent / "other").iterdir() if path.name != "lock"] == ["episodes.json"]
    assert (own / "episodes.json").read_bytes() == before


def test_a_list_whose_classes_are_incomplete_is_refused(own: Path, tmp_path: Path) -> None:
    evaluated(draw([f"episodes:{own}"]), tmp_path / "out")
    text = (tmp_path / "out/episodes.json").read_text().replace('"classes": {"red": "red"}', '"classes": {}')
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(DataError, match=r"warm, fold 0, 1 shot has episodes of classes that it does not list: {'red'}"):
        load(tmp_path / "list.json")


def in_alpha(mode: str, mask: Image.Image) -> Image.Image:
    black = Image.new(mode, mask.size)
    black.putalpha(mask.convert("L"))
    return black


def as_values(mode: str, mask: Image.Image) -> Image.Image:
    return mask.convert(mode)


@pytest.mark.parametrize(
    ("mode", "written"),
    [*((mode, in_alpha) for mode in ("LA", "RGBA")), *((mode, as_values) for mode in ("LA", "RGBA", "RGB", "L", "1"))],
)
def test_predictions_may_have_any_mode(
    own: Path, tmp_path: Path, mode: str, written: Callable[[str, Image.Image], Image.Image]
) -> None:
    """An alpha channel that varies is the mask, as in masks of references; an opaque one is not."""
    lists = draw([f"episodes:{own}"])
    for each in lists:
        for episode in each.episodes:
            assert isinstance(episode, Episode)
            with Image.open(own / episode.target.mask[1]) as mask:
                written(mode, mask).save(tmp_path / f"{episode.id}.png")
    with Evaluation({".": FolderPredictor(tmp_path)}, lists, tmp_path / "out", masks=False) as evaluation:
        assert [outcome.iou for _, (outcome,) in evaluation.run()] == [100.0] * 6
