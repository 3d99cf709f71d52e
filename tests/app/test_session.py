"""What a page can be asked, without a page."""

import json
import shutil
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from insid3 import INSID3, Concept, ConceptError, ConfigError, ImageError, MaskError
from insid3.app.archive import pack
from insid3.app.cheetahs import POLYGON, cheetah_pictures
from insid3.app.same import Same
from insid3.app.session import MOST_TARGETS, Example, Session, Settings
from insid3.app.sessions import Kept, Turns
from insid3.batch.annotations import from_labelme
from insid3.config import Defaults
from insid3.errors import OutputError
from insid3.imaging.colours import MAGENTA, PALETTE
from insid3.imaging.masks import read_mask
from stubs import ColourEncoder, box_mask, colour_model, scene

BOX = (16, 16, 48, 48)
GREEN = (0, 158, 115)


class Counting:
    """An encoder, and how often it was asked."""

    def __init__(self, encoder: Any) -> None:
        self.encoder, self.calls = encoder, 0

    def __call__(self, *args: Any, **named: Any) -> Any:
        self.calls += 1
        return self.encoder(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)


def new_session(model: INSID3, folder: Path, pictures: Path | None = None) -> Session:
    folder.mkdir()
    return Session(model, folder, Kept(2**24), Turns(), pictures)


