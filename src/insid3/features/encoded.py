"""Encoded targets: the tokens of a picture as a value, made once for all concepts and settings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import pad

from insid3.backbones.finite import check_finite
from insid3.config import Config
from insid3.errors import ConfigError, SizeError
from insid3.features.patch_grid import PatchGrid, inner_size
from insid3.features.upsample import picture_to_refine, working_size
from insid3.imaging.opening import Source, file_digest, name_of, path_of
from insid3.imaging.read import read_image
from insid3.imaging.resizing import resize_image, resize_mask, resize_part
from insid3.stages.chunked import give_back, is_out_of_memory
from insid3.stages.encode import normalise, patch_mask, unit_tokens
from insid3.types import Encoder


@dataclass(frozen=True, eq=False, repr=False)
class Encoded:
    """An encoded picture, made by `INSID3.encode`; `segment` and `match` take it in the picture's place.

    >>> encoded = model.encode("target.jpg")
    >>> found = model.segment(encoded, cat), model.but(threshold=0.4).segment(encoded, dog)

    Attributes:
        name: the picture's file name, or words in its place.
        backbone, weights_hash, config: the encoder and settings that made the tokens; only the same can use them.
        grid: where the patches are.
        tokens: (w, n, c) raw unit tokens of each window of the grid.
        picture: the target at the size at which its edge is refined, None where it is not.
        whole: the target itself, where parts of it are looked at again (`closer`), else None.
        file: digest of the picture's file (`imaging.opening.file_digest`); "" where there is no file.
        source: path of the picture's file; "" where there is no file.
    """

    name: str
    backbone: str
    weights_hash: str
    config: Config
    grid: PatchGrid
    tokens: Float[Tensor, "w n c"]
    picture: UInt8[np.ndarray, "h2 w2 3"] | None = None
    whole: UInt8[np.ndarray, "H W 3"] | None = None
    file: str = ""
    source: str = ""

    def __repr__(self) -> str:
        height, width = self.grid.size
        windows = f"{len(self.grid.windows)} windows, " if len(self.grid.windows) > 1 else ""
        return f"Encoded({self.name!r}, {width} x {height}, {windows}{self.backbone}, size {self.config.size})"

    def accept(self, encoder: Encoder, config: Config, *, to_segment: bool) -> None:
        """Check that the encoder would make the same of the picture with these settings.

        Raises:
            ConfigError: encoder or settings differ.
        """
        grid = PatchGrid.from_settings(self.grid.size, config, encoder.patch_size, tiled=to_segment)
        if (self.backbone, self.weights_hash) != (encoder.name, encoder.weights_hash):
            raise ConfigError(f"{self.name} was encoded with {self.backbone} ({self.weights_hash}), not this model")
        if (self.grid, self.config.size) != (grid, config.size):
            raise ConfigError(f"{self.name} was encoded with another size, fit or tile than this asks for")
        if self.config.stretch != config.stretch:
            raise ConfigError(f"{self.name} was encoded with another stretch than this asks for: encode it again")
        seen, refined = self.picture, to_segment and config.refine != "none"
        if refined and (seen is None or seen.shape[:2] != working_size(grid, config)):
            raise ConfigError(f"{self.name} was encoded without refine, or with another crf_size: encode it again")
        if to_segment and config.closer and self.whole is None:
            raise ConfigError(f"{self.name} was encoded without closer: encode it again")

    def showing(self, picture: UInt8[np.ndarray, "H W 3"], config: Config) -> "Encoded":
        """Return the same tokens with the picture as later stages with these settings want it."""
        seen, whole = picture_to_refine(picture, self.grid, config), picture if config.closer else None
        return replace(self, config=config, picture=seen, whole=whole)


def encode(
    encoder: Encoder, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], grids: Sequence[PatchGrid], config: Config
) -> list[Float[Tensor, "w n c"]]:
    """Encode pictures: return the unit tokens of the patches of each picture's windows.

    As many squares are encoded at once as there are pictures. Padding has no tokens.

    Raises:
        SizeError: memory does not suffice; the message says which size fits.
    """
    results = [
        torch.empty(len(f.windows), f.cells[0] * f.cells[1], encoder.channels, device=encoder.device) for f in grids
    ]
    windows = [(i, w) for i, grid in enumerate(grids) for w in range(len(grid.windows))]
    for start in range(0, len(windows), max(1, len(pictures))):
        group = windows[start : start + len(pictures)]
        squares = [_square(pictures[i], grids[i], w, config) for i, w in group]
        for (i, w), tokens in zip(group, _tokens(encoder, squares, config.size), strict=True):
            (height, width), side = grids[i].cells, grids[i].side
            results[i][w].copy_(tokens.view(side, side, -1)[:height, :width].reshape(height * width, -1))
    return results


def encode_all(encoder: Encoder, targets: Sequence[Source], config: Config, *, to_segment: bool) -> list[Encoded]:
    """Read and encode targets, all at once.

    Args:
        to_segment: keep what `segment` needs of the picture, and see the target in tiles if the settings say so.

    Raises:
        ImageError: a target cannot be used.
        SizeError: memory does not suffice.
    """
    pictures = read_images(targets, config)
    grids = [PatchGrid.from_settings(p.shape[:2], config, encoder.patch_size, tiled=to_segment) for p in pictures]
    tokens = encode(encoder, pictures, grids, config)
    return [
        Encoded(
            name_of(targets[i]), encoder.name, encoder.weights_hash, config, grids[i], tokens[i],
            picture_to_refine(pictures[i], grids[i], config) if to_segment else None,
            pictures[i] if to_segment and config.closer else None, file_digest(targets[i]) if to_segment else "",
            path_of(targets[i]),
        )
        for i in range(len(pictures))
    ]  # fmt: skip


def read_images(sources: Source | Sequence[Source], config: Config) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """Read one picture or several with the settings; errors are those of `read_image`."""
    return [read_image(source, config.max_pixels, stretch=config.stretch) for source in as_list(sources)]


def as_list(sources: Source | Sequence[Source]) -> list[Source]:
    """Return a list of pictures, also of one picture that stands alone."""
    return list(sources) if isinstance(sources, list | tuple) else [sources]  # type: ignore[list-item]


def mask_patches(mask: Bool[np.ndarray, "H W"], config: Config, encoder: Encoder) -> Bool[Tensor, "n"]:
    """Return which patches of a reference, seen whole, belong to its mask."""
    grid, inner = (
        PatchGrid.from_settings(mask.shape, config, encoder.patch_size, tiled=False),
        inner_size(mask.shape, config),
    )
    square = np.zeros((config.size, config.size), bool)
    square[: inner[0], : inner[1]] = resize_mask(mask, inner)
    patches = patch_mask(torch.from_numpy(square), encoder.patch_size).view(grid.side, grid.side)
    return patches[: grid.shape[0], : grid.shape[1]].flatten().to(encoder.device)


def _square(
    picture: UInt8[np.ndarray, "H W 3"], grid: PatchGrid, window: int, config: Config
) -> UInt8[np.ndarray, "h w 3"]:
    try:
        if len(grid.windows) == 1:
            return resize_image(picture, inner_size(grid.size, config))
        return resize_part(picture, grid.box(grid.windows[window]), config.size)
    except MemoryError as error:
        raise SizeError(f"no memory is left to resize a picture to {config.size} px: use a smaller size") from error


def _tokens(encoder: Encoder, squares: list[UInt8[np.ndarray, "_ _ 3"]], size: int) -> Float[Tensor, "b n c"]:
    """Return the tokens of squares, padded where they are smaller.

    Where memory does not suffice, fewer are encoded at once, or the error names a size that fits.
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
