"""insid3 evaluate and insid3 report."""

import json
import os
import pickle
import runpy
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from insid3.eval.datasets import DATASETS

Invoke = Callable[..., Result]


def test_own_episodes(invoke: Invoke, own: Path) -> None:
    result = invoke("evaluate", f"episodes:{own}", "-o", "out")
    assert result.exit_code == 0, result.output
    assert "6 episodes, hash " in result.stderr
    assert "warm, fold 0, 1 shot" in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("warm         mIoU ")
    assert lines[2].startswith("mean         mIoU ")
    assert lines[3] == "out/report.html"
    results = json.loads(Path("out/results.json").read_text())
    assert results["settings"]["config"]["size"] == 32
    assert results["machine"]["platform"]
    assert invoke("report", "out").stdout.splitlines() == [
        line for line in Path("out/report.md").read_text().split("\n## ")[0].rstrip().splitlines()
    ]


def test_quiet_and_verbose(invoke: Invoke, own: Path) -> None:
    assert invoke("evaluate", f"episodes:{own}", "-o", "out", "-q").output == ""
    assert "red0: 99.6, 0." in invoke("evaluate", f"episodes:{own}", "-o", "out2", "-v").stderr


def test_episodes_can_be_drawn_saved_and_run(invoke: Invoke, mini: Path) -> None:
    result = invoke("evaluate", "isic", "coco", "--data-root", mini, "--limit", 2, "--episodes-out", "list.json")
    assert result.exit_code == 0, result.output
    assert not Path("out").exists()
    assert invoke("evaluate", "isic", "coco", "--data-root", mini, "--limit", 2, "-o", "direct").exit_code == 0
    result = invoke("evaluate", "--episodes", "list.json", "--data-root", mini, "-o", "saved")
    assert result.exit_code == 0, result.output
    found = [json.loads(Path(folder, "results.json").read_text()) for folder in ("direct", "saved")]
    assert found[0]["episodes_hash"] == found[1]["episodes_hash"]
    assert found[0]["sets"] == found[1]["sets"]
    assert Path("direct/episodes.json").read_text() == Path("list.json").read_text()


def test_fold_shots_and_seed(invoke: Invoke, mini: Path) -> None:
    options = ("--data-root", mini, "--limit", 1, "--episodes-out", "list.json")
    assert invoke("evaluate", "lvis", *options, "--fold", 3, "--shots", 5, "--seed", 7).exit_code == 0
    (found,) = json.loads(Path("list.json").read_text())["lists"]
    assert (found["fold"], found["shots"], found["seed"], len(found["episodes"][0]["references"])) == (3, 5, 7, 5)


def test_sweep_and_report(invoke: Invoke, own: Path) -> None:
    result = invoke(
        "evaluate", f"episodes:{own}", "-o", "out", "--sweep", "threshold=0.2,1.5", "--sweep", "method=insid3,nearest"
    )
    assert result.exit_code == 0, result.output
    assert "threshold=1.5,method=nearest" in result.stdout
    assert result.stdout.splitlines()[-1] == "out/sweep.html"
    assert len(json.loads(Path("out/sweep.json").read_text())) == 4
    folders = [f"out/threshold={threshold},method=insid3" for threshold in (0.2, 1.5)]
    result = invoke("report", *folders, "-o", "compared.md")
    assert result.exit_code == 0, result.output
    assert "- config.threshold: 0.2 and 1.5" in result.stdout
    assert "| warm | 3 | " in result.stdout
    assert "<table>" in Path("compared.html").read_text()
    assert "out is a sweep: read out/sweep.md, or give one of its folders (thr" in str(
        invoke("report", "out").exception
    )
    assert "give one of them" in str(invoke("report", *folders, "-o", "compared.txt").exception)
    assert invoke("report", folders[0], "-o", "one.html").exit_code == 0
    assert sorted(path.name for path in Path().glob("one.*")) == ["one.html", "one.md"]
    Path(folders[0], "results.json").write_text('{"sets": {"warm": {}}, "settings": {}}')
    assert "results.json is laid out otherwise" in str(invoke("report", folders[0]).exception)


def test_a_sweep_of_one_is_a_sweep(invoke: Invoke, own: Path) -> None:
    result = invoke("evaluate", f"episodes:{own}", "-o", "out", "--sweep", "tau=0.5")
    assert result.stdout.splitlines()[-1] == "out/sweep.html"
    assert Path("out/sweep.html").exists()


def test_what_is_missing_is_named_before_anything_is_exported(invoke: Invoke, own: Path) -> None:
    (own / "masks/red_b.png").unlink()
    result = invoke("evaluate", f"episodes:{own}", "--export-episodes", "export")
    assert "1 files are missing" in str(result.exception)
    assert not Path("export").exists()