@pytest.fixture
def session(model: INSID3, tmp_path: Path) -> Session:
    return new_session(model, tmp_path / "own")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A reference, its mask, three targets, and something that is no picture."""
    pictures = {
        "ref": scene(BOX),
        "mask": box_mask(*BOX).astype(np.uint8) * 255,
        "corner": scene((0, 0, 32, 32)),
        "stripe": scene((32, 0, 64, 64)),
        "green": scene((8, 8, 40, 40), colour=1),
    }
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_text("no picture")
    return {name: tmp_path / f"{name}.png" for name in (*pictures, "broken")}


def marks(example: Example) -> np.ndarray:
    assert example.mask is not None
    return example.mask


def settings_of(session: Session) -> Settings:
    return Settings.of(session.model.config)


def started(session: Session, files: dict[str, Path], *targets: str) -> Settings:
    """A session with the red box as its example."""
    session.open(files["ref"])
    session.take_mask(files["mask"])
    session.choose([files[name] for name in targets])
    return settings_of(session)


def test_marks_what_the_library_marks(session: Session, files: dict[str, Path], red: Concept) -> None:
    settings = started(session, files, "corner", "broken", "stripe", "green")
    shown = list(session.mark(settings, "red", MAGENTA))
    assert [one.name for one in shown] == ["corner", "broken", "stripe", "green"]
    for one in (shown[0], shown[2]):
        expected = session.model.segment(files[one.name], red)
        assert one.area == expected.mask.sum() > 0
        assert one.score == pytest.approx(expected.score)
        assert one.caption == f"{one.name} · score {expected.score:.2f}"
    assert shown[1].error == (
        "broken.png is not a picture of a supported format (JPEG, PNG, WEBP, TIFF, BMP, DIB, GIF, PPM, JPEG2000, AVIF)"
    )
    assert shown[3].caption == "green · nothing marked"
    assert "resembles" in str(shown[3].reason)
    overlay = np.asarray(Image.open(shown[0].overlay))
    assert overlay[10, 10, 2] > overlay[10, 10, 1]  # red with a tint of magenta
    assert all(one.overlay.exists() for one in shown)


def test_new_settings_encode_nothing(session: Session, files: dict[str, Path]) -> None:
    encoder = session.model.encoder
    assert isinstance(encoder, ColourEncoder)
    settings = started(session, files, "corner", "stripe")
    list(session.mark(settings, "red", MAGENTA))
    calls = encoder.calls
    areas = []
    for changed in (
        Settings(0.9, settings.tau, settings.rank),
        Settings(settings.threshold, 0.5, settings.rank),
        Settings(settings.threshold, settings.tau, 1),
        Settings(settings.threshold, settings.tau, settings.rank, min_score=1.0),
        Settings(settings.threshold, settings.tau, settings.rank, refine="guided"),
        Settings(settings.threshold, settings.tau, settings.rank, refine="crf"),
    ):
        shown = list(session.mark(changed, "red", MAGENTA))
        areas.append([one.area for one in shown])
        assert not any(one.error for one in shown)
    assert encoder.calls == calls
    assert areas[3] == [0, 0]
    session.take_mask_of(box_mask(0, 0, 64, 64))  # nor does another mask, another look, other points
    session.stages("corner", None, settings, "red", MAGENTA)
    assert encoder.calls == calls


def test_ranks_leave_nothing_behind(session: Session, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = started(session, files, "corner")
    list(session.mark(settings, "red", MAGENTA))
    seen = session.features.seen(session.targets[0].path)
    kept = session.features.model.cache._kept.tensors
    before = kept[seen.encoded.tokens].values.copy()
    for rank in (0, 1, 2, 3, 4):
        list(session.mark(Settings(settings.threshold, settings.tau, rank), "red", MAGENTA))
    assert len(kept[seen.encoded.tokens].tensors) <= 1  # bases of which debiased tokens are kept
    after = kept[seen.encoded.tokens].values
    assert all(after[key] is value for key, value in before.items())  # raw tokens are clustered, whatever the rank
    assert len(before) == len(after) == 1


def test_painting(session: Session, files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConceptError, match="choose a reference picture first"):
        session.paint([])
    session.open(files["ref"])
    layer = np.zeros((32, 32, 4), np.uint8)
    layer[8:24, 8:24] = (230, 0, 140, 255)
    layer[0, 0, 3] = 100  # a soft edge
    Image.fromarray(layer).save(tmp_path / "layer.png")
    example = session.paint([tmp_path / "layer.png"])
    assert np.array_equal(marks(example), box_mask(*BOX))
    Image.fromarray(np.zeros((32, 32, 4), np.uint8)).save(tmp_path / "empty.png")
    assert session.paint([tmp_path / "empty.png"]).mask is None  # all erased
    session.take_mask(files["mask"])
    assert session.paint([tmp_path / "empty.png"]).mask is not None  # the canvas only opened
    Image.fromarray(layer[..., :3]).save(tmp_path / "opaque.png")
    with pytest.raises(MaskError, match="RGBA"):
        session.paint([tmp_path / "opaque.png"])
    Image.new("RGBA", (4000, 4000)).save(tmp_path / "huge.png")
    with pytest.raises(ImageError, match="limit is"):
        session.paint([tmp_path / "huge.png"])


def test_clicking_regions(session: Session, files: dict[str, Path]) -> None:
    session.open(files["ref"])
    assert session.place((20, 20)) == (20, 20)
    assert np.array_equal(marks(session.pick("+20,20", 0.9)), box_mask(*BOX))
    assert marks(session.pick("+20,20 +1,1 -20,20", 0.9))[0, 0]
    assert session.pick("", 0.9).mask is None
    shown = session.example_shown(MAGENTA, 0.9)
    assert shown[20, 16, 2] > 150  # a border
    with pytest.raises(ConfigError, match="outside"):
        session.pick("900,1", 0.9)


def test_clicks_on_a_small_preview_of_a_large_picture(session: Session, tmp_path: Path) -> None:
    Image.fromarray(scene((0, 0, 1600, 800), size=(1600, 3200))).save(tmp_path / "large.png")
    preview = session.open(tmp_path / "large.png").preview
    assert preview.shape == (512, 1024, 3)
    assert session.place((100, 300)) == (314, 939)
    mask = session.pick("+{},{}".format(*session.place((100, 300))), 0.9).mask
    assert mask is not None
    assert mask[:, :790].all()
    assert not mask[:, 810:].any()


def test_a_wrong_mask_is_named(session: Session, files: dict[str, Path], tmp_path: Path) -> None:
    session.open(files["ref"])
    with pytest.raises(MaskError, match=r"^mask broken\.png is not a picture"):
        session.take_mask(files["broken"])
    Image.new("L", (64, 64)).save(tmp_path / "black.png")
    with pytest.raises(MaskError, match=r"^mask black\.png is empty"):
        session.take_mask(tmp_path / "black.png")
    with pytest.raises(ImageError, match=r"^broken\.png is not a picture"):
        session.open(files["broken"])
    with pytest.raises(ImageError, match=r"gone\.png is not there any more"):
        session.open(tmp_path / "gone.png")


def test_several_examples_and_concepts(session: Session, files: dict[str, Path]) -> None:
    with pytest.raises(ConceptError, match="no example yet"):
        session.all_concepts("red", MAGENTA)
    with pytest.raises(ConceptError, match="mark the concept in the reference picture first"):
        session.keep("red", MAGENTA)
    started(session, files)
    session.keep("red", MAGENTA)
    assert session.example is None
    started(session, files)
    (red,) = session.all_concepts("red", MAGENTA)
    assert (red.shots, red.colour, red.sources) == (2, MAGENTA, ("ref.png", "ref.png"))
    session.open(files["green"])
    session.take_mask_of(box_mask(8, 8, 40, 40))
    both = session.all_concepts("green", GREEN)
    assert [(concept.name, concept.shots) for concept in both] == [("red", 1), ("green", 1)]
    assert session.all_concepts("green", GREEN) is both  # what follows from them is kept
    session.keep("green", GREEN)
    session.choose([files["corner"], files["green"]])
    shown = list(session.mark(settings_of(session), "concept", MAGENTA))
    assert shown[0].caption.startswith("corner · red ")
    assert shown[1].caption.startswith("green · green ")
    assert len(session.cards()) == 2
    session.drop("red")
    assert [concept.name for concept in session.all_concepts("", MAGENTA)] == ["green"]


def test_concepts_go_to_files_and_come_back(session: Session, files: dict[str, Path], tmp_path: Path) -> None:
    started(session, files)
    (file,) = session.save("the red one", GREEN)
    assert file.name == "the_red_one.insid3"
    other = new_session(session.model, tmp_path / "other")
    loaded = other.load(file)
    assert (loaded.name, loaded.colour) == ("the red one", GREEN)
    other.choose([files["corner"]])
    (shown,) = other.mark(settings_of(other), "concept", MAGENTA)
    session.choose([files["corner"]])
    (expected,) = session.mark(settings_of(session), "red", MAGENTA)
    assert shown.area == expected.area > 0
    with pytest.raises(ConceptError, match=r"^concept broken\.png is damaged"):
        other.load(files["broken"])
    foreign = new_session(colour_model(size=64), tmp_path / "foreign")
    with pytest.raises(ConceptError, match="was made at size 32"):
        foreign.load(file)


def test_a_new_concept_has_a_colour_of_its_own(session: Session, files: dict[str, Path]) -> None:
    assert session.colour_for("red", MAGENTA) == MAGENTA
    started(session, files)
    session.keep("red", MAGENTA)
    assert session.colour_for("red ", GREEN) == MAGENTA
    assert session.colour_for("green", GREEN) == GREEN
    assert session.colour_for("green", MAGENTA) == PALETTE[0]


def test_a_run_ends_when_another_begins(session: Session, files: dict[str, Path]) -> None:
    settings = started(session, files, "corner", "stripe", "green")
    first = session.mark(settings, "red", MAGENTA)
    next(first)
    second = session.mark(Settings(0.9, settings.tau, settings.rank), "red", MAGENTA)
    assert next(second).name == "corner"
    assert list(first) == []
    session.stop()
    assert list(second) == []
    assert len(list(session.mark(settings, "red", MAGENTA))) == 3


def test_too_many_examples_are_refused(
    session: Session, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insid3.app.session.MOST_BYTES", 1000)
    started(session, files)
    with pytest.raises(ConceptError, match="more than one page may keep"):
        session.keep("red", MAGENTA)
    assert session.example is not None


def test_targets_of_one_name_and_of_the_servers_folder(model: INSID3, files: dict[str, Path], tmp_path: Path) -> None:
    for folder in ("a", "b", "photos/deep"):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(scene(BOX)).save(tmp_path / folder / "x.png")
    session = new_session(model, tmp_path / "own", tmp_path / "photos")
    assert session.choose([tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"], folder=True) is None
    assert [target.name for target in session.targets] == ["x", "x_2", "deep/x"]
    assert session.targets[2].path == tmp_path / "photos/deep/x.png"
    assert session.targets[0].path.parents[2] == session.folder
    assert new_session(model, tmp_path / "two").choose([], folder=True) is None
    many = [files["ref"]] * (MOST_TARGETS + 3)
    assert session.choose(many) == (
        f"only the first {MOST_TARGETS} of {MOST_TARGETS + 3} pictures: the command line marks them all"
    )
    assert len(session.targets) == MOST_TARGETS
    started(session, files)
    with pytest.raises(ConfigError, match="no targets yet"):
        next(session.mark(settings_of(session), "red", MAGENTA))


def test_a_picture_that_is_gone_fails_alone(model: INSID3, files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    files["corner"].rename(tmp_path / "photos" / "corner.png")
    files["stripe"].rename(tmp_path / "photos" / "stripe.png")
    session = new_session(model, tmp_path / "own", tmp_path / "photos")
    settings = started(session, files)
    session.choose([], folder=True)
    (tmp_path / "photos" / "corner.png").unlink()
    gone, there = session.mark(settings, "red", MAGENTA)
    assert gone.error == "corner.png is not there any more: choose it again"
    assert there.area > 0


def test_stages_of_a_target(session: Session, files: dict[str, Path]) -> None:
    settings = started(session, files, "corner", "green")
    stages = session.stages("corner", "red", settings, "red", MAGENTA)
    assert len(stages.pictures) == 6
    assert stages.sentence.startswith("2 clusters at tau 0.9. 16 of 64 patches are candidates. 1 clusters score above")
    assert stages.bars.count('class="bar kept"') == 1
    assert stages.bars.count('class="bar left-out"') == 1
    assert "the seed" in stages.bars
    empty = session.stages("green", None, settings, "red", MAGENTA)
    assert empty.sentence.startswith("The mask is empty: no patch resembles")
    assert "no cluster has a score" in empty.bars
    above = session.stages("corner", None, Settings(5.0, settings.tau, settings.rank), "red", MAGENTA)
    assert "The mask is empty: no cluster scores above the threshold 5" in above.sentence
    assert 'class="bar kept"' not in above.bars
    for name, message in ((None, "choose a picture first"), ("nowhere", "no picture called 'nowhere'")):
        with pytest.raises(ConfigError, match=message):
            session.stages(name, None, settings, "red", MAGENTA)


def test_matching_points(session: Session, files: dict[str, Path]) -> None:
    started(session, files, "corner")
    assert session.names() == ["ref.png", "corner"]
    encoder = session.model.encoder
    assert isinstance(encoder, ColourEncoder)
    calls = encoder.calls
    found = session.match("ref.png", "corner", [[20, 20], [60, 60]])
    assert encoder.calls == calls + 1  # the target: the example is known
    expected = session.model.match(files["corner"], session.model.concept(files["ref"]), [[20, 20], [60, 60]])
    assert np.allclose(found.debiased.xy, expected.xy)
    raw = session.model.match(files["corner"], session.model.concept(files["ref"]), [[20, 20]], debias=False)
    assert np.allclose(found.raw.xy[:1], raw.xy)
    assert found.maps[0].shape == found.maps[1].shape == (64, 64, 3)
    assert not np.array_equal(session.match("ref.png", "corner", [[20, 20], [60, 60]], 0).maps[1], found.maps[1])
    assert len(session.match("ref.png", "corner", []).raw) == 0
    session.more = (files["stripe"],)
    assert session.names() == ["stripe.png", "ref.png", "corner"]
    assert len(session.match("stripe.png", "ref.png", [[1, 1]]).debiased) == 1
    with pytest.raises(ConfigError, match="outside the reference"):
        session.match("ref.png", "corner", [[99, 1]])


def test_matching_at_its_own_size(files: dict[str, Path], tmp_path: Path) -> None:
    config = colour_model().config
    model = INSID3(ColourEncoder(), config, config.but(size=64))
    session = new_session(model, tmp_path / "own")
    started(session, files, "corner")
    found = session.match("ref.png", "corner", [[20, 20]])
    assert found.debiased.maps.shape == (1, 16, 16)
    expected = model.match(files["corner"], model.concept(files["ref"]), [[20, 20]])
    assert np.allclose(found.debiased.xy, expected.xy)


def test_the_download_is_what_the_command_line_would_give(
    session: Session, files: dict[str, Path], tmp_path: Path
) -> None:
    settings = started(session, files, "corner", "broken", "green")
    same = Same("colours", session.model.config, session.model.config)
    text = same.command(["red"], Settings(0.3, settings.tau, settings.rank))
    archive, notes = pack(session, settings, "red", MAGENTA, ["png", "coco", "yolo"], text)
    assert notes == ["yolo: scores of objects in 1 pictures, for which YOLO has no place"]
    out = tmp_path / "unpacked"
    with zipfile.ZipFile(archive) as file:
        file.extractall(out)
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {"masks/corner.png", "masks/green.png", "results.json", "red.insid3", "README.txt"} <= found
    assert "masks/broken.png" not in found
    assert {"coco/instances.json", "yolo/data.yaml"} <= found, found
    expected = session.model.segment(files["corner"], session.model.concept(files["ref"], files["mask"]))
    assert np.array_equal(read_mask(out / "masks/corner.png", (64, 64)), expected.mask)
    rows = json.loads((out / "results.json").read_text())
    assert [row["target"] for row in rows] == ["corner.png", "broken.png", "green.png"]
    assert rows[0]["concepts"]["red"]["area"] == expected.mask.sum()
    assert "not a picture" in rows[1]["error"]
    assert "resembles" in rows[2]["concepts"]["red"]["reason"]
    assert (out / "README.txt").read_text() == text
    places = [path for path in found if str(tmp_path).encode() in (out / path).read_bytes()]
    assert not places  # where the server has its files is nobody's business
    assert Concept.load(out / "red.insid3").name == "red"
    with pytest.raises(ConfigError, match="unknown format 'pdf'"):
        pack(session, settings, "red", MAGENTA, ["pdf"], "")
    session.choose([])
    with pytest.raises(ConfigError, match="no targets yet"):
        pack(session, settings, "red", MAGENTA, ["png"], "")


def test_a_page_closed_while_it_is_packed_is_no_surprise(session: Session, files: dict[str, Path]) -> None:
    settings = started(session, files, "corner")
    session.save = Mock(side_effect=lambda *_: shutil.rmtree(session.folder))  # type: ignore[method-assign]
    with pytest.raises(OutputError, match="cannot write results"):
        pack(session, settings, "red", MAGENTA, ["png", "coco"], "")


def test_the_same_without_the_page() -> None:
    config = colour_model().config
    same = Same("dinov2-vits14", config, config.but(fit="pad", keep_seed=True, overlap=0.5), "my weights.pth")
    settings = Settings(0.25, config.tau, 1, refine="crf")
    assert same.command(["cat", "dog"], settings) == (
        "insid3 segment --concept cat.insid3 --concept dog.insid3 photos/ -o out/ --weights 'my weights.pth' "
        "--rank 1 --threshold 0.25 --keep-seed --fit pad --tile-overlap 0.5 --refine crf"
    )
    plain = Same("dinov2-vits14", config, config)
    assert plain.command(["cat"], Settings.of(config)) == "insid3 segment --concept cat.insid3 photos/ -o out/"
    assert plain.python(["cat"], Settings(0.3, config.tau, config.rank)).splitlines() == [
        "from insid3 import INSID3, Concept",
        "",
        "model = INSID3.from_pretrained('dinov2-vits14', threshold=0.3)",
        "concept = Concept.load('cat.insid3')",
        'mask = model.segment("photo.jpg", concept).mask',
    ]
    better = Defaults(518, 30, 0.7, plus={"rank": 45}).configs("plus")[0]
    plus = Same("dinov2-vits14", better, better, preset="plus")
    assert plus.command(["cat"], replace(Settings.of(better), tau=0.6)).endswith("-o out/ --preset plus --tau 0.6")
    assert "from_pretrained('dinov2-vits14', preset='plus')" in plus.python(["cat"], Settings.of(better))
    assert 'masks = model.label("photo.jpg", concepts).masks' in same.python(["cat", "dog"], settings)
    compile(same.python(["cat", "dog"], settings), "page", "exec")


def test_half_a_second_for_six_targets(tmp_path: Path) -> None:
    """The real backbone, 518 px, two cores, edges not refined: new masks, and nothing encoded for them."""
    loaded, first = INSID3.from_pretrained(), cheetah_pictures()[0]
    counting = Counting(loaded.encoder)
    model = INSID3(counting, loaded.config)
    session = new_session(model, tmp_path / "own")
    session.features._kept.limit = 2**29
    session.open(first)
    session.take_mask_of(from_labelme(POLYGON, picture=first)[1])
    targets = []
    for i in range(6):
        picture = Image.open(cheetah_pictures()[1 + i % 4]).convert("RGB").resize((518, 518))
        targets.append(tmp_path / f"{i}.png")
        (picture if i < 4 else picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).save(targets[-1])
    session.choose(targets)
    settings = settings_of(session)
    start = time.perf_counter()
    before = [one.area for one in session.mark(settings, "cheetah", MAGENTA)]
    whole = time.perf_counter() - start  # with encoding, in this run: a busy machine is slower in everything

    calls = counting.calls
    changes = (  # every time another value: nothing of it is kept
        [replace(settings, threshold=threshold) for threshold in (0.5, 0.4, 0.3)],
        [replace(settings, tau=tau) for tau in (0.6, 0.65, 0.75)],
        [replace(settings, rank=rank) for rank in (10, 60, 120)],
    )
    for changed in changes:
        times = []
        for new in changed:
            list(session.mark(settings, "cheetah", MAGENTA))
            start = time.perf_counter()
            shown = list(session.mark(new, "cheetah", MAGENTA))
            times.append(time.perf_counter() - start)
            assert [one.area for one in shown] != before
            assert not any(one.error for one in shown)
        assert min(times) <= max(0.5, whole / 4), (changed, times, whole)
    assert counting.calls == calls
