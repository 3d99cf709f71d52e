"""Runs over folders, with the colour encoder on small scenes: files, continuation, refusals."""

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insid3 import INSID3, Concept
from insid3.batch.options import Options
from insid3.batch.runner import Run
from insid3.batch.sources import find_targets
from insid3.errors import ConceptError, OutputError
from stubs import box_mask, colour_model, scene

BOX = (16, 16, 48, 48)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(scene(BOX)).save(folder / "a.png")
    Image.fromarray(scene((0, 0, 32, 32))).save(folder / "sub" / "b.png")
    Image.fromarray(scene()).save(folder / "empty.png")
    (folder / "broken.jpg").write_bytes(b"not a picture")
    return folder


def run(model: INSID3, concept: Concept, photos: Path, overwrite: bool = False, **options: Any) -> Run:
    out = photos.parent / "out"
    return Run(model, concept, find_targets([photos], out), out, Options(**options), overwrite=overwrite)


def lines(photos: Path) -> list[dict[str, object]]:
    text = (photos.parent / "out" / "results.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_files_and_lines(model: INSID3, red: Concept, photos: Path) -> None:
    results = list(run(model, red, photos))
    out = photos.parent / "out"
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {
        "a.png", "a_overlay.jpg", "empty.png", "empty_overlay.jpg", "sub/b.png", "sub/b_overlay.jpg",
        "results.jsonl", "run.json", "concepts.json", ".lock",
    }  # fmt: skip
    by_name = {Path(str(line["target"])).stem: line for line in lines(photos)}
    assert set(by_name["a"]) == {"target", "mask", "score", "area", "reason", "seconds", "error", "made_with"}
    mask = np.asarray(Image.open(out / "a.png"))
    assert mask.shape == (64, 64)
    assert set(np.unique(mask)) == {0, 255}
    assert by_name["a"]["area"] == (mask > 0).sum()
    assert by_name["a"]["target"] == str(photos / "a.png")
    assert by_name["b"]["mask"] == "sub/b.png"
    assert by_name["empty"]["area"] == 0
    assert "resembles" in str(by_name["empty"]["reason"])
    assert by_name["broken"]["mask"] is None
    assert "broken.jpg is not a picture" in str(by_name["broken"]["error"])
    assert [result.error is None for result in results] == [line["error"] is None for line in lines(photos)]


def test_second_run_does_only_what_failed(model: INSID3, red: Concept, photos: Path) -> None:
    list(run(model, red, photos))
    Image.fromarray(scene(BOX)).save(photos / "broken.jpg")
    (photos.parent / "out" / "sub" / "b.png").unlink()
    again = run(model, red, photos)
    assert again.done_before == 2
    assert {Path(result.target).stem for result in again} == {"broken", "b"}
    assert run(model, red, photos).todo == []


def test_a_line_that_was_cut_off_is_done_again(model: INSID3, red: Concept, photos: Path) -> None:
    list(run(model, red, photos))
    file = photos.parent / "out" / "results.jsonl"
    whole = file.read_text()
    file.write_text(whole[:-20])
    again = run(model, red, photos)
    assert len(again.todo) == 2  # the broken one and the one whose line was cut
    list(again)
    assert len(lines(photos)) == 4
    assert {str(line["target"]) for line in lines(photos)} == {str(p) for p in photos.rglob("*.*")}


def test_a_first_line_that_was_cut_off_spoils_nothing(model: INSID3, red: Concept, photos: Path) -> None:
    next(iter(run(model, red, photos)))
    file = photos.parent / "out" / "results.jsonl"
    file.write_text(file.read_text()[:30])
    assert len(list(run(model, red, photos))) == 4
    assert len(lines(photos)) == 4


def test_damaged_results_are_named(model: INSID3, red: Concept, photos: Path) -> None:
    list(run(model, red, photos))
    out = photos.parent / "out"
    good = (out / "results.jsonl").read_bytes()
    for content in (b"no json\n", b'{"a": 1}\n', b"[1]\n", b"\xff\n"):
        (out / "results.jsonl").write_bytes(content)
        with pytest.raises(OutputError, match=r"run\.json or results\.jsonl that cannot be read .*: use --overwrite"):
            run(model, red, photos)
    (out / "results.jsonl").write_bytes(good)
    for content in (b"{", b"[]", b"\xff"):
        (out / "run.json").write_bytes(content)
        with pytest.raises(OutputError, match=r"run\.json or results\.jsonl that cannot be read"):
            run(model, red, photos)
    assert len(list(run(model, red, photos, overwrite=True))) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [({"tau": 0.5}, r"config\.tau 0\.9 not 0\.5"), ({"keep_seed": True}, r"config\.keep_seed False not True")],
)
def test_other_settings_are_refused(
    model: INSID3, red: Concept, photos: Path, change: dict[str, object], message: str
) -> None:
    list(run(model, red, photos))
    with pytest.raises(OutputError, match=f"another run \\({message}\\): use another output folder, or --overwrite"):
        run(colour_model(**change), red, photos)
    assert len(run(colour_model(**change), red, photos, overwrite=True).todo) == 4


