"""A concept: the references' tokens and masks, as a value that can be kept, copied and saved."""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from insid3.errors import ConceptError
from insid3.images import Source
from insid3.storage import write_atomically
from insid3.types import Encoder

_FORMAT, _VERSION = "insid3-concept", 1
_NO_THUMBNAIL = np.zeros((1, 1, 3), np.uint8)
_PER_SHOT = ("tokens", "patch_masks", "masks", "image_sizes", "sources", "thumbnails")  #: fields with a value for each


@dataclass(frozen=True, eq=False)
class Concept:
    """What `INSID3.concept` makes of one or several reference pictures; everything else follows from it.

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
        given: the concept without shots that were found, not drawn, which masks are scored against; itself if None. Not
            saved.
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
    given: "Concept | None" = None

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
        if self.id is not None and self.id < 1:
            raise ConceptError(f"a concept's id must be 1 or more, got {self.id}")
        if self.colour is not None and not (len(self.colour) == 3 and all(0 <= value <= 255 for value in self.colour)):
            raise ConceptError(f"a concept's colour is RGB from 0 to 255, got {self.colour}")

    @property
    def shots(self) -> int:
        return len(self.tokens)

    def with_shots(self, other: "Concept") -> "Concept":
        """The shots of both; everything else is this one's."""
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in _PER_SHOT})

    def shot_of(
        self, source: str, tokens: Float[Tensor, "n c"], patches: Bool[Tensor, "n"], mask: Bool[np.ndarray, "_ _"]
    ) -> "Concept":
        """This concept as it was found in one other picture, in the place of its own shots.

        Args:
            source: what the picture is called.
            tokens: raw unit tokens of the picture, seen whole.
            patches, mask: where the concept is, not empty.
        """
        return replace(
            self, tokens=(tokens,), patch_masks=(patches,), masks=(mask,), image_sizes=(mask.shape,), sources=(source,),
            thumbnails=(_NO_THUMBNAIL,),
        )  # fmt: skip

    def accept(self, encoder: Encoder, fit: str, *sizes: int) -> None:
        """Whether the encoder would have made these tokens, at one of these sizes.

        Raises:
            ConceptError: no; says what differs.
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
        """16 hex digits that tell two concepts apart, whatever they are called."""
        tensors, header = self._pack()
        told = {key: value for key, value in header.items() if key not in ("id", "colour")}
        return _digest(tensors, json.dumps({**told, "name": "", "sources": []}))[:16]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a .insid3 file (safetensors), whole or not at all."""
        tensors, header = self._pack()
        text = json.dumps(header)
        metadata = {"format": _FORMAT, "version": str(_VERSION), "header": text, "sha256": _digest(tensors, text)}
        write_atomically(Path(path), lambda temporary: temporary.write_bytes(save(tensors, metadata)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Concept":
        """Read what `save` wrote.

        Raises:
            ConceptError: missing, damaged, of a newer version, or not a concept.
        """
        path = Path(path)
        if not path.is_file():
            raise ConceptError(f"concept {path}: no such file")
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        except (SafetensorError, OSError, ValueError) as error:
            raise ConceptError(f"concept {path} is damaged or not a concept file: save it again") from error
        if metadata.get("format") != _FORMAT:
            raise ConceptError(f"{path} is a safetensors file but not a concept (.insid3)")
        if metadata.get("version") != str(_VERSION):
            raise ConceptError(
                f"concept {path} has version {metadata.get('version')}, this insid3 reads version {_VERSION}: "
                "update insid3, or make the concept again"
            )
        text = metadata.get("header", "")
        if metadata.get("sha256") != _digest(tensors, text):
            raise ConceptError(f"concept {path} is damaged (its checksum differs): save it again")
        try:
            return cls._unpack(tensors, json.loads(text))
        except (KeyError, TypeError, ValueError) as error:
            raise ConceptError(f"concept {path} is incomplete ({error}): make it again") from error

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

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], header: dict[str, Any]) -> "Concept":
        sizes = tuple((int(height), int(width)) for height, width in header.pop("image_sizes"))
        sources = tuple(header.pop("sources"))
        if "colour" in header:
            header["colour"] = tuple(header["colour"])
        masked = [(i, *size) for i, size in enumerate(sizes) if f"mask.{i}" in tensors]
        return cls(
            **header,
            tokens=tuple(tensors[f"tokens.{i}"] for i in range(len(sizes))),
            patch_masks=tuple(tensors[f"patch_mask.{i}"] for i, _, _ in masked),
            masks=tuple(
                np.unpackbits(tensors[f"mask.{i}"].numpy(), count=h * w).reshape(h, w).astype(bool)
                for i, h, w in masked
            ),
            image_sizes=sizes,
            sources=sources,
            thumbnails=tuple(tensors[f"thumbnail.{i}"].numpy() for i in range(len(sizes))),
            negatives=tensors["negatives"],
        )


def stem_of(picture: Source) -> str:
    """What a concept is called by its picture: the file's name without suffix, or "concept" where there is no file."""
    file = getattr(picture, "filename", "") if isinstance(picture, Image.Image) else picture
    if isinstance(file, np.ndarray) or not file:
        return "concept"
    return "".join(letter if letter.isprintable() else "_" for letter in PurePath(os.fspath(file)).stem)


def _digest(tensors: dict[str, Tensor], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()
