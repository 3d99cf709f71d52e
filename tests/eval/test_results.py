"""The numbers of a run, worked out by hand, and the reports made from them."""

import json
import shutil
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insid3.config import Config
from insid3.errors import ConfigError, DataError
from insid3.eval import compare, published, report, sweep
from insid3.eval.datasets import DATASETS, draw
from insid3.eval.episodes import Episode, EpisodeList, Pair, View, save
from insid3.eval.export import export
from insid3.eval.outcome import Outcome, read_outcomes
from insid3.eval.outputs import write_outputs
from insid3.eval.predict import ModelPredictor
from insid3.eval.reader import Reader, Readers
from insid3.eval.results import results
from insid3.eval.run import Evaluation, RunningScore
from insid3.eval.used import used_settings
from insid3.imaging.read import picture_size
from stubs import colour_model

VIEW = View("x.png", ("any", "x.png"))
SETTINGS: dict[str, Any] = {
    "method": "insid3",
    "score_at": "model",
    "config": {"size": 280},
    "match_config": {"rank": 30},
}


def listed(name: str, fold: int, classes: str, episodes: str, root: str | None = None) -> EpisodeList:
    """Return a list whose episodes have the classes `episodes`, one letter each."""
    return EpisodeList(
        dataset=name if root is None else f"episodes:{root}",
        set=name,
        fold=fold,
        shots=1,
        seed=0,
        length=len(episodes),
        classes={cls: f"class {cls}" for cls in classes},
        episodes=tuple(Episode(f"{name}{fold}{i}", cls, VIEW, (VIEW,)) for i, cls in enumerate(episodes)),
        root=root,
    )


