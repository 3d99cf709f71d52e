"""Videos made for tests."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from stubs import scene


def moving(count: int = 24) -> list[np.ndarray]:
    """A red box that moves to the right and comes back, in some noise; the pictures are 64 x 96."""
    random = np.random.default_rng(0)
    noise = random.integers(-12, 12, (count, 64, 96, 3))
    pictures = [scene((16, left, 48, left + 32), size=(64, 96)) for left in lefts(count)]
    return [np.clip(picture + noise, 0, 255).astype(np.uint8) for picture, noise in zip(pictures, noise, strict=True)]


def lefts(count: int = 24) -> list[int]:
    """Where the box begins."""
    return [min(i, 24 - i) * 4 % 56 for i in range(count)]


def write_clip(
    path: Path,
    pictures: Iterable[np.ndarray],
    rate: int = 10,
    times: list[int] | None = None,
    **options: str,
) -> Path:
    """Every picture a frame; `times` in units of 1 / rate, for frames that come irregularly."""
    with av.open(str(path), "w", options=options) as container:
        coding = {"crf": "8", "g": "4", "bf": "0"}
        stream = container.add_stream("libx264", rate=rate, options=coding)
        stream.pix_fmt = "yuv444p"
        for i, picture in enumerate(pictures):
            if not i:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = times[i] if times else i, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
