"""The values that pass between the stages. Shape letters, everywhere in this package:

H W  original pixels         R  model input side        p  ViT patch size       h w  patch grid (R / p), row-major
n    patches, h * w          c  channels                r  rank of the basis    k    clusters
s    shots                   m  patches of negatives    b  batch

Points are (x, y), sizes are (height, width).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Encoder(Protocol):
    """A frozen ViT that turns pictures into patch tokens."""

    name: str
    weights_hash: str  #: fingerprint of the parameters: equal hashes, equal tokens
    patch_size: int
    channels: int
    device: torch.device
    mean: tuple[float, float, float]  #: mean of the RGB values in [0, 1], subtracted before encoding
    #: deviation of the RGB values, which divides them before encoding
    std: tuple[float, float, float]

    def __call__(
        self, images: Float[Tensor, "b 3 R R"], layers: Sequence[int] = (-1,), *, float32: bool = False
    ) -> tuple[Float[Tensor, "b h w c"], ...]:
        """Return patch tokens after the final LayerNorm, before the L2 division: a float32 tensor for each layer.

        Args:
            images: already normalised by mean and std.
            layers: indices of blocks; -1 is the layer that the method reads.
            float32: compute in float32 whatever the compute dtype (the positional basis needs it).
        """
        ...


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest of n tokens (keys) to each of q others (queries), and back.

    Attributes:
        similarity, index: each query's similarity to its most similar key, and the number of that key.
        back: the number of each key's most similar query.
    """

    similarity: Float[Tensor, "q"]
    index: Int[Tensor, "q"]
    back: Int[Tensor, "n"]
