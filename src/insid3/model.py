"""The model that users hold, which encodes pictures, makes concepts, marks and matches them."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import ArrayLike
from torch import Tensor

from insid3 import methods
from insid3.backbones import find, load_encoder, uncalibrated
from insid3.checks.numbers import told
from insid3.concept import Concept, stem_of
from insid3.config import Config, Preset
from insid3.errors import ConceptError, ConfigError, ImageError, Insid3Error
from insid3.features.cache import FeatureCache
from insid3.features.encoded import Encoded, as_list, encode, encode_all, mask_patches, read_images
from insid3.features.patch_grid import PatchGrid
from insid3.features.zoom import check_zoom
from insid3.imaging.masks import MaskValue, read_mask
from insid3.imaging.opening import Source, file_digest, name_of
from insid3.imaging.points import checked_points
from insid3.imaging.resizing import thumbnail
from insid3.label_map import LabelMap, decide, numbered
from insid3.methods.base import as_known
from insid3.methods.keypoints import match_points
from insid3.results import Keypoints, Segmentation
from insid3.types import Encoder


class INSID3:
    """Mark a concept in any picture from one example (or a few), without training.

    >>> model = INSID3.from_pretrained()
    >>> cat = model.concept("cat.jpg", "cat_mask.png")
    >>> model.segment("target.jpg", cat).mask
    """

    def __init__(
        self, encoder: Encoder, config: Config, match_config: Config | None = None, cache: FeatureCache | None = None
    ) -> None:
        """Take an encoder of your own; `from_pretrained` is the usual way.

        Args:
            config: settings to segment with.
            match_config: settings to match with, where they differ.
            cache: what another model with this encoder keeps; its own if not given.

        Raises:
            ConfigError: the size is no multiple of the patch size, or the rank leaves nothing.
        """
        self.encoder, self.config, self.match_config = encoder, config, match_config or config
        for settings in (self.config, self.match_config):
            settings.check(encoder.name, encoder.patch_size, encoder.channels)
        check_zoom(config)
        self.cache = cache or FeatureCache(encoder)

    def __repr__(self) -> str:
        encoder, config = self.encoder, self.config
        return f"INSID3({encoder.name}, {encoder.device}, size {config.size}, rule {config.rule!r})"

    @classmethod
    def from_pretrained(
        cls,
        backbone: str = "dinov2-vits14",
        *,
        preset: Preset | None = None,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        dtype: str = "auto",
        engine: str = "auto",
        local_files_only: bool = False,
        **config: Any,
    ) -> "INSID3":
        """Load a backbone and take the settings that go with it.

        Args:
            backbone: a name of `insid3 backbones`; the default works offline, "dinov3-vitl16" is the paper's.
            preset: "published" (the default), or "plus" for better masks (`docs/accuracy.md`).
            weights: file to read instead of the hub.
            device: "auto", "cpu", "cuda", "cuda:1", "mps".
            dtype: "auto" (float32 on CPUs), "float32", "bfloat16", "float16".
            engine: "torch", "openvino" (CPUs), or "auto": OpenVINO where it is installed and serves.
            local_files_only: never ask the hub.
            config: settings that differ from the backbone's defaults, by the names of `Config`.

        Raises:
            ConfigError: backbone, preset, device, dtype, engine or a setting is unknown.
            WeightsError: the weights are missing, damaged or of another architecture.
            MissingExtraError: the backbone's packages are not installed.
        """
        found = find(backbone)
        if found.defaults is not None:
            settings = found.defaults.configs(preset, **config)  # before the weights: a typo need not wait for them
        encoder = load_encoder(
            backbone, weights=weights, device=device, dtype=dtype, engine=engine, local_files_only=local_files_only
        )
        if found.defaults is None:
            settings = uncalibrated(encoder).configs(preset, **config)
        return cls(encoder, *settings)

    def but(self, **changes: Any) -> "INSID3":
        """Return a model with other settings, by the names of `Config`; encoder and cache serve both.

        Raises:
            ConfigError: a name is unknown or a value invalid.
        """
        return INSID3(self.encoder, self.config.but(**changes), self.match_config.but(**changes), self.cache)

    def concept(
        self,
        images: Source | Sequence[Source],
        masks: Source | Sequence[Source] | None = None,
        *,
        name: str | None = None,
        negatives: Source | Sequence[Source] = (),
        label: MaskValue = None,
        id: int | None = None,
        colour: tuple[int, int, int] | None = None,
    ) -> Concept:
        """Make a concept of one reference and its mask, or of several.

        Args:
            images: the reference: path, PIL image, array (H, W[, 3]) or tensor; a list of them for several shots.
            masks: as many masks; without masks the concept is good for `match` only.
            name: the concept's name in results; the first picture's file name without suffix if not given.
            negatives: pictures without the concept, which are more background for the backward matching.
            label: the value of the concept in masks that hold more than two values; "any" for all above 0.
            id, colour: number and RGB of the concept in exports; chosen by the concept's place if not given.

        Raises:
            ImageError, MaskError: a picture or a mask cannot be used; the message names the file.
            ConceptError: there are not as many masks as pictures.
        """
        shots = as_list(images)
        if not shots:
            raise ConceptError("a concept needs at least one picture")
        listed = [] if masks is None else as_list(masks)
        if masks is not None and len(listed) != len(shots):
            raise ConceptError(f"expected one mask for each of {len(shots)} pictures, got {len(listed)}")
        settings = self.match_config if masks is None else self.config
        pictures = read_images(shots, settings)
        sizes = tuple((picture.shape[0], picture.shape[1]) for picture in pictures)
        full = tuple(read_mask(m, size, label, settings.max_pixels) for m, size in zip(listed, sizes, strict=False))
        others = [self._encode(picture, settings) for picture in read_images(negatives, settings)]
        return Concept(
            name=stem_of(shots[0]) if name is None else name, id=id, colour=colour,
            backbone=self.encoder.name, weights_hash=self.encoder.weights_hash, size=settings.size, fit=settings.fit,
            tokens=tuple(self._encode(picture, settings) for picture in pictures),
            patch_masks=tuple(mask_patches(mask, settings, self.encoder) for mask in full),
            masks=full, image_sizes=sizes, sources=tuple(name_of(shot) for shot in shots),
            thumbnails=tuple(thumbnail(picture) for picture in pictures), files=tuple(map(file_digest, shots)),
            negatives=torch.cat([torch.zeros(0, self.encoder.channels, device=self.encoder.device), *others]),
            negative_files=tuple(map(file_digest, as_list(negatives))),
        )  # fmt: skip

    def extend(
        self,
        concept: Concept,
        images: Source | Sequence[Source] = (),
        masks: Source | Sequence[Source] = (),
        *,
        negatives: Source | Sequence[Source] = (),
    ) -> Concept:
        """Return a concept with further shots, and with further pictures that do not show it.

        Arguments and errors are those of `concept`.
        """
        self.check(concept)
        settings, device = self.config, self.encoder.device
        if others := [self._encode(picture, settings) for picture in read_images(negatives, settings)]:
            files = (*concept.negative_files, *map(file_digest, as_list(negatives)))
            whole = torch.cat([concept.negatives.to(device), *others])
            concept = replace(concept, negatives=whole, negative_files=files)
        shots = as_list(images)
        return concept.with_shots(self.concept(shots, masks)) if shots else concept

    def redraw(self, concept: Concept, masks: Source | Sequence[Source], *, label: MaskValue = None) -> Concept:
        """Return a concept with other masks for its pictures, which are not encoded again.

        Arguments and errors are those of `concept`.
        """
        drawn = as_list(masks)
        if len(drawn) != _checked(concept).shots:
            raise ConceptError(f"expected one mask for each of {concept.shots} pictures, got {len(drawn)}")
        concept.accept(self.encoder, self.config.fit, self.config.size)
        sized = zip(drawn, concept.image_sizes, strict=True)
        full = tuple(read_mask(mask, size, label, self.config.max_pixels) for mask, size in sized)
        patches = tuple(mask_patches(mask, self.config, self.encoder) for mask in full)
        return replace(concept, masks=full, patch_masks=patches)

    def encode(self, target: Source) -> Encoded:
        """Encode a picture once, to segment and match it with several concepts.

        Raises:
            ImageError: the picture cannot be used.
            SizeError: not enough memory.
        """
        return self._encoded(target, self.config, to_segment=True)

    def encode_many(self, targets: Iterable[Source]) -> list[Encoded]:
        """Encode several pictures at once, which keeps a GPU busy; errors are those of `encode`."""
        return encode_all(self.encoder, list(targets), self.config, to_segment=True)

    def segment(self, target: Source | Encoded, concept: Concept) -> Segmentation:
        """Mark the concept in one picture (paper, section 3; `methods/`).

        Args:
            target: path, PIL image, array or tensor, or what `encode` made of it; a reference's file gets the mask
                drawn in it.

        Returns:
            A mask at the picture's own size, its score, and on demand heat map and clusters.

        Raises:
            ImageError: the picture cannot be used.
            ConceptError: the concept has no masks, or was made with another backbone, weights or size.
            SizeError: not enough memory.
        """
        self.check(concept)
        encoded = self._encoded(target, self.config, to_segment=True)
        return as_known(methods.segment(encoded, concept, self.config, self.cache), concept, encoded.file)

    def label(
        self, target: Source | Encoded, concepts: Sequence[Concept], *, overlap: str = "best", margin: float = 0.05
    ) -> LabelMap:
        """Mark several concepts in one picture, which is encoded and clustered once.

        Args:
            overlap: "best" gives each pixel to one concept, "all" to every concept that claims the pixel.
            margin: difference of similarity that decides between two concepts (`label_map.decide`).

        Raises:
            ConfigError: there are no concepts, more than 255, or two of one name or id.
            Insid3Error: `segment` raises it.
        """
        if isinstance(concepts, Concept):
            raise ConfigError("concepts must be a list: use segment for one")
        described = numbered([_checked(concept) for concept in concepts])
        encoded = self._encoded(target, self.config, to_segment=True)
        results = tuple(self.segment(encoded, concept) for concept in concepts)
        return LabelMap(described, results, decide(results, margin), overlap)

    def check(self, concept: Concept) -> None:
        """Check that `segment` will take the concept.

        Raises:
            ConceptError: it is no concept, has no masks, or was made with another backbone, weights or size.
        """
        _checked(concept).accept(self.encoder, self.config.fit, self.config.size)
        if not concept.masks:
            raise ConceptError(f"concept {concept.name!r} has no masks: give them to `concept` to segment with it")

    def segment_many(
        self,
        targets: Iterable[Source | Encoded],
        concept: Concept,
        *,
        progress: Callable[[int, Source | Encoded], object] | None = None,
        errors: str = "raise",
    ) -> Iterator[Segmentation | Insid3Error]:
        """Mark the concept in one picture after the other.

        Args:
            progress: is called after each target with the number of targets done and the last target.
            errors: "raise" stops at the first picture that cannot be used; "return" yields the error and goes on.

        Raises:
            ImageError: a picture cannot be used and `errors` is "raise".
            ConceptError: `segment` refuses the concept.
            ConfigError: `targets` is one path, or `errors` is neither "raise" nor "return".
        """
        if errors not in ("raise", "return"):
            raise ConfigError(f"errors must be 'raise' or 'return', got {errors!r}")
        if isinstance(targets, str | os.PathLike):
            raise ConfigError(f"targets must be a list of pictures, got {targets!r}: use segment for one")
        self.check(concept)

        def each() -> Iterator[Segmentation | Insid3Error]:
            for done, target in enumerate(targets, 1):
                try:
                    result: Segmentation | Insid3Error = self.segment(target, concept)
                except ImageError as error:
                    if errors == "raise":
                        raise
                    result = error
                if progress is not None:
                    progress(done, target)
                yield result

        return each()

    def match(self, target: Source | Encoded, concept: Concept, points: ArrayLike, *, debias: bool = True) -> Keypoints:
        """Find points of the concept's one picture in the target (paper, supplement; `methods/keypoints.py`).

        Args:
            target: path, PIL image, array or tensor, or what `encode` made of it without tiles.
            points: (p, 2), (x, y) in pixels of the reference picture.
            debias: use debiased tokens (the paper's) or raw ones.

        Returns:
            (x, y) in target pixels and the similarity of each.

        Raises:
            ConceptError: the concept has several pictures, or was made with another backbone, weights or size.
            ImageError: the target cannot be used.
            SizeError: not enough memory.
            ConfigError: `points` is not (p, 2) finite numbers inside the reference picture.
        """
        settings = self.match_config.but(size=_checked(concept).size)
        concept.accept(self.encoder, self.config.fit, self.config.size, self.match_config.size)
        if concept.shots != 1:
            raise ConceptError(f"matching needs a concept of exactly one picture, {concept.name!r} has {concept.shots}")
        xy = checked_points(points, concept.image_sizes[0])
        encoded = self._encoded(target, settings, to_segment=False)
        return match_points(encoded, concept, xy, settings, self.cache, debias=debias)

    def _encoded(self, target: Source | Encoded, config: Config, *, to_segment: bool) -> Encoded:
        if isinstance(target, Encoded):
            target.accept(self.encoder, config, to_segment=to_segment)
            return target
        return encode_all(self.encoder, [target], config, to_segment=to_segment)[0]

    def _encode(self, picture: UInt8[np.ndarray, "H W 3"], config: Config) -> Float[Tensor, "n c"]:
        grid = PatchGrid.from_settings(picture.shape[:2], config, self.encoder.patch_size, tiled=False)
        return encode(self.encoder, [picture], [grid], config)[0][0]


def _checked(concept: object) -> Concept:
    if not isinstance(concept, Concept):
        raise ConceptError(f"expected a concept, which model.concept or Concept.load makes, got {told(concept)}")
    return concept
