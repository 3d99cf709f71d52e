"""A user's folder of masks: ignored pixels, draws and notes."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from insid3.errors import ConfigError, DataError
from insid3.eval.datasets import draw, void
from insid3.eval.datasets.base import Draw
from insid3.eval.datasets.own import IgnoreIndex
from insid3.eval.episodes import Episode, EpisodeList, View, load, save
from insid3.eval.reader import Reader
from insid3.imaging import masks as reading
from insid3.imaging.decoding import decode
from insid3.imaging.opening import Picture
from insid3.imaging.read import read_values
from stubs import box_mask, scene

Invoke = Callable[..., Result]
BOXES = ((0, 0, 32, 32), (32, 32, 64, 64), (8, 8, 40, 56), (16, 16, 48, 48))


def folder(tmp_path: Path, **classes: Sequence[np.ndarray | Image.Image]) -> Path:
    """Make a folder with a scene for each mask of 64 x 64."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    for cls, masks in classes.items():
        (root / "masks" / cls).mkdir(parents=True)
        for i, mask in enumerate(masks):
            Image.fromarray(scene(BOXES[i % 4])).save(root / "images" / f"{cls}{i}.png")
            image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
            image.save(root / "masks" / cls / f"{cls}{i}.png")
    return root


def index(i: int, label: int = 1, void: bool = True, rest: int = 0) -> np.ndarray:
    """Return a box of `label`, surrounded by a border of 255, three pixels wide."""
    top, left, bottom, right = BOXES[i % 4]
    mask = np.full((64, 64), rest, np.uint16 if label > 255 else np.uint8)
    if void:
        mask[max(0, top - 3) : bottom + 3, max(0, left - 3) : right + 3] = 255
    mask[top:bottom, left:right] = label
    return mask


def binary(i: int) -> np.ndarray:
    return box_mask(*BOXES[i % 4]).astype(np.uint8) * 255


def smooth(i: int) -> np.ndarray:
    """Return a binary mask with an edge of greys."""
    large = Image.fromarray(binary(i)).resize((61, 61), Image.Resampling.BILINEAR)
    canvas = Image.new("L", (64, 64))
    canvas.paste(large)
    return np.asarray(canvas)


def tailed(i: int, *values: int, middle: bool = False) -> np.ndarray:
    """Return a binary mask with nearly black or white areas, as JPEG makes them; `middle` adds a line of grey."""
    mask = binary(i)
    top, left, bottom, right = BOXES[i % 4]
    for number, value in enumerate(values or (1, 2, 253, 254)):
        place = (bottom + 4, right + 4) if value < 128 else (top + 4, left + 4)
        mask[place[0] : place[0] + 4, place[1] + 5 * number :][:, :4] = value
    if middle:
        mask[bottom, left:right] = 128
    return mask


def jpeg_as_png(i: int) -> np.ndarray:
    """Return a binary mask that was once saved as JPEG."""
    file = io.BytesIO()
    Image.fromarray(binary(i)).resize((61, 61), Image.Resampling.BILINEAR).resize((64, 64)).save(file, "JPEG")
    return np.asarray(Image.open(file))


def voc(i: int) -> Image.Image:
    """Return a mask as in VOC: with a palette, and 255 for the border."""
    image = Image.fromarray(index(i, 15))
    palette = [0] * 768
    palette[45:48], palette[765:768] = [192, 128, 128], [224, 224, 192]
    image.putpalette(palette)
    return image


def first(lists: list[EpisodeList]) -> Episode:
    episode = lists[0].episodes[0]
    assert isinstance(episode, Episode)
    return episode


@pytest.mark.parametrize(
    "mask", [index, lambda i: index(i, 15), voc, lambda i: index(i, 2, rest=1)], ids=["1", "15", "VOC", "labels"]
)
def test_void_counts_neither_for_nor_against(tmp_path: Path, mask: Callable[[int], np.ndarray | Image.Image]) -> None:
    root = folder(tmp_path, cat=[mask(i) for i in range(3)])
    lists = draw([f"folder:{root}"])
    episode, reader = first(lists), Reader(root, upright=True)
    stored = np.asarray(mask(0))
    assert np.array_equal(reader.mask(episode.target), (stored > 0) & (stored < 255))
    assert episode.ignore is not None
    assert np.array_equal(reader.mask(episode.target, episode.ignore), stored == 255)
    assert "255 is void in 3 of 3 masks of class cat" in lists[0].notes[0]
    assert "--ignore-index none makes it the object" in lists[0].notes[0]


