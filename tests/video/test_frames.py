"""Runs over a video: masks, memory, film, and a second run."""

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from clips import joined, lefts, moving, write_clip
from insid3 import INSID3, Concept, ConfigError
from insid3.batch.options import Options
from insid3.batch.runner import Run
from insid3.batch.sources import find_targets
from insid3.batch.worker import Result, Work
from insid3.errors import OutputError
from insid3.imaging.draw import overlay
from insid3.imaging.masks import read_mask
from insid3.stages.plus.evidence_field import agreement
from insid3.video.clip import Clip
from insid3.video.film import film
from insid3.video.frames import ClipFrames, Frames, FrameWorker, PictureFrames, mark_in_order, natural, overlays
from insid3.video.memory import Memory, MemoryConfig
from stubs import ColourEncoder, box_mask, colour_model, scene

BOX = (16, 16, 48, 48)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", moving())


def start(
    model: INSID3,
    concepts: Concept | Sequence[Concept],
    frames: Frames,
    out: Path,
    settings: MemoryConfig | None = None,
    options: Options | None = None,
) -> Run:
    told = {"most": settings.most if settings else 0}
    engine = partial(mark_in_order, model, frames, settings)
    return Run(model, concepts, frames.targets, out, options or Options(overlays=False), engine=engine, memory=told)


