"""Runs in which targets help each other: the same masks with any workers, and no target encoded twice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insid3 import INSID3, Concept, ConfigError
from insid3.batch.corrections import find_corrections, learn
from insid3.batch.options import Options
from insid3.batch.rethreshold import rethreshold
from insid3.batch.runner import Run
from insid3.batch.sources import Shard, find_targets
from insid3.errors import OutputError
from insid3.label_map import numbered
from stubs import ColourEncoder, box_mask, colour_model, scene

BOX = (16, 16, 48, 48)


@pytest.fixture(autouse=True)
def _small_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few pictures help each other."""
    monkeypatch.setattr("insid3.transductive.LEAST", 1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Make pictures in which a red box turns white, step by step."""
    (tmp_path / "photos").mkdir()
    for i, white in enumerate(np.linspace(0, 1, 9)):
        picture = scene(BOX).astype(float)
        picture[16:48, 16:48] = (1 - white) * np.array([230, 20, 20]) + white * np.array([240, 240, 120])
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def run(model: INSID3, concepts: Any, photos: Path, name: str = "out", shard: str | None = None, **more: Any) -> Run:
    out, together = photos.parent / name, more.pop("together", True)
    chosen = {name: more.pop(name) for name in ("roi", "scores", "batch") if name in more}
    part = Shard.parse(shard) if shard else None
    options = Options(overlays=False, together=together, **chosen)
    return Run(model, concepts, find_targets([photos], out), out, options, shard=part, **more)


def made(photos: Path, name: str = "out") -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return masks by file, and lines by target."""
    out = photos.parent / name
    told = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    masks = {path.name: path.read_bytes() for path in out.glob("*.png")}
    return masks, {line["target"]: {**line, "seconds": 0} for line in told}


def area(photos: Path, name: str, stem: str) -> int:
    with Image.open(photos.parent / name / f"{stem}.png") as mask:
        return int((np.asarray(mask) > 0).sum())


def test_the_last_is_found_with_the_help_of_the_others(model: INSID3, red: Concept, photos: Path) -> None:
    list(run(model, red, photos))
    list(run(model, red, photos, "alone", together=False))
    assert area(photos, "out", "8") > 1000 > 2 * area(photos, "alone", "8")
    told, settings = made(photos)[1], json.loads((photos.parent / "out" / "run.json").read_text())
    assert settings["options"]["together"] is True
    assert len({line["made_with"] for line in told.values()}) == 1


@pytest.mark.parametrize("batch", [1, 4])
def test_no_target_is_encoded_twice(model: INSID3, red: Concept, photos: Path, batch: int) -> None:
    assert isinstance(model.encoder, ColourEncoder)
    model.segment(scene(BOX), red)  # the basis
    before = model.encoder.calls
    assert len(list(run(model, red, photos, batch=batch))) == 9
    assert model.encoder.calls - before == 9
    assert len(list(run(model, red, photos, batch=batch))) == 0
    assert model.encoder.calls - before == 9  # nothing to do, nothing looked at


def test_a_larger_folder_than_the_pool(
    model: INSID3, red: Concept, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insid3.transductive.POOL", 4)
    assert isinstance(model.encoder, ColourEncoder)
    model.segment(scene(BOX), red)
    before, running = model.encoder.calls, run(model, red, photos)
    assert [target.name for target in running.helper_targets] == ["0", "2", "4", "6"]
    results = list(running)
    assert [Path(result.target).stem for result in results] == list("012345678")
    assert running.work.together is not None
    assert set(running.work.together.helpers) == {"0", "2", "4", "6"}
    assert model.encoder.calls - before == 9


def test_shards_and_second_runs_make_the_same(model: INSID3, red: Concept, photos: Path) -> None:
    list(run(model, red, photos))
    for part in ("1/3", "2/3", "3/3"):
        assert len(list(run(model, red, photos, "parts", part))) == 3
    assert run(model, red, photos, "parts").todo == []
    begun = iter(run(model, red, photos, "halves"))
    for _ in range(4):
        next(begun)
    begun.close()  # type: ignore[attr-defined]
    assert len(list(run(model, red, photos, "halves"))) == 5
    assert made(photos) == made(photos, "parts") == made(photos, "halves")


def test_runs_with_and_without_do_not_mix(model: INSID3, red: Concept, photos: Path) -> None:
    list(run(model, red, photos))
    with pytest.raises(OutputError, match=r"options\.together True not False"):
        run(model, red, photos, together=False)
    list(run(model, red, photos, "alone", together=False))
    settings = photos.parent / "alone" / "run.json"
    older = json.loads(settings.read_text())
    del older["options"]["together"]
    settings.write_text(json.dumps(older))
    with pytest.raises(OutputError, match=r"options\.together False not True"):
        run(model, red, photos, "alone")
    assert run(model, red, photos, "alone", together=False).todo == []


def test_other_helpers_are_other_results(model: INSID3, red: Concept, photos: Path) -> None:
    list(run(model, red, photos))
    Image.fromarray(scene((0, 0, 32, 32))).save(photos / "more.png")
    assert len(run(model, red, photos).todo) == 10


def test_what_cannot_be_read_fails_once_and_helps_nobody(model: INSID3, red: Concept, photos: Path) -> None:
    (photos / "3.png").write_bytes(b"broken")
    running = run(model, red, photos)
    failed = [result for result in running if result.error]
    assert [result.target for result in failed] == [str(photos / "3.png")]
    assert len((photos.parent / "out" / "results.jsonl").read_text().splitlines()) == 9
    assert running.work.together is not None
    assert "3" not in running.work.together.helpers
    Image.fromarray(scene((0, 0, 32, 32))).save(photos / "3.png")
    assert len(run(model, red, photos).todo) == 9  # it may help now


def test_several_concepts_and_a_part_of_the_pictures(model: INSID3, red: Concept, photos: Path) -> None:
    green = model.concept(scene(BOX, colour=1), box_mask(*BOX), name="green")
    Image.fromarray(scene(BOX, colour=1)).save(photos / "green.png")
    running = run(model, [red, green], photos, roi=(8, 8, 64, 64))
    assert all(result.error is None for result in running)
    assert running.work.together is not None
    found = {name: [each is not None for each in one.found] for name, one in running.work.together.helpers.items()}
    assert found["green"] == [False, True]
    assert found["0"] == [True, False]
    with Image.open(photos.parent / "out" / "green.png") as index:
        assert set(np.unique(np.asarray(index))) == {0, 2}


def test_corrections_are_shots_of_the_example_and_not_of_the_pool(model: INSID3, red: Concept, photos: Path) -> None:
    (photos.parent / "corrected").mkdir()
    Image.fromarray(box_mask(*BOX)).save(photos.parent / "corrected" / "8.png")
    targets, labels = find_targets([photos], photos.parent / "out"), numbered([red])
    corrections = find_corrections(photos.parent / "corrected", targets, ["red"], Options())
    learned = learn(model, [red], labels, targets, corrections)
    running = run(model, red, photos, corrections=corrections, learned=learned)
    assert [target.name for target in running.helper_targets] == list("01234567")
    assert len(list(running)) == 9
    assert running.work.together is not None
    assert running.work.together.concepts[0].shots == 2
    assert area(photos, "out", "8") == 32 * 32


def test_scores_can_be_cut_elsewhere(model: INSID3, red: Concept, photos: Path) -> None:
    list(run(model, red, photos, scores="npy"))
    assert len(list(rethreshold(photos.parent / "out", photos.parent / "cut", 0.2))) == 9
    assert made(photos, "cut")[0] == made(photos)[0]


def test_a_stop_while_the_pool_is_read_ends_the_run(
    model: INSID3, red: Concept, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, seen = run(model, red, photos), list[object]()
    encode = INSID3.encode

    def stopping(self: INSID3, target: Any) -> Any:
        seen.append(target)
        running.stop = True
        return encode(self, target)

    monkeypatch.setattr(INSID3, "encode", stopping)
    assert list(running) == []
    assert len(seen) < 9
    assert not list((photos.parent / "out").glob("*.png"))


def test_tiles_are_refused_before_a_folder_is_made(red: Concept, photos: Path) -> None:
    with pytest.raises(ConfigError, match="seen whole"):
        run(colour_model(tile=32), red, photos)
    assert not (photos.parent / "out").exists()