@pytest.mark.parametrize(
    "its",
    [
        [binary(i) for i in range(3)],
        [smooth(i) for i in range(3)],
        [jpeg_as_png(i) for i in range(3)],
        [binary(0), smooth(1), np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)],
        [box_mask(*BOXES[0]), binary(1), binary(2)],  # of one bit, which is 1 in memory
        [index(i, void=False) for i in range(3)],
        [index(0, 300), index(1, 255, void=False).astype(np.uint16), index(2, 7).astype(np.uint16)],
        [Image.merge("RGB", [Image.fromarray(binary(i))] * 3) for i in range(3)],
    ],
    ids=["binary", "smooth", "JPEG", "mixed", "one bit", "labels", "many labels", "RGB"],
)
def test_where_nothing_is_void_all_above_zero_is_the_object(tmp_path: Path, its: list[np.ndarray]) -> None:
    root = folder(tmp_path, cat=its)
    lists = draw([f"folder:{root}"])
    reader = Reader(root, upright=True)
    for episode, mask in zip(lists[0].episodes, its, strict=True):
        assert isinstance(episode, Episode)
        assert episode.ignore is None
        assert episode.target.mask == ("any", episode.target.mask[1])  # as ever: what was run is not run again
        stored = np.asarray(mask)
        assert np.array_equal(reader.mask(episode.target), stored[..., 0] > 0 if stored.ndim == 3 else stored > 0)
    assert lists[0].notes == ()


@pytest.mark.parametrize(
    ("its", "message"),
    [
        ([index(0, void=False), binary(1), binary(2)], r"masks with 1 \(.*cat0.png\) and others with 255 \(.*cat1.png"),
        ([index(0, 128), binary(1), binary(2)], r"cat0.png holds 255 and, beside it, 128, which may be labels or"),
        ([tailed(0), binary(1), binary(2)], r"cat0.png holds 255 and, beside it, 1, 2, 253, 254, which may be"),
        ([tailed(0, 253, 254), binary(1), binary(2)], r"cat0.png holds 255 and, beside it, 253, 254, which may be"),
        ([tailed(0, 1, 2, middle=True), binary(1), binary(2)], r"holds 255 and, beside it, 1, 2, 128, which may be"),
        (
            [index(0), smooth(1), binary(2)],
            r"cat has masks with 255 beside 1 \(.*cat0.png\) and others whose 255 has a",
        ),
    ],
    ids=["two kinds of binary masks", "trimap", "once a JPEG", "nearly white", "nearly black", "soft and labels"],
)
def test_masks_that_do_not_tell_are_asked_about(tmp_path: Path, its: list[np.ndarray], message: str) -> None:
    root = folder(tmp_path, cat=its)
    with pytest.raises(DataError, match=message) as error:
        draw([f"folder:{root}"])
    assert "--ignore-index 255 if it does not count, --ignore-index none if it is the object" in str(error.value)
    draw([f"folder:{root}"], ignore_index="none")
    draw([f"folder:{root}"], ignore_index=255)