def masks_in(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.png")}


def test_every_frame_gets_its_mask(model: INSID3, red: Concept, clip: Path, tmp_path: Path) -> None:
    results = list(start(model, red, ClipFrames(Clip(clip), range(0, 24, 2)), tmp_path / "out"))
    assert [result.target for result in results] == [f"{clip}#{i:06d}" for i in range(0, 24, 2)]
    for i, left in list(enumerate(lefts()))[::2]:
        found = read_mask(tmp_path / "out" / f"{i:06d}.png", (64, 96))
        truth = box_mask(16, left, 48, left + 32, size=(64, 96))
        assert (found & truth).sum() / (found | truth).sum() > 0.6  # patches are 8 x 12 pixels
    assert all(result.remembered is None for result in results)


def test_pictures_in_a_folder_are_a_video_too(model: INSID3, red: Concept, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "frames").mkdir()
    for i, picture in enumerate(moving(6)):
        Image.fromarray(picture).save(tmp_path / "frames" / f"{i:03d}.png")
    (tmp_path / "frames" / "003.png").write_bytes(b"broken")
    targets = find_targets([tmp_path / "frames"], tmp_path / "out")
    frames = PictureFrames(targets, range(1, 6), Fraction(10), 10**6)
    results = list(start(model, red, frames, tmp_path / "out", MemoryConfig(gap=1)))
    assert [Path(result.target).stem for result in results] == ["001", "002", "003", "004", "005"]
    assert [result.error is None for result in results] == [True, True, False, True, True]
    assert results[0].remembered == ["red"]
    assert [time for time, _ in overlays(frames, work_of(model, red, tmp_path / "out"))] == pytest.approx(
        [0, 0.1, 0.3, 0.4]
    )


def work_of(model: INSID3, concept: Concept, out: Path) -> Work:
    from insid3.label_map import numbered

    return Work([concept], numbered([concept]), Options(overlays=False), out, {}, "")


def test_a_second_run_remembers_what_the_first_did(model: INSID3, red: Concept, clip: Path, tmp_path: Path) -> None:
    whole, parts, settings = tmp_path / "whole", tmp_path / "parts", MemoryConfig(most=2, gap=3)
    expected = list(start(model, red, ClipFrames(Clip(clip), range(24)), whole, settings))
    assert [i for i, result in enumerate(expected) if result.remembered] == list(range(0, 24, 3))
    for stop in (1, 7, 8, 15, 24):
        run = start(model, red, ClipFrames(Clip(clip), range(24)), parts, settings)
        left = stop - run.done_before
        for _, result in zip(range(left), run, strict=False):
            assert replace(result, seconds=0) == replace(expected[int(result.target[-6:])], seconds=0)
        run.close()
    assert masks_in(parts) == masks_in(whole)
    assert start(model, red, ClipFrames(Clip(clip), range(24)), parts, settings).todo == []


def test_what_was_long_ago_is_remembered_too(model: INSID3, red: Concept, tmp_path: Path) -> None:
    """The green thing is shown at the beginning only; red things are remembered many times after it."""
    pictures = moving(16)
    for picture in pictures[:2]:
        picture[48:, 64:] = scene((48, 64, 64, 96), size=(64, 96), colour=1)[48:, 64:]
    path = write_clip(tmp_path / "clip.mp4", pictures)
    green = model.concept(scene(BOX, colour=1), box_mask(*BOX), name="green")
    settings, frames = MemoryConfig(most=2, gap=2), ClipFrames(Clip(path), range(16))
    expected = list(start(model, [red, green], frames, tmp_path / "whole", settings))
    assert expected[0].remembered == ["red", "green"]
    assert all("green" not in (result.remembered or []) for result in expected[2:])
    first = start(model, [red, green], frames, tmp_path / "parts", settings)
    for _ in zip(range(12), first, strict=False):
        pass
    first.close()
    worker = FrameWorker(
        model, first.work, frames, Memory(model, first.work.concepts, settings),
        {Path(r.target).name[-6:]: r.remembered for r in expected[:12] if r.remembered},
    )  # fmt: skip
    next(worker.loaded(frames.targets[12:]))
    assert worker.memory is not None
    assert worker.memory._extended[0].sources[-2:] == ("frame 8", "frame 10")
    assert worker.memory._extended[1].sources[-1:] == ("frame 0",)


def test_restoring_encodes_only_what_is_remembered(model: INSID3, red: Concept, clip: Path, tmp_path: Path) -> None:
    settings, out = MemoryConfig(most=2, gap=2), tmp_path / "out"
    first = iter(start(model, red, ClipFrames(Clip(clip), range(24)), out, settings))
    for _ in range(20):
        next(first)
    first.close()  # type: ignore[attr-defined]
    encoder = model.encoder
    assert isinstance(encoder, ColourEncoder)
    before = encoder.calls
    assert len(list(start(model, red, ClipFrames(Clip(clip), range(24)), out, settings))) == 4
    assert encoder.calls - before == 4 + 2


def test_other_memories_are_other_results(model: INSID3, red: Concept, clip: Path, tmp_path: Path) -> None:
    frames = ClipFrames(Clip(clip), range(3))
    list(start(model, red, frames, tmp_path / "out", MemoryConfig()))
    with pytest.raises(OutputError, match=r"memory\.most 2 not 0"):
        start(model, red, frames, tmp_path / "out")


def test_a_clip_that_was_cut_off_names_what_is_missing(model: INSID3, red: Concept, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", moving(), movflags="faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    results = list(start(model, red, ClipFrames(Clip(path), range(24)), tmp_path / "out"))
    errors = [str(result.error) for result in results if result.error]
    held = len(results) - 1
    assert 12 <= held < 20
    assert f"of 24 frames the last {24 - held} are missing, from {held / 10:.2f} s on" in errors[-1]
    assert results[-1].target == f"{path}#{held:06d}-000023"
    assert len(masks_in(tmp_path / "out")) == held - (len(errors) - 1)
    begin = start(model, red, ClipFrames(Clip(path), range(9)), tmp_path / "b")
    assert all(result.error is None for result in begin)  # nobody asked for the end


def test_frames_sort_as_people_count() -> None:
    names = ["a10", "a2", "a02b", "b1", "a"]
    assert sorted(names, key=natural) == ["a", "a2", "a02b", "a10", "b1"]


def test_frames_are_kept_as_pictures(model: INSID3, red: Concept, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    results = list(start(model, red, ClipFrames(Clip(clip), [4, 5], out / "frames"), out))
    assert [Path(result.target) for result in results] == [out / "frames/000004.jpg", out / "frames/000005.jpg"]
    from insid3.imaging.read import read_image

    kept = read_image(out / "frames/000004.jpg").astype(int)
    assert np.abs(kept - moving()[4]).mean() < 6


def test_a_film_shows_every_frame_at_its_time(model: INSID3, red: Concept, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    frames = ClipFrames(Clip(clip), [6, 8, 16])
    run = start(model, red, frames, out)
    list(run)
    assert film(out / "overlay.mp4", overlays(frames, run.work), frames.rate) == 3
    made = Clip(out / "overlay.mp4")
    assert [moment.time for moment in made.moments] == pytest.approx([0, 0.2, 1.0])
    shown = [picture for _, picture in made.pictures([0, 1, 2])]
    mask = read_mask(out / "000006.png", (64, 96))
    expected = overlay(moving()[6], mask, run.work.labels[0].colour)
    assert np.abs(np.asarray(shown[0]).astype(int) - expected).mean() < 12
    assert [path.name for path in out.iterdir() if path.name.startswith(".") and path.suffix == ".mp4"] == []


def test_films_of_odd_and_changing_sizes(tmp_path: Path) -> None:
    pictures = [(0.0, scene(size=(51, 33))), (0.5, scene(size=(64, 96)))]
    assert film(tmp_path / "a.mp4", pictures, Fraction(2)) == 2
    with av.open(str(tmp_path / "a.mp4")) as made:
        assert (made.streams.video[0].width, made.streams.video[0].height) == (32, 50)
    assert film(tmp_path / "b.mp4", [], Fraction(2)) == 0
    assert not (tmp_path / "b.mp4").exists()
    with pytest.raises(ConfigError, match=r"a video is written as \.mp4, \.mov, \.mkv"):
        film(tmp_path / "c.gif", pictures, Fraction(2))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        film(tmp_path / "file" / "d.mp4", pictures, Fraction(2))


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_film_lasts_as_long_as_what_it_shows(suffix: str, tmp_path: Path) -> None:
    times = [0, 0.1, 0.7, 0.8, 3.0]
    path, pictures = tmp_path / f"a.{suffix}", [(time, scene(size=(64, 96))) for time in times]
    assert film(path, pictures, Fraction(10), Fraction(64, 45), 4.5) == 5
    made = Clip(path)
    assert [moment.time for moment in made.moments] == pytest.approx(times, abs=1e-3)
    assert made.length == pytest.approx(4.5, abs=2e-3)
    assert made.aspect == Fraction(64, 45)
    with av.open(str(path)) as container:
        lasts = [float(packet.duration * packet.time_base) for packet in container.demux() if packet.size]
    assert lasts == pytest.approx([0.1, 0.6, 0.1, 2.2, 1.5], abs=1e-3)
    film(path, pictures, Fraction(10))
    assert Clip(path).length == pytest.approx(3.1, abs=2e-3)


@pytest.mark.parametrize(
    ("indices", "length"), [(range(24), 2.4), (range(0, 24, 5), 2.4), (range(0, 12, 3), 1.2), ([4], 0.5)]
)
def test_a_part_of_a_clip_ends_where_its_next_frame_would_be(
    indices: Sequence[int], length: float, clip: Path, tmp_path: Path
) -> None:
    assert ClipFrames(Clip(clip), indices).length == pytest.approx(length, abs=2e-3)


def test_a_film_of_frames_in_any_order_and_number(tmp_path: Path) -> None:
    pictures = [(0.0, scene()), (0.0, scene()), (0.0, scene()), (0.5, scene())]
    assert film(tmp_path / "a.mp4", pictures, Fraction(10**9)) == 4
    assert len(Clip(tmp_path / "a.mp4").moments) == 4
    assert film(tmp_path / "b.mp4", pictures, Fraction(1, 10**9)) == 4
    days = [(86_400.0 * i, scene()) for i in range(3)]
    assert film(tmp_path / "c.mp4", days, Fraction(1, 86_400), length=3 * 86_400.0) == 3
    assert Clip(tmp_path / "c.mp4").length == pytest.approx(3 * 86_400)


def test_a_second_size_is_fitted_into_the_film(model: INSID3, red: Concept, tmp_path: Path) -> None:
    parts = [write_clip(tmp_path / "a.ts", moving(4)), write_clip(tmp_path / "b.ts", [scene((0, 0, 32, 32))] * 3)]
    frames = ClipFrames(Clip(joined(tmp_path / "c.ts", *parts)), range(7))
    run = start(model, red, frames, tmp_path / "out")
    results = list(run)
    assert [result.remarks for result in results] == [None] * 4 + [["another size than the first frame's: 64 x 64"]] * 3
    for i in range(7):
        assert read_mask(tmp_path / "out" / f"{i:06d}.png", (64, 96) if i < 4 else (64, 64)).any()
    assert film(tmp_path / "film.mp4", overlays(frames, run.work), frames.rate) == 7
    shown = np.asarray(dict(Clip(tmp_path / "film.mp4").pictures([5]))[5])
    assert shown.shape == (64, 96, 3)
    assert shown[:, :12].max() < 40  # the bars of a square picture
    assert shown[:, 84:].max() < 40
    assert shown[:32, 20:44, 0].mean() > 100


def test_what_is_remembered_is_bounded_and_confident(model: INSID3, red: Concept) -> None:
    memory = Memory(model, [red], MemoryConfig(most=2, least=0.6, gap=5))
    names = []
    for index, picture in enumerate(moving(24)):
        encoded = model.encode(picture)
        found = memory.label(encoded)
        names.append(memory.keep(index, encoded, found.masks))
        assert found.results[0].mask.any()
        assert len(memory._extended[0].tokens) <= 3
    assert [i for i, name in enumerate(names) if name] == [0, 5, 10, 15, 20]
    assert memory._extended[0].sources[-2:] == ("frame 15", "frame 20")
    empty = model.encode(scene())
    assert memory.keep(30, empty, memory.label(empty).masks) == []
    green = model.encode(scene(BOX, colour=1))
    assert memory.keep(30, green, [box_mask(*BOX)]) == []  # a mask, but not of the concept
    strict = Memory(model, [red], MemoryConfig(least=1.0))
    dark = model.encode((scene(BOX) * 0.7).astype(np.uint8))
    assert strict.keep(0, dark, strict.label(dark).masks) == []


def test_a_frame_that_is_remembered_helps(model: INSID3) -> None:
    """The thing slowly turns from red to white, where the red reference alone is not similar enough."""
    red = model.concept(scene(BOX), box_mask(*BOX))
    fades = []
    for white in np.linspace(0, 1, 9):
        picture = scene(BOX).astype(float)
        picture[16:48, 16:48] = (1 - white) * np.array([230, 20, 20]) + white * np.array([240, 240, 120])
        fades.append(picture.astype(np.uint8))
    memory = Memory(model, [red], MemoryConfig(least=0.0, gap=1))
    for index, picture in enumerate(fades):
        encoded = model.encode(picture)
        found = memory.label(encoded)
        memory.keep(index, encoded, found.masks)
    alone, truth = model.segment(fades[-1], red).mask, box_mask(*BOX)
    with_memory = found.masks[0]
    assert (with_memory & truth).sum() / (with_memory | truth).sum() > 0.9
    assert (alone & truth).sum() / max((alone | truth).sum(), 1) < 0.5


@pytest.mark.parametrize("preset", ["published", "plus"])
def test_what_is_remembered_was_found_and_not_drawn(preset: str) -> None:
    """The drawn example still counts, and scores are measured against it alone."""
    model = colour_model(preset)
    red = model.concept(scene(BOX), box_mask(*BOX))
    fades = [scene(BOX).astype(float) for _ in range(3)]
    for fade, share in zip(fades, (0.8, 0.7, 0.6), strict=True):
        fade[16:48, 16:48] = share * np.array([230, 20, 20]) + (1 - share) * np.array([20, 230, 20])
    pictures = [fade.astype(np.uint8) for fade in fades]
    memory = Memory(model, [red], MemoryConfig(least=0.0, gap=1))
    for index, picture in enumerate(pictures[:2]):
        memory.keep(index, model.encode(picture), [box_mask(*BOX)])
    extended = memory._extended[0]
    assert (extended.shots, extended.drawn) == (3, red)
    shots = model.cache.shots(extended, model.config)
    assert shots.found == 2
    assert float(agreement(shots.tokens, shots.masks, shots.found)[0]) == pytest.approx(0.85)
    encoded = model.encode(pictures[2])
    found = memory.label(encoded).results[0]
    alone = model.segment(encoded, red)
    assert found.mask.any()
    if (found.mask == alone.mask).all():
        assert found.score == pytest.approx(alone.score)
    by_all = model.segment(encoded, replace(extended, drawn=None))
    assert found.score < by_all.score - 0.02
    strict = model.but(min_score=(found.score + by_all.score) / 2)
    memory.model = strict
    assert not memory.label(strict.encode(pictures[2])).results[0].mask.any()


def test_memories_that_cannot_be(red: Concept) -> None:
    with pytest.raises(ConfigError, match="frames that are seen whole"):
        Memory(colour_model(tile=32), [red])
    for wrong in ({"most": 0}, {"least": 2.0}, {"gap": 0}):
        with pytest.raises(ConfigError, match="a memory holds 1 frame or more"):
            MemoryConfig(**wrong)


def test_results_are_lines(model: INSID3, red: Concept, clip: Path, tmp_path: Path) -> None:
    results: list[Result] = list(start(model, red, ClipFrames(Clip(clip), [0]), tmp_path / "out", MemoryConfig()))
    line = json.loads((tmp_path / "out" / "results.jsonl").read_text())
    assert line == results[0].line()
    assert line["remembered"] == ["red"]
