"""Concepts: the tokens and masks of references, as values that can be kept, copied and saved."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from insid3.checks.numbers import is_whole, plain, told
from insid3.concept_file import FORMAT, LARGEST_ID, VERSION, digest_of, pack_files, read
from insid3.errors import ConceptError
from insid3.imaging.opening import Source, file_digest
from insid3.storage import write_bytes
from insid3.types import Encoder

_NO_THUMBNAIL = np.zeros((1, 1, 3), np.uint8)
_PER_SHOT = ("tokens", "patch_masks", "masks", "image_sizes", "sources", "thumbnails", "files")  #: a value for each


@dataclass(frozen=True, eq=False, repr=False)
class Concept:
    """A concept to mark: tokens and masks of one or several references, made by `INSID3.concept`.

    >>> cat = model.concept("cat.jpg", "cat_mask.png", name="cat")
    >>> cat.save("cat.insid3")
    >>> cat = Concept.load("cat.insid3")

    Attributes:
        name: what the concept is called in results.
        backbone, weights_hash, size, fit: the encoder, R and kind of square that made the tokens; only the same can use
            them.
        tokens: (n, c) raw unit tokens of each reference picture ("shot"); padding has none.
        patch_masks: each shot's (n,) bool, not empty; () without masks (good for matching only).
        masks: each shot's mask (H, W) bool at its picture's own size; () without masks.
        image_sizes: each shot's (H, W).
        sources: each shot's file name, or what stood in for it.
        thumbnails: each shot's picture (h, w, 3) uint8, at most 320 px, for display.
        negatives: (m, c) raw unit tokens of pictures without the concept.
        id: its number in exports, 1 or more; by its place among others if None.
        colour: RGB in which it is shown; likewise.
        files, negative_files: what tells each shot's and each negative's file from others (`file_digest`), "" where
            there is none: such a picture's own mask is known.
        drawn: the concept without shots that were found and not drawn, which masks are scored against; itself if None.
            Not saved.
    """

    name: str
    backbone: str
    weights_hash: str
    size: int
    fit: str
    tokens: tuple[Float[Tensor, "_ c"], ...]
    patch_masks: tuple[Bool[Tensor, "_"], ...]
    masks: tuple[Bool[np.ndarray, "_ _"], ...]
    image_sizes: tuple[tuple[int, int], ...]
    sources: tuple[str, ...]
    thumbnails: tuple[UInt8[np.ndarray, "_ _ 3"], ...]
    negatives: Float[Tensor, "m c"]
    id: int | None = None
    colour: tuple[int, int, int] | None = None
    drawn: "Concept | None" = None
    files: tuple[str, ...] = ()
    negative_files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shots = len(self.tokens)
        if shots == 0 or not shots == len(self.image_sizes) == len(self.sources) == len(self.thumbnails):
            raise ConceptError("a concept needs at least one picture, and size, source and thumbnail of each")
        if not len(self.masks) == len(self.patch_masks) in (0, shots):
            raise ConceptError("a concept has masks for all of its pictures or for none")
        if self.masks:
            fitting = (m.shape == t.shape[:1] and m.any() for m, t in zip(self.patch_masks, self.tokens, strict=True))
            if not all(fitting):
                raise ConceptError("every picture of a concept needs a mask that is not empty")
            if tuple(mask.shape for mask in self.masks) != self.image_sizes:
                raise ConceptError("every mask must have its picture's size")
        if {tokens.shape[1] for tokens in (*self.tokens, self.negatives)} != {self.negatives.shape[1]}:
            raise ConceptError("the negatives' tokens have another number of channels than the references'")
        if not self.files:
            object.__setattr__(self, "files", ("",) * shots)
        if len(self.files) != shots:
            raise ConceptError(f"a concept of {shots} pictures has the digests of {len(self.files)} files")
        if not isinstance(self.name, str):
            raise ConceptError(f"a concept's name must be text, got {told(self.name)}")
        if not self.name.strip():
            raise ConceptError("a concept's name must not be blank")
        number, colour = plain(self.id), self.colour
        if number is not None and not (is_whole(number) and 1 <= number <= LARGEST_ID):
            raise ConceptError(f"a concept's id must be a whole number from 1 to {LARGEST_ID:,}, got {told(number)}")
        object.__setattr__(self, "id", number)
        if colour is not None:
            rgb = tuple(map(plain, colour)) if isinstance(colour, Sequence | np.ndarray) else ()
            if len(rgb) != 3 or not all(is_whole(value) and 0 <= value <= 255 for value in rgb):
                raise ConceptError(f"a concept's colour is RGB from 0 to 255, got {told(colour)}")
            object.__setattr__(self, "colour", rgb)

    def __repr__(self) -> str:
        masks = "" if self.masks else ", no masks"
        negatives = f", {len(self.negatives)} patches of negatives" if len(self.negatives) else ""
        sources = ", ".join(self.sources[:3]) + (", ..." if self.shots > 3 else "")
        shots = f"{self.shots} shot{'s' * (self.shots != 1)} ({sources})"
        return f"Concept({self.name!r}, {shots}{masks}{negatives}, {self.backbone}, size {self.size})"

    @property
    def shots(self) -> int:
        return len(self.tokens)

    def with_shots(self, other: "Concept") -> "Concept":
        """Return this concept with the shots of another one after its own."""
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in _PER_SHOT})

    def shot_of(
        self, source: str, tokens: Float[Tensor, "n c"], patches: Bool[Tensor, "n"], mask: Bool[np.ndarray, "_ _"]
    ) -> "Concept":
        """Return this concept with one picture in which it was found in the place of its own shots.

        Args:
            source: what the picture is called.
            tokens: raw unit tokens of the picture, seen whole.
            patches, mask: where the concept is, not empty.
        """
        return replace(
            self, tokens=(tokens,), patch_masks=(patches,), masks=(mask,), image_sizes=(mask.shape,), sources=(source,),
            thumbnails=(_NO_THUMBNAIL,), files=("",),
        )  # fmt: skip

    def accept(self, encoder: Encoder, fit: str, *sizes: int) -> None:
        """Check that the encoder would have made these tokens, at one of these sizes.

        Raises:
            ConceptError: backbone, weights, fit or size differ.
        """
        if self.backbone != encoder.name:
            raise ConceptError(
                f"concept {self.name!r} was made with backbone {self.backbone}, this model has {encoder.name}: "
                "load that backbone (--backbone), or make the concept again"
            )
        if self.weights_hash != encoder.weights_hash:
            raise ConceptError(
                f"concept {self.name!r} was made with weights {self.weights_hash} of {self.backbone}, "
                f"this model has {encoder.weights_hash}: load the same file, or make the concept again"
            )
        if self.fit != fit:
            raise ConceptError(
                f"concept {self.name!r} was made with fit={self.fit!r}, this model has {fit!r}: "
                f"make it again, or use fit={self.fit!r} (--fit {self.fit})"
            )
        if self.size not in sizes:
            raise ConceptError(
                f"concept {self.name!r} was made at size {self.size}, this model works at "
                f"{' or '.join(map(str, sorted({*sizes})))}: make it again, or use size={self.size} (--size)"
            )

    @property
    def digest(self) -> str:
        """The 16 hex digits that tell two concepts apart, whatever their names."""
        tensors, header = self._pack()
        told = {key: value for key, value in header.items() if key not in ("id", "colour")}
        return digest_of(tensors, json.dumps({**told, "name": "", "sources": []}))[:16]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .insid3 file (safetensors), whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        tensors, header = self._pack()
        text = json.dumps(header)
        metadata = {"format": FORMAT, "version": str(VERSION), "header": text, "sha256": digest_of(tensors, text)}
        metadata["files"] = pack_files(self.files, self.negative_files)  # not in the header, which older versions know
        write_bytes(path, save(tensors, metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Concept":
        """Read a .insid3 file.

        Raises:
            ConceptError: the file is missing, damaged, of a newer version, or holds no concept.
        """
        return cls(**read(Path(path)))

    def _pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"negatives": self.negatives.cpu().contiguous()}
        for i, (tokens, thumbnail) in enumerate(zip(self.tokens, self.thumbnails, strict=True)):
            tensors[f"tokens.{i}"] = tokens.cpu().clone()  # files hold no tensors that share memory
            tensors[f"thumbnail.{i}"] = torch.from_numpy(thumbnail.copy())
        for i, (patches, mask) in enumerate(zip(self.patch_masks, self.masks, strict=True)):
            tensors[f"patch_mask.{i}"] = patches.cpu().clone()
            tensors[f"mask.{i}"] = torch.from_numpy(np.packbits(mask))
        header = {
            "name": self.name, "backbone": self.backbone, "weights_hash": self.weights_hash, "size": self.size,
            "fit": self.fit, "image_sizes": self.image_sizes, "sources": self.sources,
        }  # fmt: skip
        header |= {key: value for key, value in (("id", self.id), ("colour", self.colour)) if value is not None}
        return tensors, header


def stem_of(picture: Source) -> str:
    """Name a concept by its picture: the file's name without suffix, or "concept" where there is no file."""
    file = getattr(picture, "filename", "") if isinstance(picture, Image.Image) else picture
    if not isinstance(file, str | os.PathLike) or not os.fspath(file):
        return "concept"
    stem = "".join(letter if letter.isprintable() else "_" for letter in PurePath(os.fspath(file)).stem)
    return stem if stem.strip() else "concept"


def digest_among(path: Path, concepts: Sequence[Concept]) -> str:
    """Return the digest of a file; "", without reading the file, where no picture of the concepts has as many bytes."""
    try:
        start = f"{path.stat().st_size}-"
    except (OSError, ValueError):
        return ""
    files = (file for concept in concepts for file in (*concept.files, *concept.negative_files))
    return file_digest(path) if any(file.startswith(start) for file in files) else ""