def test_masks_are_looked_at_when_they_are_drawn_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All masks of a class decide on 255, whatever the limit, and no mask of another class is read."""
    root = folder(tmp_path, cat=[binary(0), binary(1), index(2)], dog=[index(i) for i in range(3)])
    read: list[str] = []

    def seen(path: Path, most: int) -> np.ndarray:
        read.append(path.name)
        return read_values(path, most)

    monkeypatch.setattr(void, "read_values", seen)
    (some,) = draw([f"folder:{root}"], limit=1)
    assert read == ["cat0.png", "cat1.png", "cat2.png"]
    assert [note[:40] for note in some.notes] == ["255 is void in 3 of 3 masks of class cat"]
    (every,) = draw([f"folder:{root}"])
    assert every.episodes[0] == some.episodes[0]
    assert (len(every.notes), some.length, [*some.classes]) == (2, every.length, [*every.classes])
    read.clear()
    draw([f"folder:{root}"], ignore_index=255)
    assert read == []


def with_alpha(i: int, *, opaque: bool) -> Image.Image:
    """Return an index mask: in grey with an opaque alpha channel, or in the alpha channel over black."""
    grey, alpha = (index(i), np.full((64, 64), 255)) if opaque else (np.zeros((64, 64)), index(i))
    return Image.fromarray(np.dstack([grey, grey, grey, alpha]).astype(np.uint8))


@pytest.mark.parametrize("opaque", [True, False])
def test_alpha_is_read_as_in_every_mask(tmp_path: Path, opaque: bool) -> None:
    root = folder(tmp_path, cat=[with_alpha(i, opaque=opaque) for i in range(3)])
    for chosen, void_is in (("auto", 255), (255, 255), (9, 9), (1, 1)):
        episode = first(draw([f"folder:{root}"], ignore_index=chosen))  # type: ignore[arg-type]
        reader, stored = Reader(root, upright=True), index(0)
        assert np.array_equal(reader.mask(episode.target), (stored > 0) & (stored != void_is))
        assert np.array_equal(reader.mask(episode.target, episode.ignore), stored == void_is)


def test_a_mask_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path, cat=[index(i) for i in range(3)])
    episode, reader = first(draw([f"folder:{root}"])), Reader(root, upright=True)
    read: list[str] = []

    def seen(picture: Picture, most: int) -> object:
        read.append(picture.name)
        return decode(picture, most)

    monkeypatch.setattr(reading, "decode", seen)
    for recipe in (None, episode.ignore, ("label", episode.target.mask[1], 77)):
        read.clear()
        reader.mask(episode.target, recipe)
        assert read == [str(root / episode.target.mask[1])]


def test_each_class_is_judged_by_its_own_masks(tmp_path: Path) -> None:
    """A mask that holds only the border has no object, though alone it would look like a binary mask."""
    border_only = np.where(index(2) == 255, 255, 0).astype(np.uint8)
    root = folder(tmp_path, cat=[index(0), index(1), border_only], dog=[binary(i) for i in range(3)])
    (found,) = draw([f"folder:{root}"])
    reader = Reader(root, upright=True)
    areas = [int(reader.mask(episode.target).sum()) for episode in found.episodes if isinstance(episode, Episode)]
    assert areas == [1024, 1024, 0, 1024, 1024, 32 * 48]


@pytest.mark.parametrize(
    ("chosen", "area", "ignored"), [("none", 35 * 35, None), (7, 201, 1024), (255, 1024, 201), (9, 35 * 35, 0)]
)
def test_the_value_can_be_chosen(tmp_path: Path, chosen: IgnoreIndex, area: int, ignored: int | None) -> None:
    root = folder(tmp_path, cat=[index(i, 7) for i in range(2)])
    episode, reader = first(draw([f"folder:{root}"], ignore_index=chosen)), Reader(root, upright=True)
    found = reader.mask(episode.target)
    assert int(found.sum()) == area
    if ignored is None:
        assert episode.ignore is None
    else:
        assert episode.ignore is not None
        assert int(reader.mask(episode.target, episode.ignore).sum()) == ignored


def test_damaged_masks_fail_as_episodes(tmp_path: Path) -> None:
    root = folder(tmp_path, cat=[index(i) for i in range(3)])
    (root / "masks/cat/cat1.png").write_bytes(b"broken")
    assert len(draw([f"folder:{root}"])[0].episodes) == 3


def test_numbers_and_report_say_what_was_ignored(invoke: Invoke, tmp_path: Path) -> None:
    """The model may mark more than the box; the ignored border does not count."""
    root = folder(tmp_path, cat=[index(i) for i in range(4)])
    result = invoke("evaluate", f"folder:{root}", "-o", "out", "--score-at", "original")
    assert result.exit_code == 0, result.output
    assert "255 is void in 4 of 4 masks of class cat" in " ".join(result.stderr.split())
    numbers = json.loads(Path("out/results.json").read_text())
    found = numbers["sets"]["data"]["ignored"]
    outcomes = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    assert found["pixels"] == sum(int((index(i) == 255).sum()) for i in range(4)) == sum(o["ignored"] for o in outcomes)
    assert (found["episodes"], found["of_episodes"], found["values"]) == (4, 4, [255])
    assert all(o["intersection"][0] + o["union"][1] + o["ignored"] == 64 * 64 for o in outcomes)
    report = Path("out/report.md").read_text()
    assert f"{found['pixels']:,} pixels (value 255) of 4 of 4 targets were ignored" in report
    assert f"{found['pixels']:,} pixels ignored" in result.stderr
    plain = invoke("evaluate", f"folder:{root}", "-o", "none", "--score-at", "original", "--ignore-index", "none")
    assert plain.exit_code == 0, plain.output
    assert "ignored" not in json.loads(Path("none/results.json").read_text())["sets"]["data"]
    assert json.loads(Path("none/results.json").read_text())["miou"] < numbers["miou"]
    typo = invoke("evaluate", f"folder:{root}", "-o", "typo", "--score-at", "original", "--ignore-index", "254")
    assert typo.exit_code == 0, typo.output
    assert "0 pixels (value 254) of 0 of 4 targets were ignored" in Path("typo/report.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("folder:DATA", "--ignore-index", "x"), "--ignore-index must be a value of masks, such as 255, or 'none'"),
        (("folder:DATA", "--ignore-index", "-1"), "--ignore-index must be a value of masks"),
        (("folder:DATA", "--ignore-index", "70000"), "0 to 65535, or none, got 70000"),
        (("episodes:DATA", "--ignore-index", "255"), "--ignore-index is of folder:DIR"),
        (("--episodes", "x.json", "--ignore-index", "255"), "--episodes says what is ignored"),
    ],
)
def test_where_the_value_has_no_meaning(invoke: Invoke, words: tuple[str, ...], message: str) -> None:
    result = invoke("evaluate", *words, "-o", "out")
    assert message in str(result.exception)


def test_no_picture_is_drawn_twice(tmp_path: Path) -> None:
    root = folder(tmp_path, cat=[binary(i) for i in range(5)], dog=[binary(i) for i in range(7)])
    for seed in range(5):
        for episode in draw([f"folder:{root}"], shots=4, seed=seed)[0].episodes:
            assert isinstance(episode, Episode)
            assert len({view.picture for view in (episode.target, *episode.references)}) == 5


def test_two_masks_of_a_picture_are_one_picture(tmp_path: Path) -> None:
    root = folder(tmp_path, cat=[binary(i) for i in range(3)])
    for i in range(3):
        Image.fromarray(binary(i)).save(root / f"masks/cat/cat{i}.bmp")
    for seed in range(5):
        for episode in draw([f"folder:{root}"], shots=2, seed=seed)[0].episodes:
            assert isinstance(episode, Episode)
            assert len({view.picture for view in (episode.target, *episode.references)}) == 3
    with pytest.raises(DataError, match=r"cat has 3 pictures, 4 are needed"):
        draw([f"folder:{root}"], shots=3)


def test_draws_that_were_right_stay_what_they_were() -> None:
    """The replacement of a picture that came twice does not change later draws."""
    views = [View(f"{i}.png", ("any", f"{i}.png")) for i in range(6)]
    for seed in range(20):
        before, now = Draw(seed), Draw(seed)
        for target in views * 3:
            old, new = before.others(views, target, 3, "x"), now.distinct(views, target, 3, "x")
            assert len(set(new)) == 3
            assert target not in new
            assert new[: len(set(old))] == list(dict.fromkeys(old))
        assert before.stream.random_sample() == now.stream.random_sample()


def test_a_class_with_too_few_pictures_is_left_out_and_said(invoke: Invoke, tmp_path: Path) -> None:
    root = folder(tmp_path, cat=[binary(i) for i in range(4)], dog=[binary(i) for i in range(2)], eel=[binary(0)])
    words = ("evaluate", f"folder:{root}", "--shots", 2, "--limit", 3)
    result = invoke(*words, "-o", "out", "--episodes-out", "list.json")
    assert result.exit_code == 0, result.output
    assert "data: left out: class dog has 2 pictures, 3 are needed" in result.stderr
    assert "data: left out: class eel has 1 picture, 3 are needed" in result.stderr
    assert "3 scored (0 empty, 0 doubtful), 0 failed, 0 skipped, 2 classes left out" in result.stderr
    numbers = json.loads(Path("out/results.json").read_text())
    assert (numbers["left_out"], set(numbers["sets"]["data"]["left_out"])) == (2, {"dog", "eel"})
    assert "class dog is left out, it has 2 pictures, 3 are needed" in Path("out/report.md").read_text()
    (found,) = load(Path("list.json"))
    assert (found.length, [*found.classes], [*found.left_out]) == (4, ["cat"], ["dog", "eel"])
    again = invoke("evaluate", "--episodes", "list.json", "-o", "again")
    assert "data: left out: class dog has 2 pictures" in again.stderr


def test_lists_of_which_nothing_is_left_out_are_saved_as_ever(tmp_path: Path) -> None:
    root = folder(tmp_path, cat=[binary(i) for i in range(3)])
    save(draw([f"folder:{root}"]), tmp_path / "list.json")
    assert "left_out" not in (tmp_path / "list.json").read_text()
    assert "notes" not in (tmp_path / "list.json").read_text()


def test_values_that_no_mask_can_have() -> None:
    with pytest.raises(ConfigError, match="0 to 65535"):
        draw(["folder:x"], ignore_index=-1)