def test_paper_protocol(invoke: Invoke, mini: Path) -> None:
    options = ("evaluate", "isic", "--data-root", mini, "--limit", 1, "--protocol", "paper", "--size", 64)
    assert invoke(*options, "-o", "out").exit_code == 0
    config = json.loads(Path("out/run.json").read_text())["config"]
    assert (config["refine"], config["solver"], config["crf_size"]) == ("crf", "frank-wolfe", 64)
    assert "| **ISIC 2018** | 1 | " in Path("out/report.md").read_text()
    assert "| 54.4 |" in Path("out/report.md").read_text()
    assert "can hardly be compared" in Path("out/report.md").read_text()
    assert invoke(*options, "-o", "sizes", "--sweep", "size=64,128").exit_code == 0
    sizes = [json.loads(Path(f"sizes/size={size}/run.json").read_text())["config"]["crf_size"] for size in (64, 128)]
    assert sizes == [64, 128]
    result = invoke(*options, "-o", "other", "--sweep", "solver=mean-field,frank-wolfe")
    assert "--protocol paper sets the refinement itself: leave out --solver" in str(result.exception)
    result = invoke(*options, "-o", "other", "--refine", "guided")
    assert "--protocol paper sets the refinement itself: leave out --refine" in str(result.exception)


def test_predictions_and_export(invoke: Invoke, own: Path) -> None:
    assert invoke("evaluate", f"episodes:{own}", "-o", "out", "--score-at", "original").exit_code == 0
    result = invoke(
        "evaluate", f"episodes:{own}", "--predictions", "out/masks", "-o", "again", "--score-at", "original"
    )
    assert result.exit_code == 0, result.output
    first, second = (json.loads(Path(folder, "results.json").read_text()) for folder in ("out", "again"))
    assert first["sets"] == second["sets"]
    assert f"masks of another program: `{Path('out/masks').resolve()}`" in Path("again/report.md").read_text()
    assert invoke("evaluate", f"episodes:{own}", "--export-episodes", "export").exit_code == 0
    assert invoke("evaluate", "episodes:export", "-o", "exported", "--score-at", "original").exit_code == 0
    assert json.loads(Path("exported/results.json").read_text())["miou"] == first["miou"]


def test_check(invoke: Invoke, mini: Path) -> None:
    result = invoke("evaluate", "--check", "--data-root", mini)
    assert result.exit_code == 0
    assert all(f"({name})" in result.stdout for name in DATASETS)
    assert "COCO2014/val2014/*.jpg: 40 photographs (published: 40504)" in result.stdout
    assert "MISSING" not in result.stdout
    result = invoke("evaluate", "--check", "coco", "--data-root", ".")
    assert result.exit_code == 1
    assert "MISSING COCO2014/splits/val/fold[0-3].pkl: 0 lists of each fold (published: 4)" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to evaluate: data sets"),
        (["coco", "--episodes", "x.json"], "say what to evaluate: data sets"),
        (["coco"], "nothing to do: give -o DIR"),
        (["coco", "-o", "out"], "coco needs the folder that holds the data sets: --data-root DIR"),
        (["coco", "-o", "out", "--data-root", "."], "fold0.pkl: No such file"),
        (["coco", "-o", "out", "--fold", "x", "--data-root", "."], "--fold must be 'all' or a number, got 'x'"),
        (["cocoa", "-o", "out"], "unknown data set 'cocoa'"),
        (["--episodes", "x.json", "-o", "out"], "x.json: No such file"),
        (["--episodes", "x.json", "-o", "out", "--fold", "1"], "leave out --fold, --shots and --seed"),
        (["--episodes", "empty.json", "-o", "out"], "there are no episodes to run"),
        (["--check"], "--check needs the folder"),
        (["episodes:nowhere", "-o", "out"], "nowhere/episodes.json: No such file"),
        (["folder:nowhere", "-o", "out"], "no pictures in nowhere/images"),
        (["episodes:OWN", "-o", "out", "--method", "magic"], "unknown method 'magic'"),
        (["episodes:OWN", "-o", "out", "--sweep", "tau=high"], "tau must be a number, got 'high'"),
        (["episodes:OWN", "-o", "out", "--sweep", "shape=1"], "with a name of method"),
        (["episodes:OWN", "-o", "out", "--tile", "32"], "use --score-at original with --tile"),
        (["episodes:OWN", "-o", "out", "--transductive", "--method", "nearest"], "the other methods mark each target"),
        (["episodes:OWN", "-o", "out", "--transductive", "--sweep", "method=insid3,nearest"], "the other methods"),
        (["episodes:OWN", "-o", "out", "--transductive", "--predictions", "."], "leave out --transductive"),
        (["episodes:OWN", "-o", "out", "--transductive", "--tile", "32", "--score-at", "original"], "seen whole"),
        (["episodes:OWN", "-o", "out", "--predictions", "nowhere"], "nowhere is not a folder"),
        (["episodes:OWN", "-o", "out", "--predictions", ".", "--sweep", "tau=1"], "leave out --sweep"),
        (
            ["episodes:OWN", "-o", "out", "--predictions", ".", "--size", "28", "--method", "nearest"],
            "--method, --size",
        ),
        (["coco", "--data-root", ".", "-o", "out", "--fold", "²"], "--fold must be 'all' or a number"),
        (["episodes:OWN", "-o", "out", "--fold", "1"], "has no folds: leave out --fold"),
        (["coco", "--data-root", ".", "-o", "out", "--sweep", "taw=1"], "with a name of method"),
        (["coco", "--data-root", ".", "-o", "out", "--method", "magic"], "unknown method 'magic'"),
        (["episodes:OWN", "-o", "OWN"], "holds the data of 'warm': use another output folder"),
        (["episodes:OWN", "-o", "out", "--export-episodes", "out"], "give them different folders"),
        (["episodes:OWN", "-o", "ref.png"], "is not a folder that you may write to"),
    ],
)
def test_what_cannot_be_done_is_said(invoke: Invoke, own: Path, words: list[str], message: str) -> None:
    Path("empty.json").write_text('{"format": "insid3-episodes", "version": 1, "lists": []}')
    result = invoke("evaluate", *[word.replace("OWN", str(own)) for word in words])
    assert result.exit_code != 0
    assert message in str(result.exception)
    assert not Path("out/results.jsonl").exists()


