"""The order of the stages, written once."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import ArrayLike
from torch import Tensor

from insid3.backbones import find, load_encoder, uncalibrated
from insid3.concept import Concept
from insid3.config import Config
from insid3.errors import ConceptError, ConfigError, ImageError, Insid3Error
from insid3.images import (
    Label,
    Source,
    name_of,
    points_to_grid,
    read_image,
    read_mask,
    resize_image,
    resize_mask,
    thumbnail,
)
from insid3.stages.aggregate import cluster_scores, merged
from insid3.stages.cluster import cluster, cluster_means
from insid3.stages.debias import debias, positional_directions
from insid3.stages.encode import normalise, patch_mask, unit_tokens
from insid3.stages.localize import backward_votes, candidates, prototype
from insid3.stages.match import match
from insid3.stages.refine import to_pixels
from insid3.stages.score import score
from insid3.stages.seed import seed_cluster
from insid3.types import Encoder, Keypoints, Segmentation


@dataclass(frozen=True)
class _Reference:
    """What follows from a concept for one basis and rank: debiased tokens, and their prototype when it is needed."""

    tokens: Float[Tensor, "s n c"]
    masks: Bool[Tensor, "s n"]
    negatives: Float[Tensor, "m c"]

    @cached_property
    def prototype(self) -> Float[Tensor, "c"]:
        return prototype(self.tokens, self.masks)


class INSID3:
    """Marks a concept in any picture from one example (or a few), without training.

    >>> model = INSID3.from_pretrained()
    >>> cat = model.concept("cat.jpg", "cat_mask.png")
    >>> model.segment("target.jpg", cat).mask
    """

    def __init__(self, encoder: Encoder, config: Config, match_config: Config | None = None) -> None:
        """From an encoder of your own; `from_pretrained` is the usual way.

        Raises:
            ConfigError: a size that is no multiple of the patch size, or a rank that leaves nothing.
        """
        self.encoder, self.config, self.match_config = encoder, config, match_config or config
        for settings in (self.config, self.match_config):
            _check(settings, encoder)
        self._directions: dict[tuple[int, str], Tensor] = {}
        self._references: WeakKeyDictionary[Concept, dict[tuple[str, int], _Reference]] = WeakKeyDictionary()

    @classmethod
    def from_pretrained(
        cls,
        backbone: str = "dinov2-vits14",
        *,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        dtype: str = "auto",
        local_files_only: bool = False,
        **config: Any,
    ) -> "INSID3":
        """A model with the backbone's own settings.

        Args:
            backbone: a name of `insid3 backbones`; the default works offline, "dinov3-vitl16" is the paper's.
            weights: file to read instead of the hub.
            device: "auto", "cpu", "cuda", "cuda:1", "mps".
            dtype: "auto" (float32 on CPUs), "float32", "bfloat16", "float16".
            local_files_only: never ask the hub.
            config: settings that differ from the backbone's defaults, by the names of `Config`.

        Raises:
            ConfigError: unknown backbone, device, dtype or setting.
            WeightsError: the weights are missing, damaged or of another architecture.
            MissingExtraError: the backbone's packages are not installed.
        """
        found = find(backbone)
        if found.defaults is not None:
            settings = found.defaults.configs(**config)  # before the weights: a typo need not wait for them
        encoder = load_encoder(backbone, weights=weights, device=device, dtype=dtype, local_files_only=local_files_only)
        if found.defaults is None:
            settings = uncalibrated(encoder).configs(**config)
        return cls(encoder, *settings)

    def concept(
        self,
        images: Source | Sequence[Source],
        masks: Source | Sequence[Source] | None = None,
        *,
        name: str = "concept",
        negatives: Source | Sequence[Source] = (),
        label: Label = None,
    ) -> Concept:
        """Encode one reference picture, or several shots, with the masks of what to find.

        Args:
            images: path, PIL image or array (H, W[, 3]); a list of them for several shots.
            masks: as many; without masks the concept is good for `match` only.
            name: what the concept is called in results.
            negatives: pictures without the concept, more background for the backward matching.
            label: the value of the concept in masks that hold more than two values; "any" for all above 0.

        Raises:
            ImageError, MaskError: a picture or a mask that cannot be used, by name.
            ConceptError: not as many masks as pictures.
        """
        shots = _listed(images)
        if not shots:
            raise ConceptError("a concept needs at least one picture")
        listed = [] if masks is None else _listed(masks)
        if masks is not None and len(listed) != len(shots):
            raise ConceptError(f"expected one mask for each of {len(shots)} pictures, got {len(listed)}")
        settings = self.match_config if masks is None else self.config
        pictures = [read_image(shot, settings.max_pixels) for shot in shots]
        sizes = tuple((picture.shape[0], picture.shape[1]) for picture in pictures)
        full = tuple(read_mask(m, size, label, settings.max_pixels) for m, size in zip(listed, sizes, strict=False))
        patches = [
            patch_mask(torch.from_numpy(resize_mask(mask, settings.size)), self.encoder.patch_size) for mask in full
        ]
        others = [self._encode(read_image(n, settings.max_pixels), settings) for n in _listed(negatives)]
        return Concept(
            name=name,
            backbone=self.encoder.name,
            weights_hash=self.encoder.weights_hash,
            size=settings.size,
            tokens=torch.stack([self._encode(picture, settings) for picture in pictures]),
            patch_masks=torch.stack(patches).to(self.encoder.device) if patches else None,
            masks=full,
            image_sizes=sizes,
            sources=tuple(name_of(shot) for shot in shots),
            thumbnails=tuple(thumbnail(picture) for picture in pictures),
            negatives=torch.cat(others)
            if others
            else torch.zeros(0, self.encoder.channels, device=self.encoder.device),
        )

    def segment(self, target: Source, concept: Concept) -> Segmentation:
        """Mark the concept in one picture.

        Args:
            target: path, PIL image or array.

        Returns:
            A mask at the picture's own size, its score, and on demand heat map and clusters.

        Raises:
            ImageError: the picture cannot be used.
            ConceptError: the concept has no masks, or was made with another backbone, weights or size.
        """
        self.check(concept)
        picture = read_image(target, self.config.max_pixels)
        return self._segment(self._encode(picture, self.config), picture.shape[:2], concept)

    def check(self, concept: Concept) -> None:
        """Whether `segment` will take the concept.

        Raises:
            ConceptError: it has no masks, or was made with another backbone, weights or size.
        """
        self._accept(concept, self.config)
        if concept.patch_masks is None:
            raise ConceptError(f"concept {concept.name!r} has no masks: give them to `concept` to segment with it")

    def segment_many(
        self,
        targets: Iterable[Source],
        concept: Concept,
        *,
        progress: Callable[[int, Source], object] | None = None,
        errors: str = "raise",
    ) -> Iterator[Segmentation | Insid3Error]:
        """Mark the concept in one picture after the other.

        Args:
            progress: called after each target with how many are done and which was the last.
            errors: "raise" stops at the first picture that cannot be used; "return" yields its error and goes on.

        Raises:
            ImageError: see `errors`.
            ConceptError: as `segment`.
        """
        if errors not in ("raise", "return"):
            raise ConfigError(f"errors must be 'raise' or 'return', got {errors!r}")
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

    def match(self, target: Source, concept: Concept, points: ArrayLike, *, debias: bool = True) -> Keypoints:
        """Find points of the concept's one picture in the target.

        Args:
            points: (p, 2), (x, y) in pixels of the reference picture.
            debias: use debiased tokens (the paper's) or raw ones.

        Returns:
            (x, y) in target pixels and the similarity of each.

        Raises:
            ConceptError: several pictures, or made with another backbone, weights or size.
            ImageError: the target cannot be used.
            ValueError: points that are not (p, 2) finite numbers inside the reference picture.
        """
        settings = self.match_config.but(size=concept.size)
        self._accept(concept, *{self.config, self.match_config})
        if concept.shots != 1:
            raise ConceptError(f"matching needs a concept of exactly one picture, {concept.name!r} has {concept.shots}")
        xy = _points(points, concept.image_sizes[0])
        picture = read_image(target, settings.max_pixels)
        tokens, reference = self._encode(picture, settings), concept.tokens[0].to(self.encoder.device)
        if debias:
            tokens, reference = self._debias(tokens, settings), self._reference(concept, settings).tokens[0]
        side = settings.size // self.encoder.patch_size
        cells = torch.from_numpy(points_to_grid(xy, concept.image_sizes[0], (side, side))).to(tokens.device)
        found, maps = match(reference[cells[:, 1] * side + cells[:, 0]], tokens, (side, side))
        scale = found.new_tensor([picture.shape[1] / side, picture.shape[0] / side])
        return Keypoints(
            xy=(found * scale).cpu().numpy(),
            similarity=maps.amax(1).cpu().numpy() if len(xy) else np.zeros(0, np.float32),
            maps=maps.unflatten(1, (side, side)).cpu().numpy(),
        )

    def _segment(self, tokens: Float[Tensor, "n c"], size: tuple[int, int], concept: Concept) -> Segmentation:
        """Stages 1 to 6."""
        config, reference = self.config, self._reference(concept, self.config)
        side = config.size // self.encoder.patch_size
        debiased = self._debias(tokens, config)

        forward = debiased @ reference.prototype
        votes = backward_votes(debiased, reference.tokens, reference.masks, reference.negatives)
        candidate = candidates(forward, votes, concept.shots)
        if not candidate.any():
            return Segmentation(
                mask=np.zeros(size, bool),
                score=0.0,
                similarity=forward.view(side, side).cpu().numpy(),
                seed=None,
                reason="no patch resembles the concept more than its background",
                _labels=lambda: cluster(tokens, config.tau).view(side, side).cpu().numpy(),
            )

        labels = cluster(tokens, config.tau)
        seed = seed_cluster(cluster_means(debiased, labels), reference.prototype, labels, candidate)
        scores = cluster_scores(cluster_means(tokens, labels), forward, labels, candidate, seed)
        kept = merged(scores, labels, seed, config.threshold, config.keep_seed)
        mask = to_pixels(kept.view(side, side), config.size, size).cpu().numpy()
        reason, trust = None, 0.0
        if mask.any():
            trust = score(reference.prototype, debiased, kept, reference.tokens, reference.masks)
        elif kept.any():
            reason = "the marked patches are smaller than a pixel of the target"
        else:
            reason = f"no cluster scores above the threshold {config.threshold:g} (the best: {scores.max():.2f})"
        return Segmentation(
            mask=mask,
            score=trust,
            similarity=forward.view(side, side).cpu().numpy(),
            seed=seed,
            reason=reason,
            _labels=lambda: labels.view(side, side).cpu().numpy(),
        )

    def _encode(self, picture: UInt8[np.ndarray, "H W 3"], config: Config) -> Float[Tensor, "n c"]:
        square = torch.from_numpy(resize_image(picture, config.size).copy()).to(self.encoder.device)
        return unit_tokens(self.encoder, normalise(square[None], self.encoder.mean, self.encoder.std))[0]

    def _basis(self, config: Config) -> Float[Tensor, "c r"]:
        """B, always in float32; estimated once per size and kind of picture."""
        key = (config.size, config.basis)
        if config.rank and key not in self._directions:
            shape = (1, 3, config.size, config.size)
            if config.basis == "noise":
                blank = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            else:
                blank = normalise(
                    torch.zeros(1, config.size, config.size, 3, dtype=torch.uint8), self.encoder.mean, self.encoder.std
                )
            self._directions[key] = positional_directions(unit_tokens(self.encoder, blank, float32=True)[0])
        if not config.rank:
            return torch.zeros(self.encoder.channels, 0, device=self.encoder.device)
        return self._directions[key][:, : config.rank]

    def _debias(self, tokens: Float[Tensor, "*s n c"], config: Config) -> Float[Tensor, "*s n c"]:
        return debias(tokens, self._basis(config))

    def _reference(self, concept: Concept, config: Config) -> _Reference:
        kept = self._references.setdefault(concept, {})
        key = (config.basis, config.rank)
        if key not in kept:
            device, masks = self.encoder.device, concept.patch_masks
            kept[key] = _Reference(
                self._debias(concept.tokens.to(device), config),
                torch.zeros(concept.tokens.shape[:2], dtype=torch.bool) if masks is None else masks.to(device),
                self._debias(concept.negatives.to(device), config),
            )
        return kept[key]

    def _accept(self, concept: Concept, *settings: Config) -> None:
        """Refuse tokens that this model's encoder would not have made."""
        if concept.backbone != self.encoder.name:
            raise ConceptError(
                f"concept {concept.name!r} was made with backbone {concept.backbone}, "
                f"this model has {self.encoder.name}: load that backbone (--backbone), or make the concept again"
            )
        if concept.weights_hash != self.encoder.weights_hash:
            raise ConceptError(
                f"concept {concept.name!r} was made with weights {concept.weights_hash} of {concept.backbone}, "
                f"this model has {self.encoder.weights_hash}: load the same file, or make the concept again"
            )
        sizes = sorted({config.size for config in settings})
        if concept.size not in sizes:
            raise ConceptError(
                f"concept {concept.name!r} was made at size {concept.size}, this model works at "
                f"{' or '.join(map(str, sizes))}: make it again, or use size={concept.size} (--size)"
            )


def _check(config: Config, encoder: Encoder) -> None:
    patch, size = encoder.patch_size, config.size
    if size % patch:
        lower = size // patch * patch
        near = " or ".join(str(side) for side in (lower, lower + patch) if side)
        raise ConfigError(f"size {size} is not a multiple of the patch size {patch} of {encoder.name}: use {near}")
    patches = (size // patch) ** 2
    if config.rank >= min(encoder.channels, patches):
        raise ConfigError(
            f"rank {config.rank} leaves nothing of {encoder.name}'s {encoder.channels} channels at {patches} patches: "
            f"use less than {min(encoder.channels, patches)}"
        )


def _listed(sources: Source | Sequence[Source]) -> list[Source]:
    return list(sources) if isinstance(sources, list | tuple) else [sources]  # type: ignore[list-item]


def _points(points: ArrayLike, size: tuple[int, int]) -> Float[np.ndarray, "p 2"]:
    xy = np.asarray(points, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy).all():
        raise ValueError(f"points must be finite (x, y) pairs, shape (p, 2), got {np.shape(points)}")
    outside = (xy < 0).any(1) | (xy > [size[1], size[0]]).any(1)
    if outside.any():
        x, y = xy[outside][0]
        raise ValueError(f"point ({x:g}, {y:g}) lies outside the reference picture of {size[1]} x {size[0]} pixels")
    return xy
