"""A target's tokens, as a value: encoded once, whatever is asked of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import pad

from insid3.blocks import give_back, is_out_of_memory
from insid3.config import Config
from insid3.errors import SizeError
from insid3.frame import Frame, inner_size
from insid3.images import resize_image, resize_part
from insid3.stages.encode import normalise, unit_tokens
from insid3.types import Encoder

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Encoded:
    """What `INSID3.encode` makes of a picture; `segment` and `match` take it in the picture's place.

    Attributes:
        name: the picture's file name, or what stands in for it.
        backbone, weights_hash, config: what made the tokens; only the same can use them.
        frame: where the patches are.
        tokens: (w, n, c) raw unit tokens of each window of the frame.
        picture: the target at the size at which its edge is refined, None where it is not.
    """

    name: str
    backbone: str
    weights_hash: str
    config: Config
    frame: Frame
    tokens: Float[Tensor, "w n c"]
    picture: UInt8[np.ndarray, "h2 w2 3"] | None = None
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Any, compute: Callable[[], T]) -> T:
        """What `compute` gave when it was first asked for by that key."""
        if key not in self._kept:
            self._kept[key] = compute()
        found: T = self._kept[key]
        return found


def encode(
    encoder: Encoder, picture: UInt8[np.ndarray, "H W 3"], frame: Frame, config: Config
) -> Float[Tensor, "w n c"]:
    """Unit tokens of each window's patches that lie on the picture.

    Raises:
        SizeError: not enough memory; says which size fits.
    """
    height, width = frame.cells
    result = torch.empty(len(frame.windows), height * width, encoder.channels, device=encoder.device)
    for tokens, window in zip(result, frame.windows, strict=True):
        try:
            if len(frame.windows) == 1:
                square = resize_image(picture, inner_size(frame.size, config))
            else:
                square = resize_part(picture, frame.box(window), config.size)
        except MemoryError as error:
            raise SizeError(f"no memory is left to resize a picture to {config.size} px: use a smaller size") from error
        grid = _tokens(encoder, square, config.size).view(frame.side, frame.side, -1)
        tokens.copy_(grid[:height, :width].reshape(height * width, -1))
    return result


def _tokens(encoder: Encoder, picture: UInt8[np.ndarray, "h w 3"], size: int) -> Float[Tensor, "n c"]:
    """Of one square, padded where the picture is smaller; where memory does not suffice, a size that fits is named."""
    try:
        return _padded_tokens(encoder, picture, size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    fits = size
    while (fits := int(fits * 0.7) // encoder.patch_size * encoder.patch_size) > 0:
        give_back()
        try:
            _padded_tokens(encoder, picture[:fits, :fits], fits)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            continue
        raise SizeError(
            f"size {size} needs more memory than {encoder.device} has; size={fits} (--size {fits}) fits, "
            "and tile= (--tile) sees large pictures in parts"
        )
    raise SizeError(f"{encoder.name} does not fit into the memory of {encoder.device} at any size")


def _padded_tokens(encoder: Encoder, picture: UInt8[np.ndarray, "h w 3"], size: int) -> Float[Tensor, "n c"]:
    square = torch.from_numpy(picture.copy()).to(encoder.device)[None]
    pixels = normalise(square, encoder.mean, encoder.std)
    pixels = pad(pixels, (0, size - pixels.shape[3], 0, size - pixels.shape[2]))
    return unit_tokens(encoder, pixels)[0]