def test_seeds_that_are_none(invoke: Invoke) -> None:
    for seed in (-1, 2**32):
        result = invoke("evaluate", "coco", "--data-root", ".", "-o", "out", "--seed", seed)
        assert result.exit_code == 2
        assert "--seed" in result.output


def test_transductive_is_a_setting_of_its_own(invoke: Invoke, own: Path) -> None:
    paper = ("--protocol", "paper", "--size", 64)
    result = invoke("evaluate", f"episodes:{own}", "-o", "out", "--transductive", *paper)
    assert result.exit_code == 0, result.output
    assert json.loads(Path("out/results.json").read_text())["settings"]["transductive"] is True
    told = invoke("report", "out").stdout
    assert "- **transductive**: the targets of a class help each other; not the published setting" in told
    assert "The paper's figures" not in told
    assert invoke("evaluate", f"episodes:{own}", "-o", "alone", *paper).exit_code == 0
    assert "- transductive: False and True" in invoke("report", "alone", "out").stdout
    again = invoke("evaluate", f"episodes:{own}", "-o", "out", *paper)
    assert "transductive True not False" in str(again.exception)


def test_points_and_masks_do_not_mix(invoke: Invoke, mini: Path) -> None:
    spair = ("evaluate", "spair", "--data-root", mini, "-o", "out")
    assert "spair has points: leave it out" in str(invoke(*spair, "--method", "nearest").exception)
    assert "spair has points: leave it out" in str(invoke(*spair, "--predictions", ".").exception)
    assert "spair has points: leave it out" in str(invoke(*spair, "--export-episodes", "e").exception)
    assert "spair has points: leave it out" in str(invoke(*spair, "--transductive").exception)
    result = invoke(*spair, "--limit", 3)
    assert result.exit_code == 0
    assert result.stdout.startswith("spair        PCK  0.05: ")


def test_a_failed_episode_is_exit_status_one(invoke: Invoke, own: Path) -> None:
    (own / "images/red_c.png").write_text("hello")
    result = invoke("evaluate", f"episodes:{own}", "-o", "out")
    assert result.exit_code == 1
    assert "red_c.png is not a picture of a supported format" in result.stderr
    assert "episodes: 5 scored (0 empty, 0 doubtful), 1 failed, 0 skipped" in result.stderr


