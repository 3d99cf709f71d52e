"""A concept: the references' tokens and masks, as a value that can be kept, copied and saved."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from insid3.errors import ConceptError
from insid3.storage import write_atomically

_FORMAT, _VERSION = "insid3-concept", 1


@dataclass(frozen=True, eq=False)
class Concept:
    """What `INSID3.concept` makes of one or several reference pictures; everything else follows from it.

    Attributes:
        name: what the concept is called in results.
        backbone, weights_hash, size: the encoder and R that made the tokens; only the same can use them.
        tokens: (s, n, c) raw unit tokens, one row of patches for each reference picture ("shot").
        patch_masks: (s, n) bool, none empty; None where no masks were given (good for matching only).
        masks: each shot's mask (H, W) bool at its picture's own size; () without masks.
        image_sizes: each shot's (H, W).
        sources: each shot's file name, or what stood in for it.
        thumbnails: each shot's picture (h, w, 3) uint8, at most 320 px, for display.
        negatives: (m, c) raw unit tokens of pictures without the concept.
    """

    name: str
    backbone: str
    weights_hash: str
    size: int
    tokens: Float[Tensor, "s n c"]
    patch_masks: Bool[Tensor, "s n"] | None
    masks: tuple[Bool[np.ndarray, "_ _"], ...]
    image_sizes: tuple[tuple[int, int], ...]
    sources: tuple[str, ...]
    thumbnails: tuple[UInt8[np.ndarray, "_ _ 3"], ...]
    negatives: Float[Tensor, "m c"]

    def __post_init__(self) -> None:
        shots = len(self.tokens)
        if shots == 0 or not shots == len(self.image_sizes) == len(self.sources) == len(self.thumbnails):
            raise ConceptError("a concept needs at least one picture, and size, source and thumbnail of each")
        if (self.patch_masks is None) != (not self.masks):
            raise ConceptError("a concept has masks for all of its pictures or for none")
        if self.patch_masks is not None:
            if self.patch_masks.shape != self.tokens.shape[:2] or not self.patch_masks.any(1).all():
                raise ConceptError("every picture of a concept needs a mask that is not empty")
            if tuple(mask.shape for mask in self.masks) != self.image_sizes:
                raise ConceptError("every mask must have its picture's size")
        if self.negatives.shape[1] != self.tokens.shape[2]:
            raise ConceptError("the negatives' tokens have another number of channels than the references'")

    @property
    def shots(self) -> int:
        return len(self.tokens)

    @property
    def digest(self) -> str:
        """16 hex digits that tell two concepts apart, whatever they are called."""
        tensors, header = self._pack()
        return _digest(tensors, json.dumps({**header, "name": "", "sources": []}))[:16]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a .insid3 file (safetensors), whole or not at all."""
        tensors, header = self._pack()
        text = json.dumps(header)
        metadata = {"format": _FORMAT, "version": str(_VERSION), "header": text, "sha256": _digest(tensors, text)}
        write_atomically(Path(path), lambda temporary: save_file(tensors, temporary, metadata))

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

    def _pack(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        tensors = {"tokens": self.tokens.cpu().contiguous(), "negatives": self.negatives.cpu().contiguous()}
        if self.patch_masks is not None:
            tensors["patch_masks"] = self.patch_masks.cpu()
        for i, thumbnail in enumerate(self.thumbnails):
            tensors[f"thumbnail.{i}"] = torch.from_numpy(thumbnail.copy())
        for i, mask in enumerate(self.masks):
            tensors[f"mask.{i}"] = torch.from_numpy(np.packbits(mask))
        header = {
            "name": self.name, "backbone": self.backbone, "weights_hash": self.weights_hash, "size": self.size,
            "image_sizes": self.image_sizes, "sources": self.sources,
        }  # fmt: skip
        return tensors, header

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], header: dict[str, Any]) -> "Concept":
        sizes = tuple((int(height), int(width)) for height, width in header.pop("image_sizes"))
        sources = tuple(header.pop("sources"))
        masked = "patch_masks" in tensors
        return cls(
            **header,
            tokens=tensors["tokens"],
            patch_masks=tensors.get("patch_masks"),
            masks=tuple(
                np.unpackbits(tensors[f"mask.{i}"].numpy(), count=h * w).reshape(h, w).astype(bool)
                for i, (h, w) in enumerate(sizes)
                if masked
            ),
            image_sizes=sizes,
            sources=sources,
            thumbnails=tuple(tensors[f"thumbnail.{i}"].numpy() for i in range(len(sizes))),
            negatives=tensors["negatives"],
        )


def _digest(tensors: dict[str, Tensor], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()
