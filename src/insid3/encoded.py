"""A target's tokens, as a value: encoded once, whatever is asked of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import pad

from insid3.backbones.finite import check_finite
from insid3.blocks import give_back, is_out_of_memory
from insid3.config import Config
from insid3.errors import ConfigError, SizeError
from insid3.frame import Frame, inner_size
from insid3.images import Source, name_of, read_image, resize_image, resize_mask, resize_part
from insid3.known import digest_of
from insid3.refinement import picture_to_refine, working_size
from insid3.stages.encode import normalise, patch_mask, unit_tokens
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
        whole: the target itself, where parts of it are looked at again (`closer`), else None.
        file: what tells its file from others (`known.digest_of`); "" where there is none.
    """

    name: str
    backbone: str
    weights_hash: str
    config: Config
    frame: Frame
    tokens: Float[Tensor, "w n c"]
    picture: UInt8[np.ndarray, "h2 w2 3"] | None = None
    whole: UInt8[np.ndarray, "H W 3"] | None = None
    file: str = ""
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    def accept(self, encoder: Encoder, config: Config, *, to_segment: bool) -> None:
        """Whether the encoder would make the same of the picture with these settings.

        Raises:
            ConfigError: no; says what differs.
        """
        frame = Frame.of(self.frame.size, config, encoder.patch_size, tiled=to_segment)
        if (self.backbone, self.weights_hash) != (encoder.name, encoder.weights_hash):
            raise ConfigError(f"{self.name} was encoded with {self.backbone} ({self.weights_hash}), not this model")
        if (self.frame, self.config.size) != (frame, config.size):
            raise ConfigError(f"{self.name} was encoded with another size, fit or tile than this asks for")
        if self.config.stretch != config.stretch:
            raise ConfigError(f"{self.name} was encoded with another stretch than this asks for: encode it again")
        seen, refined = self.picture, to_segment and config.refine != "none"
        if refined and (seen is None or seen.shape[:2] != working_size(frame, config)):
            raise ConfigError(f"{self.name} was encoded without refine, or with another crf_size: encode it again")
        if to_segment and config.closer and self.whole is None:
            raise ConfigError(f"{self.name} was encoded without closer: encode it again")

    def showing(self, picture: UInt8[np.ndarray, "H W 3"], config: Config) -> "Encoded":
        """The same tokens, and what later stages with these settings want of the picture."""
        seen, whole = picture_to_refine(picture, self.frame, config), picture if config.closer else None
        return replace(self, config=config, picture=seen, whole=whole)

    def forget(self, *kinds: str) -> None:
        """What `once` has kept under keys that begin so, all of it if none is named; it can be computed again."""
        for key in [key for key in self._kept if not kinds or key[0] in kinds]:
            del self._kept[key]

    def once(self, key: tuple[Any, ...], compute: Callable[[], T]) -> T:
        """What `compute` gave when it was first asked for by that key: its kind, and what it depends on."""
        if key not in self._kept:
            self._kept[key] = compute()
        found: T = self._kept[key]
        return found


def encode(
    encoder: Encoder, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], frames: Sequence[Frame], config: Config
) -> list[Float[Tensor, "w n c"]]:
    """Of each picture the unit tokens of each window's patches that lie on it; as many squares at once as pictures.

    Raises:
        SizeError: not enough memory; says which size fits.
    """
    results = [
        torch.empty(len(f.windows), f.cells[0] * f.cells[1], encoder.channels, device=encoder.device) for f in frames
    ]
    windows = [(i, w) for i, frame in enumerate(frames) for w in range(len(frame.windows))]
    for start in range(0, len(windows), len(pictures)):
        group = windows[start : start + len(pictures)]
        squares = [_square(pictures[i], frames[i], w, config) for i, w in group]
        for (i, w), tokens in zip(group, _tokens(encoder, squares, config.size), strict=True):
            (height, width), side = frames[i].cells, frames[i].side
            results[i][w].copy_(tokens.view(side, side, -1)[:height, :width].reshape(height * width, -1))
    return results