def outcome(each: EpisodeList, index: int, both: int, either: int, **more: Any) -> Outcome:
    """Return an outcome of a picture of 100 pixels."""
    episode = each.episodes[index]
    return Outcome(
        id=episode.id,
        fingerprint=each.fingerprints[index],
        set=each.set,
        fold=each.fold,
        cls=episode.cls,
        intersection=(100 - either, both),
        union=(100 - both, either),
        boundary=(both // 2, either),
        iou=100 * both / max(either, 1),
        **more,
    )


def scored(each: EpisodeList, *pixels: tuple[int, int]) -> dict[str, Outcome]:
    found = [outcome(each, index, *counted) for index, counted in enumerate(pixels)]
    return {each.id: each for each in found}


def test_published_sets_count_classes_that_never_occur() -> None:
    """Fold 0: class a 30/60, b 10/40, c never: (50 + 25 + 0) / 3. Fold 1: a 20/20: 100 / 1. Mean of folds: 62.5."""
    first, second = listed("coco", 0, "abc", "aab"), listed("coco", 1, "a", "a")
    outcomes = scored(first, (10, 40), (20, 20), (10, 40)) | scored(second, (20, 20))
    found = results([first, second], outcomes, SETTINGS)
    folds = found["sets"]["coco"]["folds"]
    assert folds["0"]["miou"] == pytest.approx(25)
    assert folds["0"]["miou_seen"] == pytest.approx(37.5)
    assert folds["0"]["boundary_iou"] == pytest.approx((100 * 15 / 60 + 100 * 5 / 40) / 3)
    assert folds["0"]["fb_iou"] == pytest.approx((100 * 200 / 260 + 40) / 2)  # background 60 + 80 + 60 of 90 + 80 + 90
    assert folds["0"]["classes"]["c"] == {"name": "class c", "iou": 0, "boundary_iou": 0, "episodes": 0}
    assert found["miou"] == found["sets"]["coco"]["miou"] == pytest.approx(62.5)
    low, high = found["sets"]["coco"]["interval"]
    assert low <= 62.5 <= high


def test_own_sets_count_only_classes_that_occur() -> None:
    own, published_set = listed("mine", 0, "abc", "ab", root="/data"), listed("isic", 0, "ab", "a")
    outcomes = scored(own, (10, 40), (20, 20)) | scored(published_set, (10, 20))
    found = results([own, published_set], outcomes, SETTINGS)
    assert found["sets"]["mine"]["miou"] == pytest.approx(62.5)
    assert [*found["sets"]["mine"]["folds"]["0"]["classes"]] == ["a", "b"]
    assert found["sets"]["isic"]["miou"] == pytest.approx(25)
    assert found["miou"] == pytest.approx(43.75)


def test_failed_episodes_are_in_no_number() -> None:
    each = listed("isic", 0, "a", "aa")
    outcomes = scored(each, (10, 20), (0, 100))
    failed = replace(outcomes["isic01"], intersection=None, union=None, boundary=None, iou=None, error="broken")
    found = results([each], {**outcomes, "isic01": failed}, SETTINGS)
    assert found["miou"] == 50
    assert (found["errors"], found["sets"]["isic"]["episodes"]) == (1, 1)


def test_order_does_not_matter_and_all_is_json() -> None:
    each = listed("isic", 0, "abc", "abcabc")
    outcomes = scored(each, (1, 9), (2, 8), (3, 7), (4, 9), (5, 9), (6, 9))
    found = results([each], outcomes, SETTINGS)
    assert found == results([each], dict(reversed(outcomes.items())), SETTINGS)
    assert json.loads(json.dumps(found))["sets"]["isic"]["miou"] == found["miou"]


def test_points_by_image_and_by_point() -> None:
    """a: 1 of 2 points and 0 of 1; b: 3 of 3."""
    pairs = tuple(
        Pair(f"p{i}", cls, "x", "y", ((1.0, 1.0),) * points, ((1.0, 1.0),) * points, 10.0)
        for i, (cls, points) in enumerate((("a", 2), ("a", 1), ("b", 3)))
    )
    each = EpisodeList("spair", "spair", 0, 1, 0, 3, {"a": "a", "b": "b"}, pairs)
    right = [(0, 1, 1, 2), (0, 0, 1, 1), (0, 3, 3, 3)]
    outcomes = {
        pair.id: Outcome(
            pair.id, each.fingerprints[i], "spair", 0, pair.cls, iou=0.0, correct=right[i], found=pair.target_points
        )
        for i, pair in enumerate(pairs)
    }
    found = results([each], outcomes, _complete(SETTINGS))
    spair = found["sets"]["spair"]
    assert found["miou"] is None
    assert spair["pck"]["0.1"] == pytest.approx(50)  # 50, 0, 100
    assert spair["pck_by_point"]["0.1"] == pytest.approx(100 * 4 / 6)
    assert spair["pck_mean_over_categories"]["0.1"] == pytest.approx(62.5)
    assert spair["categories"]["a"] == {
        "pck": {"0.05": 0, "0.1": 25, "0.15": 75, "0.2": 100}, "pairs": 2
    }  # fmt: skip
    text = report.text_of(found)
    assert "| SPair-71k, by image | 3 | 0.0 | 50.0 | 83.3 | 100.0 |" in text


def test_running_means() -> None:
    each = listed("coco", 0, "abc", "ab")
    running = RunningScore(each)
    for done in scored(each, (10, 40), (20, 20)).values():
        running.add(done)
    assert str(running) == "mIoU 62.5"


def paper_run(**changes: Any) -> dict[str, Any]:
    config = {"size": 1024, **published.paper_settings(1024), **changes.pop("config", {})}
    return {**SETTINGS, "config": config, **changes}


def test_the_paper_stands_only_beside_its_own_protocol() -> None:
    first, second = listed("coco", 0, "a", "a"), listed("coco", 1, "a", "a")
    outcomes = scored(first, (10, 20)) | scored(second, (20, 20))
    text = report.text_of(results([first, second], outcomes, _complete(paper_run())))
    assert "| **COCO-20i** | 2 | 75.0 | 75.0 to 75.0 |  |  |" in text  # the paper's 57.6 is of four folds
    assert "| fold 1 | 1 | 100.0 | 100.0 to 100.0 | 61.2 | +38.8 |" in text
    assert "call ±0.3" in text
    for settings in (
        SETTINGS,
        paper_run(score_at="original"),
        paper_run(method="nearest"),
        paper_run(config={"solver": "mean-field"}),
        paper_run(config={"crf_size": 640}),
        paper_run(config={"aggregation": "cross"}),
        paper_run(config={"kmeans": 10}),
        paper_run(config={"fit": "pad"}),
        paper_run(config={"threshold": 0.3}),
    ):
        text = report.text_of(results([first, second], outcomes, _complete(settings)))
        assert "61.2" not in text
        assert "| **COCO-20i** | 2 | 75.0 |" in text
    own = listed("coco", 0, "a", "a", root="/data")  # only called so
    assert "57.1" not in report.text_of(results([own], scored(own, (1, 2)), _complete(paper_run())))


@pytest.mark.parametrize(
    ("dataset", "shots", "folds", "expected"),
    [
        ("coco", 1, [0, 1, 2, 3], 57.6),
        ("coco", 1, [2], 55.8),
        ("coco", 1, [-1], None),
        ("coco", 1, [0, 1], None),
        ("coco", 5, [0, 1, 2, 3], 65.1),
        ("coco", 5, [0], None),
        ("isic", 1, [0], 54.4),
        ("isic", 5, [0], None),
        ("lvis", 1, [0], None),
        ("lvis", 5, [*range(10)], 47.2),
    ],
)
def test_what_the_paper_tells(dataset: str, shots: int, folds: list[int], expected: float | None) -> None:
    assert published.miou_of(dataset, shots, folds, DATASETS[dataset].folds) == expected


def _complete(settings: dict[str, Any]) -> dict[str, Any]:
    return {"backbone": "b", "weights_hash": "0", "engine": "torch", "dtype": "float32", **settings}


def test_the_mean_of_the_nine_has_its_figure() -> None:
    lists = [listed(name, fold, "a", "a") for name, _ in published.NINE for fold in range(DATASETS[name].folds)]
    outcomes = {key: value for each in lists for key, value in scored(each, (10, 20)).items()}
    text = report.text_of(results(lists, outcomes, _complete(paper_run())))
    assert "| **mean of sets** |  | **50.0** |  | 55.1 | -5.1 |" in text
    assert "| **COCO-20i** | 4 | 50.0 | 50.0 to 50.0 | 57.6 | -7.6 |" in text
    text = report.text_of(results(lists[1:], outcomes, _complete(paper_run())))  # not all folds of LVIS-92i
    assert "| **mean of sets** |  | **50.0** |  |  |  |" in text


def test_html_says_the_same_and_nothing_of_the_data_is_markup() -> None:
    each = listed("mine", 0, "a", "a", root="/data")
    each = replace(each, set="<script>alert(1)</script>")
    found = results([each], scored(each, (10, 20)), _complete(SETTINGS))
    html = report.html_of(report.text_of(found))
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(html)
    assert "script" not in tags
    assert {"h1", "table", "th", "td"} <= set(tags)


def test_the_report_of_a_real_run(own: Path, tmp_path: Path) -> None:
    run(own, tmp_path / "out")
    text = (tmp_path / "out/report.md").read_text()
    assert "# insid3 evaluate" in text
    assert "### Worst episodes\n\n![Worst episodes](pictures/warm_worst.jpg)" in text
    assert all(
        (tmp_path / "out" / line[line.index("(") + 1 : -1]).exists() for line in text.splitlines() if "![" in line
    )
    assert "seed 0, hash `" in text


@pytest.mark.parametrize(
    ("count", "worst", "best"), [(1, 0, 1), (2, 1, 1), (3, 1, 2), (7, 3, 4), (8, 4, 4), (30, 4, 4)]
)
def test_no_episode_is_among_the_best_and_the_worst(
    count: int, worst: int, best: int, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[list[str]] = []

    def row(self: report.Illustrator, episode: Episode, *_: object) -> list[tuple[np.ndarray, str]]:
        return [(np.zeros((4, 4, 3), np.uint8), episode.id)]

    def sheet(pictures: list[np.ndarray], captions: list[str], **_: object) -> np.ndarray:
        shown.append(list(captions))
        return pictures[0]

    monkeypatch.setattr(report, "sheet", sheet)
    monkeypatch.setattr(report.Illustrator, "_row", row)
    each = listed("isic", 0, "a", "a" * count)
    outcomes = scored(each, *((10 + i // 2, 100) for i in range(count)))  # some are equal
    episodes = [(episode, "a", Reader(own)) for episode in each.episodes]
    files = report.Illustrator(tmp_path, outcomes)._extremes("isic", episodes)
    assert [*files] == ["Worst episodes"] * (worst > 0) + ["Best episodes"]
    assert [len(captions) for captions in shown] == [worst] * (worst > 0) + [best]
    assert len({caption for captions in shown for caption in captions}) == worst + best


CLUSTERS = {"size", "rank", "basis", "fit", "refine", "upsample", "rule", "tau", "threshold", "aggregation"}
FIELD = CLUSTERS - {"aggregation"} | {"background", "votes", "regions", "discriminant", "smoothing"}


@pytest.mark.parametrize(
    ("method", "config", "expected"),
    [
        ("insid3", {}, CLUSTERS),
        ("insid3", {"refine": "crf"}, CLUSTERS | {"solver"}),
        ("insid3", {"refine": "crf", "crf_size": 320}, CLUSTERS | {"solver", "crf_size"}),
        ("insid3", {"refine": "guided", "crf_size": 320}, CLUSTERS | {"crf_size"}),
        ("insid3", {"crf_size": 320}, CLUSTERS),
        ("insid3", {"rank": 0}, CLUSTERS - {"basis"}),
        ("insid3", {"kmeans": 25}, CLUSTERS - {"tau"} | {"kmeans"}),
        ("insid3", {"aggregation": "seed"}, CLUSTERS - {"threshold"}),
        ("insid3", {"tile": 64}, CLUSTERS - {"upsample"} | {"tile", "overlap"}),
        ("insid3", {"min_score": 0.5, "keep_seed": True}, CLUSTERS | {"min_score", "keep_seed"}),
        ("insid3", {"stretch": (0, 4095)}, CLUSTERS | {"stretch"}),
        ("insid3", {"rule": "field"}, FIELD),
        ("insid3", {"rule": "field", "regions": 0, "smoothing": 0}, FIELD - {"regions", "smoothing", "tau"}),
        ("insid3", {"rule": "field", "upsample": "score", "closer": True}, FIELD | {"closer"}),
        ("nearest", {"threshold": 0.3}, {"size", "rank", "basis", "fit", "refine", "upsample"}),
        ("prototype", {}, {"size", "rank", "basis", "fit", "refine", "upsample", "threshold"}),
    ],
)
def test_only_settings_that_took_effect_are_listed(method: str, config: dict[str, Any], expected: set[str]) -> None:
    given = Config(**{"size": 280, "rank": 2, "tau": 0.6, **config}).as_dict()
    settings = _complete({**SETTINGS, "method": method, "config": given, "match_config": given})
    assert {*used_settings(settings)} == expected
    each = listed("mine", 0, "a", "a", root="/data")
    line = report.text_of(results([each], scored(each, (10, 20)), settings)).splitlines()[3]
    assert {setting.split()[0] for setting in line.removeprefix("- ").split(", ") if setting[0].isalpha()} == expected
    assert {*used_settings(settings, points=True)} == expected & {"size", "rank", "basis", "fit", "stretch"}


def run(own: Path, output: Path, **config: object) -> None:
    predictor = ModelPredictor(colour_model(**config))
    with Evaluation({".": predictor}, draw([f"episodes:{own}"]), output) as evaluation:
        for _ in evaluation.run():
            pass
        write_outputs(evaluation)


def written(folder: Path, each: EpisodeList, outcomes: dict[str, Outcome]) -> Path:
    folder.mkdir()
    lines = "".join(json.dumps(asdict(outcome)) + "\n" for outcome in outcomes.values())
    (folder / "results.jsonl").write_text(lines)
    (folder / "run.json").write_text(json.dumps(SETTINGS))
    return folder


def test_two_runs_by_hand(tmp_path: Path) -> None:
    """Class a: 30/60 and 40/60; b: 10/40 both. Three episodes: better, equal, worse, equal."""
    each = listed("isic", 0, "ab", "aaab")
    first = scored(each, (10, 20), (10, 20), (10, 20), (10, 40))
    second = scored(each, (25, 25), (10, 20), (5, 15), (10, 40))
    folders = written(tmp_path / "a", each, first), written(tmp_path / "b", each, second)
    (found,), lonely = compare.compare(*folders)
    assert lonely == 0
    assert found.values == (pytest.approx(37.5), pytest.approx((100 * 40 / 60 + 25) / 2))
    assert found.difference == pytest.approx(100 / 12)
    assert found.interval[0] < found.difference < found.interval[1]
    assert (found.wins, found.losses) == (25, 25)
    assert "| isic | 4 | 37.5 | 45.8 | +8.33 |" in compare.text_of(*folders)
    (same,), _ = compare.compare(folders[0], folders[0])
    assert (same.difference, same.interval, same.wins, same.losses) == (0, (0, 0), 0, 0)


def test_the_mean_of_sets_and_of_folds(tmp_path: Path) -> None:
    """Fold 0 has two classes, fold 1 one: 20 and 40 better, 30 on average; the other set 10."""
    folds = [listed("coco", 0, "ab", "ab"), listed("coco", 1, "c", "c"), listed("isic", 0, "a", "a")]
    first: dict[str, Outcome] = {}
    second: dict[str, Outcome] = {}
    for each, ours, theirs in zip(folds, ([10, 10], [10], [10]), ([20, 40], [50], [20]), strict=True):
        first |= scored(each, *((pixels, 100) for pixels in ours))
        second |= scored(each, *((pixels, 100) for pixels in theirs))
    folders = written(tmp_path / "a", folds[0], first), written(tmp_path / "b", folds[0], second)
    coco, isic, mean = compare.compare(*folders)[0]
    assert (coco.difference, isic.difference) == (pytest.approx(30), pytest.approx(10))
    assert (mean.set, mean.episodes, mean.wins) == ("mean of sets", 4, 100)
    assert mean.difference == pytest.approx(20)
    assert mean.interval[0] <= mean.difference <= mean.interval[1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iou", "high"), ("iou", 1e999), ("iou", None), ("intersection", [1]), ("intersection", [1, -5]),
        ("union", [10**400, 1]), ("union", "12"), ("fold", "x"), ("id", 5), ("set", None), ("cls", ["a"]),
        ("found", [[1, 2]]), ("score", True), ("error", 5), ("extra", 1), ("union", None), ("marked", 2.5),
    ],
)  # fmt: skip
def test_lines_that_are_none(field: str, value: object, tmp_path: Path) -> None:
    each = listed("isic", 0, "a", "aa")
    folder = written(tmp_path / "a", each, scored(each, (1, 9), (2, 9)))
    lines = (folder / "results.jsonl").read_text().splitlines()
    line = json.dumps({**json.loads(lines[0]), field: value})
    (folder / "results.jsonl").write_text(f"{line}\n{lines[1]}\n")
    if (field, value) == ("found", [[1, 2]]):
        assert compare.compare(folder, folder)[1] == 0
        return
    with pytest.raises(DataError, match=r"results.jsonl is damaged, or no insid3 evaluate file: it has "):
        compare.compare(folder, folder)


def test_empty_lines_are_passed_over(tmp_path: Path) -> None:
    each = listed("isic", 0, "a", "aa")
    folder = written(tmp_path / "a", each, scored(each, (1, 9), (2, 9)))
    before = read_outcomes(folder / "results.jsonl")
    assert len(before) == 2
    first, second = (folder / "results.jsonl").read_text().splitlines()
    (folder / "results.jsonl").write_text(f"\n{first}\n\n  \r\n{second}\n\n")
    assert read_outcomes(folder / "results.jsonl") == before
    (folder / "results.jsonl").write_text(f"\n{first}\n\n3\n")
    with pytest.raises(DataError, match="in line 4"):
        read_outcomes(folder / "results.jsonl")


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "content", ["", "[]", "3", "null", DEEP, '{"sets": 1e999}', "\ud800", '{"a": ' + "9" * 5000 + "}"]
)
def test_files_of_a_run_that_are_none(content: str, tmp_path: Path) -> None:
    each = listed("isic", 0, "a", "aa")
    folder = written(tmp_path / "a", each, scored(each, (1, 9), (2, 9)))
    (folder / "results.json").write_text(content, errors="surrogatepass")
    with pytest.raises(DataError, match=r"results.json"):
        compare.text_of_one(folder)
    (folder / "run.json").write_text(content, errors="surrogatepass")
    with pytest.raises(DataError, match=r"run.json"):
        compare.text_of(folder, folder)
    (folder / "results.jsonl").write_text(content + "\n", errors="surrogatepass")
    if content:
        with pytest.raises(DataError, match=r"results.jsonl"):
            compare.compare(folder, folder)


def test_only_episodes_of_both_runs_are_compared(tmp_path: Path) -> None:
    each = listed("isic", 0, "a", "aaa")
    whole, part = scored(each, (1, 9), (2, 9), (3, 9)), scored(each, (1, 9), (2, 9))
    a, b = written(tmp_path / "a", each, whole), written(tmp_path / "b", each, part)
    (found,), lonely = compare.compare(a, b)
    assert (found.episodes, lonely) == (2, 1)
    assert "1 episodes are in one run only" in compare.text_of(a, b)
    other = listed("isic", 0, "b", "bbb")
    c = written(tmp_path / "c", other, scored(other, (1, 9), (2, 9), (3, 9)))
    with pytest.raises(DataError, match="have no episode in common"):
        compare.compare(a, c)
    with pytest.raises(DataError, match=r"holds no results.jsonl"):
        compare.compare(a, tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"is .* the output of an insid3 evaluate that has finished"):
        compare.read_results(tmp_path / "nowhere")
    save([each.first(1)], a / "episodes.json")
    assert [found.episodes for found in compare.compare(a, b)[0]] == [1]  # lines of another list do not count
    (tmp_path / "a/results.json").write_text("{}")
    with pytest.raises(DataError, match=r"results.json is damaged, or .* it has no 'sets': run"):
        compare.read_results(tmp_path / "a")


def test_grids() -> None:
    found = sweep.grid(["tau=0.5,0.6", "refine=none, crf"])
    assert [*found] == ["tau=0.5,refine=none", "tau=0.5,refine=crf", "tau=0.6,refine=none", "tau=0.6,refine=crf"]
    assert found["tau=0.6,refine=crf"] == {"tau": 0.6, "refine": "crf"}
    assert sweep.grid(["keep-seed=true,false", "kmeans=10"]) == {
        "keep_seed=true,kmeans=10": {"keep_seed": True, "kmeans": 10},
        "keep_seed=false,kmeans=10": {"keep_seed": False, "kmeans": 10},
    }
    tiles = sweep.grid(["crf-size=none,320"])
    config = Config(size=518, rank=2, tau=0.6, crf_size=400)
    assert [sweep.apply_settings(config, each).crf_size for each in tiles.values()] == [None, 320]
    assert sweep.grid(["method=nearest"]) == {"method=nearest": {"method": "nearest"}}


@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        (["shape=1"], "with a name of method, size, rank"),
        (["tau"], "expected NAME=VALUE"),
        (["tau=,"], "expected NAME=VALUE"),
        (["shots=1,5"], "run each with --shots"),
        (["tau=0.5", "tau=0.6"], "comes twice"),
    ],
)
def test_grids_that_are_none(sweeps: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep.grid(sweeps)


def test_exported_episodes_give_the_same_numbers(own: Path, mini: Path, tmp_path: Path) -> None:
    """Crops, ignored pixels and folds included."""
    names = ["isaid", "pascal_part", "paco_part", "coco"]
    lists = draw(names, Readers(mini), limit=3)
    count = export(lists, Readers(mini), tmp_path / "export")
    assert count == sum(len(each.episodes) for each in lists) == 3 * (3 + 4 + 4 + 4)
    again = draw([f"episodes:{tmp_path / 'export'}"])
    assert [each.set for each in again][:4] == ["isaid_fold0", "isaid_fold1", "isaid_fold2", "pascal_part_fold0"]
    ours, theirs = Reader(mini), Reader(tmp_path / "export", upright=True)
    for first, second in zip(lists, again, strict=True):
        for a, b in zip(first.episodes, second.episodes, strict=True):
            assert isinstance(a, Episode)
            assert isinstance(b, Episode)
            assert (a.id, a.cls) == (b.id, b.cls)
            for x, y in zip((a.target, *a.references), (b.target, *b.references), strict=True):
                assert np.array_equal(ours.picture(x), theirs.picture(y))
                assert np.array_equal(ours.mask(x), theirs.mask(y))
            assert (a.ignore is None) == (b.ignore is None)
            if a.ignore and b.ignore:
                assert np.array_equal(ours.mask(a.target, a.ignore), theirs.mask(b.target, b.ignore))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "export").rglob("*.png")}
    export(lists, Readers(mini), tmp_path / "export")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "export").rglob("*.png")} == before
    shutil.copytree(mini / "COCO2014", tmp_path / "other/COCO2014")
    for file in (tmp_path / "other/COCO2014/val2014").iterdir():
        Image.new("RGB", picture_size(file)[::-1], (1, 2, 3)).save(file)
    export(draw(["coco"], Readers(tmp_path / "other"), limit=3), Readers(tmp_path / "other"), tmp_path / "export")
    (other,) = draw([f"episodes:{tmp_path / 'export'}"])[0].first(1).episodes
    assert isinstance(other, Episode)
    assert theirs.picture(other.target).max() < 8  # not the picture of that name from the first folder
    with pytest.raises(DataError, match="spair has points: leave it out"):
        export(draw(["spair"], Readers(mini)), Readers(mini), tmp_path / "other")


