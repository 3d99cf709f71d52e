"""Results, as users get them: where a concept is in a target, and where points are."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image

from insid3.config import Config
from insid3.imaging.colours import MAGENTA, Colour
from insid3.imaging.draw import overlay, points
from insid3.imaging.opening import Source
from insid3.imaging.show import picture_of, png_of
from insid3.storage import write_picture, write_text


@runtime_checkable
class Soft(Protocol):
    """The values that a threshold is compared with, until somebody asks for pixels (`features/upsample.py`)."""

    @property
    def config(self) -> Config: ...

    def to_pixels(self) -> Float[np.ndarray, "H W"]: ...


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """The place of a concept in one target. A result holds no picture and no tokens, and can be pickled.

    >>> found = model.segment("target.jpg", cat)
    >>> found.save("mask.png")
    >>> found.overlay().save("overlay.png")

    Attributes:
        mask: (H, W) bool, at the target's own size.
        score: how sure it is that the concept is there and the mask right, in [0, 1] (`stages/presence.py`); 0.0 where
            nothing was marked. A mask below `min_score` is emptied and keeps its score.
        similarity: (h, w) float32, each patch's debiased cosine similarity to the concept's prototype.
        seed: label of the seed cluster in `clusters`, None where no cluster was chosen.
        reason: why the mask is empty, why it is known, or why its edge is not refined as asked; None otherwise.
        clusters: (h, w) int, the target's clusters (stage 3), numbered in row-major order of their first patch; -1
            where the method forms none.
        candidates: (h, w) bool, which patches may show the concept (stage 2).
        cluster_scores: (k,) float32, what the threshold is compared with, cluster by cluster; empty where no cluster
            was judged.
        patch_scores: what the threshold is compared with, patch by patch; `scores` is made from it.
        source: path of the target's file; "" where the target was none.
        is_known: the mask was not found: the picture is one that the concept was made from (`methods.base.as_known`).
    """

    mask: Bool[np.ndarray, "H W"]
    score: float
    similarity: Float[np.ndarray, "h w"]
    seed: int | None
    reason: str | None
    clusters: Int[np.ndarray, "h w"]
    candidates: Bool[np.ndarray, "h w"]
    cluster_scores: Float[np.ndarray, "k"]
    patch_scores: Soft
    source: str = ""
    is_known: bool = False

    def __post_init__(self) -> None:
        if not (self.mask.any() or self.reason) or not 0 <= self.score <= 1:
            raise ValueError("an empty mask needs a reason, and the score lies in [0, 1]")

    def __repr__(self) -> str:
        height, width = self.mask.shape
        why = f", {self.reason}" if self.reason else ""
        return f"Segmentation({width} x {height}, {self.mask.mean():.1%} marked, score {self.score:.2f}{why})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the mask as a picture of 8 bits, 255 where the concept is.

        Args:
            path: ends in .png or another suffix of a lossless format.

        Raises:
            OutputError: the file cannot be written.
        """
        write_picture(path, self._image())

    def overlay(self, picture: Source | None = None, colour: Colour = MAGENTA) -> Image.Image:
        """Draw the mask on the target.

        Args:
            picture: the target, where it was no file or the file is gone.
            colour: RGB of the mask.

        Raises:
            ImageError: there is no picture, or `picture` has another size.
        """
        return self._overlay(picture, [self.mask], [colour])

    def _repr_png_(self) -> bytes:
        return png_of(self, self._image())

    def _image(self) -> Image.Image:
        return Image.fromarray(self.mask.astype(np.uint8) * 255)

    def _overlay(self, picture: Source | None, masks: Sequence[np.ndarray], colours: Sequence[Colour]) -> Image.Image:
        config = self.patch_scores.config
        image = picture_of(picture, self.source, self.mask.shape, max_pixels=config.max_pixels, stretch=config.stretch)
        return Image.fromarray(overlay(image, masks, colours))

    @cached_property
    def heatmap(self) -> Float[np.ndarray, "H W"]:
        """The (H, W) float32 heat map in [-1, 1]: `similarity` upsampled to the target's size, kept once asked for."""
        return self.similarity_at()

    def similarity_at(self) -> Float[np.ndarray, "H W"]:
        """Compute the heat map without keeping it."""
        grid = torch.from_numpy(self.similarity)[None, None]
        return (
            torch.nn.functional.interpolate(grid, self.mask.shape, mode="bilinear", align_corners=False)[0, 0]
            .clamp(-1, 1)
            .numpy()
        )

    @cached_property
    def scores(self) -> Float[np.ndarray, "H W"]:
        """The (H, W) float32 scores in [-1, 1]: `scores > t` is the mask for threshold t, before its edge is refined.

        With tiles or upsample="score" these are the patches' scores upsampled, which give nearly that mask.
        """
        if self.is_known:
            return np.where(self.mask, np.float32(1), np.float32(-1))
        return self.patch_scores.to_pixels()


@dataclass(frozen=True, eq=False, repr=False)
class Keypoints:
    """The places of a reference's points in the target.

    >>> found = model.match("target.jpg", cat, [[30, 20], [40, 40]])
    >>> found.xy, found.similarity

    Attributes:
        xy: (p, 2) float32, in target pixels.
        similarity: (p,) float32, cosine similarity at the maximum of each point's map.
        maps: (p, h, w) float32, each point's similarity to every target patch.
        size: (H, W) of the target in pixels.
        source: path of the target's file; "" where the target was none.
    """

    xy: Float[np.ndarray, "p 2"]
    similarity: Float[np.ndarray, "p"]
    maps: Float[np.ndarray, "p h w"]
    size: tuple[int, int]
    source: str = ""

    def __len__(self) -> int:
        return len(self.xy)

    def __repr__(self) -> str:
        similar = f", similarity {self.similarity.min():.2f} to {self.similarity.max():.2f}" if len(self) else ""
        return f"Keypoints({len(self)} point{'s' * (len(self) != 1)}{similar})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the points as JSON: a list of {"x", "y", "similarity"}, in pixels of the target.

        Raises:
            OutputError: the file cannot be written.
        """
        rows = [
            {"x": round(float(x), 2), "y": round(float(y), 2), "similarity": round(float(similarity), 4)}
            for (x, y), similarity in zip(self.xy, self.similarity, strict=True)
        ]
        write_text(path, json.dumps(rows, indent=1) + "\n")

    def overlay(self, picture: Source | None = None) -> Image.Image:
        """Draw the points, numbered from 1, on the target; `picture` and errors are those of `Segmentation.overlay`."""
        return Image.fromarray(points(picture_of(picture, self.source, self.size), self.xy))

    def _repr_png_(self) -> bytes:
        return png_of(self, Image.fromarray(points(np.zeros((*self.size, 3), np.uint8), self.xy)))
