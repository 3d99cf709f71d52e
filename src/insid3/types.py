"""What passes between the stages. Shape letters, everywhere in this package:

H W  original pixels         R  model input side        p  ViT patch size       h w  patch grid (R / p), row-major
n    patches, h * w          c  channels                r  rank of the basis    k    clusters
s    shots                   m  patches of negatives    b  batch

Points are (x, y), sizes are (height, width).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@runtime_checkable
class Encoder(Protocol):
    """A frozen ViT that turns pictures into patch tokens."""

    name: str
    weights_hash: str  #: fingerprint of the parameters: equal hashes, equal tokens
    patch_size: int
    channels: int
    device: torch.device
    mean: tuple[float, float, float]  #: of the RGB values in [0, 1], subtracted before encoding
    std: tuple[float, float, float]

    def __call__(
        self, images: Float[Tensor, "b 3 R R"], layers: Sequence[int] = (-1,), *, float32: bool = False
    ) -> tuple[Float[Tensor, "b h w c"], ...]:
        """Patch tokens after the final LayerNorm, one tensor for each of `layers`, float32, before the L2 division.

        Args:
            images: already normalised by mean and std.
            layers: indices of blocks; -1 is the layer that the method reads.
            float32: compute in float32 whatever the compute dtype (the positional basis needs it).
        """
        ...


@dataclass(frozen=True, eq=False)
class Nearest:
    """Which of q tokens (queries) is most similar to which of n others (keys), both ways.

    Attributes:
        similarity, index: of each query to its most similar key, and which that is.
        back: of each key the most similar query.
    """

    similarity: Float[Tensor, "q"]
    index: Int[Tensor, "q"]
    back: Int[Tensor, "n"]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Where the concept is in one target.

    Attributes:
        mask: (H, W) bool, at the target's own size.
        score: whether the concept is there and how far the mask can be trusted, in [0, 1] (`stages/score.py`); 0.0
            where nothing was marked. A mask below `min_score` is emptied and keeps its score.
        similarity: (h, w) float32, each patch's debiased cosine similarity to the concept's prototype.
        seed: label of the seed cluster in `clusters`, None where no cluster was chosen.
        reason: why the mask is empty, known, or its edge not refined as asked; None otherwise.
        is_known: the mask was not found: the picture is one that the concept was made from (`known.as_known`).
    """

    mask: Bool[np.ndarray, "H W"]
    score: float
    similarity: Float[np.ndarray, "h w"]
    seed: int | None
    reason: str | None
    _labels: Callable[[], Int[np.ndarray, "h w"]] = field(repr=False)
    _scores: Callable[[], Float[np.ndarray, "H W"]] = field(repr=False)
    is_known: bool = False

    def __post_init__(self) -> None:
        if not (self.mask.any() or self.reason) or not 0 <= self.score <= 1:
            raise ValueError("an empty mask needs a reason, and the score lies in [0, 1]")

    @cached_property
    def heatmap(self) -> Float[np.ndarray, "H W"]:
        """(H, W) float32 in [-1, 1]: `similarity` upsampled to the target's size; computed when first asked for."""
        return self.similarity_at()

    def similarity_at(self) -> Float[np.ndarray, "H W"]:
        """The heat map, not kept."""
        grid = torch.from_numpy(self.similarity)[None, None]
        return (
            torch.nn.functional.interpolate(grid, self.mask.shape, mode="bilinear", align_corners=False)[0, 0]
            .clamp(-1, 1)
            .numpy()
        )

    @cached_property
    def clusters(self) -> Int[np.ndarray, "h w"]:
        """(h, w) int: the target's clusters (stage 3), numbered in row-major order of their first patch."""
        return self._labels()

    @cached_property
    def scores(self) -> Float[np.ndarray, "H W"]:
        """(H, W) float32 in [-1, 1]: `scores > t` is the mask, before its edge is refined, had `threshold` been t.

        With tiles or upsample="score" it is the patches' score upsampled, and so the mask but for a little.
        """
        return self._scores()


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Where a reference's points are in the target.

    Attributes:
        xy: (p, 2) float32, in target pixels.
        similarity: (p,) float32, cosine similarity at the maximum of each point's map.
        maps: (p, h, w) float32, each point's similarity to every target patch.
    """

    xy: Float[np.ndarray, "p 2"]
    similarity: Float[np.ndarray, "p"]
    maps: Float[np.ndarray, "p h w"]

    def __len__(self) -> int:
        return len(self.xy)