def test_settings_that_an_older_version_did_not_have_had_their_defaults(
    model: INSID3, red: Concept, photos: Path
) -> None:
    list(run(model, red, photos))
    settings = photos.parent / "out" / "run.json"
    older = json.loads(settings.read_text())
    for name in ("refine", "crf_size", "aggregation", "kmeans"):
        del older["config"][name]
    settings.write_text(json.dumps(older))
    assert [target.name for target in run(model, red, photos).todo] == ["broken"]
    settings.write_text(json.dumps(older))
    with pytest.raises(OutputError, match=r"another run \(config\.refine none not guided\)"):
        run(colour_model(refine="guided"), red, photos)


def test_another_concept_is_refused_another_name_is_not(model: INSID3, red: Concept, photos: Path) -> None:
    list(run(model, red, photos))
    other = model.concept(scene(BOX), box_mask(0, 0, 16, 16))
    with pytest.raises(OutputError, match=r"concept\.digest"):
        run(model, other, photos)
    same = model.concept(scene(BOX), box_mask(*BOX), name="renamed")
    assert len(run(model, same, photos).todo) == 1


def test_files_of_others_are_not_replaced(model: INSID3, red: Concept, photos: Path) -> None:
    theirs = photos.parent / "out" / "a.png"
    theirs.parent.mkdir()
    theirs.write_bytes(b"drawn by hand")
    with pytest.raises(OutputError, match=r"a\.png exists and is not from insid3"):
        run(model, red, photos)
    assert theirs.read_bytes() == b"drawn by hand"


def test_results_of_another_folder_are_not_replaced(model: INSID3, red: Concept, photos: Path) -> None:
    list(run(model, red, photos))
    more = photos.parent / "more"
    more.mkdir()
    Image.fromarray(scene(BOX)).save(more / "a.png")
    with pytest.raises(OutputError, match=r"holds the result of .*photos.*a\.png, .*more.*a\.png would replace it"):
        run(model, red, more)
    (more / "a.png").rename(more / "z.png")
    assert [result.mask for result in run(model, red, more)] == ["z.png"]


def test_without_overlays(model: INSID3, red: Concept, photos: Path) -> None:
    list(run(model, red, photos, overlays=False))
    assert not list((photos.parent / "out").rglob("*_overlay.jpg"))
    assert len(run(model, red, photos, overlays=False).todo) == 1
    assert len(run(model, red, photos).todo) == 4  # now they are wanted


@pytest.mark.parametrize("name", ["write_mask", "write_overlay"])
def test_full_disk_stops_and_keeps_what_is_done(
    model: INSID3, red: Concept, photos: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    running = iter(run(model, red, photos))
    next(running)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"insid3.batch.worker.{name}", full)
        with pytest.raises(OutputError, match=r"disk is full.*run the same command again"):
            list(running)
    assert all(json.loads(line) for line in (photos.parent / "out" / "results.jsonl").read_text().splitlines())
    assert {Path(target.path).stem for target in run(model, red, photos).todo} >= {"empty", "b"}


def test_the_picture_is_read_once(model: INSID3, red: Concept, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    original = Image.open

    def counting(*words: object, **more: object) -> Image.Image:
        opened.append(words)
        return original(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", counting)
    list(run(model, red, photos))
    assert len(opened) == 4


def test_a_concept_that_does_not_fit_leaves_no_folder(model: INSID3, photos: Path) -> None:
    with pytest.raises(ConceptError, match="no masks"):
        run(model, model.concept(scene(BOX)), photos)
    assert not (photos.parent / "out").exists()


def test_one_line_for_each_target_however_often(model: INSID3, red: Concept, photos: Path) -> None:
    for _ in range(3):
        list(run(model, red, photos))
    assert len(lines(photos)) == 4


def test_the_same_picture_by_another_path(
    model: INSID3, red: Concept, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = photos.parent / "out"
    monkeypatch.chdir(photos.parent)
    list(Run(model, red, find_targets(["photos"], out), out))
    assert {str(line["target"]) for line in lines(photos)} >= {"photos/a.png", "photos/sub/b.png"}
    assert len(Run(model, red, find_targets([photos], out), out).todo) == 1
    monkeypatch.chdir(photos / "sub")  # "photos/a.png" would be something else from here
    again = Run(model, red, find_targets([photos], out), out)
    assert len(again.todo) == 1
    assert {Path(str(line["target"])) for line in lines(photos)} >= {photos / "a.png", photos / "sub" / "b.png"}
