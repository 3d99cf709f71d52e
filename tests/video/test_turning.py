"""Frames that are turned and mirrored, and their masks."""

import gc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clips import with_matrix, write_clip
from insid3 import INSID3, Concept
from insid3.batch.options import Options
from insid3.batch.runner import Run
from insid3.imaging.masks import read_mask
from insid3.video.clip import Clip
from insid3.video.film import film
from insid3.video.frames import ClipFrames, mark_in_order, marked, overlays
from insid3.video.turning import turned
from stubs import scene

# a, b, c, d of a matrix that puts (x, y) at (a x + c y, b x + d y), and what it does to an array
WAYS: dict[str, tuple[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]]] = {
    "none": ((1, 0, 0, 1), lambda a: a),
    "quarter": ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),
    "half": ((-1, 0, 0, -1), lambda a: np.rot90(a, 2)),
    "three-quarters": ((0, -1, 1, 0), lambda a: np.rot90(a, 1)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside-down": ((1, 0, 0, -1), np.flipud),
    "diagonal": ((0, 1, 1, 0), lambda a: a.swapaxes(0, 1)),
    "other-diagonal": ((0, -1, -1, 0), lambda a: np.rot90(a, 2).swapaxes(0, 1)),
}
CORNER = (0, 0, 24, 48)  # in one corner, so that no two ways look the same


@pytest.mark.parametrize("way", WAYS)
def test_all_eight_ways(way: str, tmp_path: Path, model: INSID3, red: Concept) -> None:
    matrix, change = WAYS[way]
    stored = scene(CORNER, size=(64, 96))
    clip = Clip(with_matrix(write_clip(tmp_path / "a.mp4", [stored] * 2), *matrix))
    expected = change(stored)
    assert clip.size == expected.shape[:2]
    frame = dict(clip.pictures([1]))[1]
    assert isinstance(frame, np.ndarray)
    assert np.abs(frame.astype(int) - expected).mean() < 5
    frames, out = ClipFrames(clip, [1]), tmp_path / "out"

    def engine(*given: object) -> object:
        return mark_in_order(model, frames, None, *given)  # type: ignore[arg-type]

    run = Run(model, red, frames.targets, out, Options(overlays=False), engine=engine)  # type: ignore[arg-type]
    list(run)
    found, truth = read_mask(out / "000001.png", expected.shape[:2]), expected[..., 0] > 128
    assert (found & truth).sum() / (found | truth).sum() > 0.8
    assert marked(frames, run.work) == frames.targets
    film(out / "overlay.mp4", overlays(frames, run.work), frames.rate)
    assert Clip(out / "overlay.mp4").size == expected.shape[:2]


@pytest.mark.parametrize(
    ("matrix", "like"),
    [
        ((0, 2, -2, 0), "quarter"),
        ((0, 0, 0, 0), "none"),
        ((0.99, 0.14, -0.14, 0.99), "none"),
        ((0.1, 1, 1, 0.1), "diagonal"),
    ],
)
def test_matrices_that_do_more_turn_as_far(matrix: tuple[float, float, float, float], like: str) -> None:
    picture = scene(CORNER, size=(64, 96))
    np.testing.assert_array_equal(turned(picture, matrix), WAYS[like][1](picture))


def test_pixels_that_are_not_square_lie_with_the_frame(tmp_path: Path) -> None:

    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(size=(64, 96)), format="rgb24")))
        container.mux(stream.encode(None))
    assert Clip(path).aspect == Fraction(64, 45)
    assert Clip(with_matrix(path, 0, 1, -1, 0)).aspect == Fraction(45, 64)
    assert Image.fromarray(np.asarray(dict(Clip(path).pictures([0]))[0])).size == (64, 96)


def test_frames_are_gone_when_they_are_done_with(tmp_path: Path) -> None:
    """Frames are freed without a garbage collection, because a few hundred frames take gigabytes."""
    clip = Clip(with_matrix(write_clip(tmp_path / "a.mp4", [scene(size=(64, 96))] * 8), 0, 1, 1, 0))
    gc.collect()
    gc.disable()
    try:
        list(clip.pictures(range(8)))
        assert not [one for one in gc.get_objects() if type(one).__name__ == "VideoFrame"]
    finally:
        gc.enable()