def encode_all(encoder: Encoder, targets: Sequence[Source], config: Config, *, to_segment: bool) -> list[Encoded]:
    """Targets as values; all at once, which GPUs like.

    Raises:
        ImageError: one of them cannot be used.
        SizeError: as `encode`.
    """
    pictures = read_images(targets, config)
    frames = [Frame.of(p.shape[:2], config, encoder.patch_size, tiled=to_segment) for p in pictures]
    tokens = encode(encoder, pictures, frames, config)
    return [
        Encoded(
            name_of(targets[i]), encoder.name, encoder.weights_hash, config, frames[i], tokens[i],
            picture_to_refine(pictures[i], frames[i], config) if to_segment else None,
            pictures[i] if to_segment and config.closer else None, digest_of(targets[i]) if to_segment else "",
        )
        for i in range(len(pictures))
    ]  # fmt: skip


def read_images(sources: Source | Sequence[Source], config: Config) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """One picture or several as the settings see them; ImageError as `read_image`."""
    return [read_image(source, config.max_pixels, stretch=config.stretch) for source in as_list(sources)]


def as_list(sources: Source | Sequence[Source]) -> list[Source]:
    """One picture, or several in a list or tuple, as several."""
    return list(sources) if isinstance(sources, list | tuple) else [sources]  # type: ignore[list-item]


def mask_patches(mask: Bool[np.ndarray, "H W"], config: Config, encoder: Encoder) -> Bool[Tensor, "n"]:
    """Which patches of a reference, seen whole, belong to its mask."""
    frame, inner = Frame.of(mask.shape, config, encoder.patch_size, tiled=False), inner_size(mask.shape, config)
    square = np.zeros((config.size, config.size), bool)
    square[: inner[0], : inner[1]] = resize_mask(mask, inner)
    patches = patch_mask(torch.from_numpy(square), encoder.patch_size).view(frame.side, frame.side)
    return patches[: frame.grid[0], : frame.grid[1]].flatten().to(encoder.device)


def _square(
    picture: UInt8[np.ndarray, "H W 3"], frame: Frame, window: int, config: Config
) -> UInt8[np.ndarray, "h w 3"]:
    try:
        if len(frame.windows) == 1:
            return resize_image(picture, inner_size(frame.size, config))
        return resize_part(picture, frame.box(frame.windows[window]), config.size)
    except MemoryError as error:
        raise SizeError(f"no memory is left to resize a picture to {config.size} px: use a smaller size") from error


def _tokens(encoder: Encoder, squares: list[UInt8[np.ndarray, "_ _ 3"]], size: int) -> Float[Tensor, "b n c"]:
    """Of squares, padded where they are smaller; where memory does not suffice, fewer at once, or a size that fits is
    named.
    """
    try:
        return _padded_tokens(encoder, squares, size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    if half := len(squares) // 2:
        give_back()
        return torch.cat([_tokens(encoder, some, size) for some in (squares[:half], squares[half:])])
    fits = size
    while (fits := int(fits * 0.7) // encoder.patch_size * encoder.patch_size) > 0:
        give_back()
        try:
            _padded_tokens(encoder, [squares[0][:fits, :fits]], fits)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            continue
        raise SizeError(
            f"size {size} needs more memory than {encoder.device} has; size={fits} (--size {fits}) fits, "
            "and tile= (--tile) sees large pictures in parts"
        )
    raise SizeError(f"{encoder.name} does not fit into the memory of {encoder.device} at any size")


def _padded_tokens(encoder: Encoder, squares: list[UInt8[np.ndarray, "_ _ 3"]], size: int) -> Float[Tensor, "b n c"]:
    padded = []
    for square in squares:
        pixels = normalise(torch.from_numpy(square.copy()).to(encoder.device)[None], encoder.mean, encoder.std)
        padded.append(pad(pixels, (0, size - pixels.shape[3], 0, size - pixels.shape[2])))
    tokens = unit_tokens(encoder, torch.cat(padded) if len(padded) > 1 else padded[0])
    check_finite(tokens, encoder.name, getattr(encoder, "dtype", ""))  # also of encoders that are not ours
    return tokens