def test_the_last_line_counts_what_became_of_the_episodes(
    invoke: Invoke, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from insid3.eval.predict import ModelPredictor, Prediction

    def segment(self: ModelPredictor, material: Any) -> Prediction:
        mask, name = np.zeros((64, 64), bool), material.episode.id
        mask[:9] = name != "red0"
        return Prediction(mask, {"red0": 0.0, "red1": 0.49, "red2": 0.5}.get(name, 0.9), None)

    monkeypatch.setattr(ModelPredictor, "segment", segment)
    result = invoke("evaluate", f"episodes:{own}", "-o", "out", "--limit", 2)
    assert result.stderr.splitlines()[-1] == "episodes: 4 scored (1 empty, 1 doubtful), 0 failed, 0 skipped"
    result = invoke("evaluate", f"episodes:{own}", "-o", "out")
    told = "episodes: 2 scored (0 empty, 0 doubtful), 0 failed, 4 skipped (4 done before)"
    assert result.stderr.splitlines()[-1] == told
    numbers = json.loads(Path("out/results.json").read_text())
    assert [numbers[key] for key in ("episodes", "empty", "doubtful", "errors", "left_out")] == [6, 1, 1, 0, 0]


def test_names_do_not_reach_the_terminal_raw(invoke: Invoke, own: Path) -> None:
    text = (own / "episodes.json").read_text().replace('"warm"', '"w\\u001b[31m\\nrm"')
    (own / "episodes.json").write_text(text)
    result = invoke("evaluate", f"episodes:{own}", "-o", "out")
    assert result.exit_code == 0, result.output
    shown = result.output + invoke("report", "out").output
    assert "\x1b[31m" not in shown
    assert "\\x1b[31m" in shown


def test_interrupt_keeps_what_is_done(invoke: Invoke, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from insid3.eval.predict import ModelPredictor

    whole, calls = ModelPredictor.segment, []

    def interrupted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ModelPredictor, "segment", interrupted)
    result = invoke("evaluate", f"episodes:{own}", "-o", "out")
    assert result.exit_code == 130
    assert "stopped after 2 episodes; the same command (without --overwrite) continues" in result.stderr
    assert len(Path("out/results.jsonl").read_text().splitlines()) == 2
    assert invoke("evaluate", f"episodes:{own}", "-o", "out").exit_code == 0
    assert len(calls) == 3 + 4


def test_a_hostile_pickle_stops_everything(invoke: Invoke, mini: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, ("touch ran",)

    Path("root/LVIS").mkdir(parents=True)
    Path("root/LVIS/lvis_val.pkl").write_bytes(pickle.dumps(Hostile()))
    result = invoke("evaluate", "lvis", "--data-root", "root", "-o", "out")
    assert result.exit_code != 0
    assert "asks for posix.system" in str(result.exception)
    assert not Path("ran").exists()
    assert not Path("out").exists()


@pytest.mark.parity
def test_numbers_are_those_of_the_scoring_script(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published implementation's masks, scored by us and by the script."""
    masks, dev = tmp_path / "masks", shared / "dev"
    masks.mkdir()
    stored = np.load(dev / "reference_280.npz")
    for name in stored:
        if not name.endswith("_shape"):
            shape = stored[f"{name}_shape"]
            mask = np.unpackbits(stored[name])[: np.prod(shape)].reshape(shape)
            Image.fromarray(mask * np.uint8(255)).save(masks / f"{name}.png")
    from insid3.eval.datasets import draw
    from insid3.eval.outputs import write_outputs
    from insid3.eval.predict import FolderPredictor
    from insid3.eval.run import Evaluation

    predictor = FolderPredictor(masks, "original")
    with Evaluation({".": predictor}, draw([f"episodes:{dev}"]), tmp_path / "out", masks=False) as evaluation:
        for _ in evaluation.run():
            pass
        found = write_outputs(evaluation)["."]
    monkeypatch.setattr(sys, "argv", ["score.py", str(dev), str(dev / "reference_280.npz")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the script leaves a file open
        script = runpy.run_path(str(dev / "score.py"))
    expected = script["table"](script["load"](dev / "reference_280.npz"))
    assert {name: each["miou"] for name, each in found["sets"].items()} == pytest.approx(expected, abs=1e-6)


def test_presets_side_by_side(invoke: Invoke, own: Path) -> None:
    """Two runs and their comparison, which names what differs."""
    for preset in ("published", "plus"):
        assert invoke("evaluate", f"episodes:{own}", "-o", preset, "--preset", preset, "--rank", 2).exit_code == 0
    rules = [json.loads(Path(f"{preset}/run.json").read_text())["config"]["rule"] for preset in ("published", "plus")]
    assert rules == ["clusters", "field"]
    text = invoke("report", "published", "plus").stdout
    assert "- config.rule: clusters and field" in text
    assert "- config.threshold: 0.2 and 0.5" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--protocol", "paper"), "--protocol paper is of the published method: leave out --preset plus"),
        (("--method", "nearest"), "--preset plus is of insid3, not of the other methods"),
        (("--predictions", "."), "--predictions holds masks that are made: leave out --preset"),
    ],
)
def test_plus_is_a_preset_of_the_method_alone(
    invoke: Invoke, own: Path, options: tuple[str, str], message: str
) -> None:
    result = invoke("evaluate", f"episodes:{own}", "-o", "out", "--preset", "plus", *options)
    assert message in str(result.exception)
    assert not Path("out").exists()