def test_class_names_are_no_formulas(tmp_path: Path) -> None:
    each = replace(listed("own", 0, "ab", "ab", root="/data"), classes={"a": "price $5", "b": "a $x^ $"})
    found = results([each], scored(each, (1, 2), (1, 3)), _complete(SETTINGS))
    files = report.Illustrator(tmp_path, {})._classes("own", found["sets"]["own"])
    assert (tmp_path / files["Classes"]).stat().st_size > 0


def test_sets_of_similar_names_have_pictures_of_their_own(tmp_path: Path) -> None:
    assert len({report._file_name(name) for name in ("a b", "a_b", "a/b", "a")}) == 4


def test_captions_have_the_class_names_of_their_fold(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LVIS numbers the classes of every fold from 0."""
    shown: list[str] = []

    def sheet(pictures: list[np.ndarray], captions: list[str], **_: object) -> np.ndarray:
        shown.extend(captions)
        return pictures[0]

    monkeypatch.setattr(report, "sheet", sheet)
    lists = draw(["lvis"], Readers(mini), limit=1)
    with Evaluation({".": ModelPredictor(colour_model())}, lists, tmp_path / "out", Readers(mini)) as evaluation:
        for _ in evaluation.run():
            pass
        write_outputs(evaluation)
    captions = {caption for caption in shown if caption.startswith("reference: ")}
    names = [each.classes[each.episodes[0].cls] for each in lists]
    assert len(set(names)) == 10
    assert captions <= {f"reference: {name}" for name in names}
    assert len(captions) >= 8
