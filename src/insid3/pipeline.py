"""The order of the stages, written once."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import ArrayLike
from torch import Tensor

from insid3.backbones import find, load_encoder, uncalibrated
from insid3.closer import check_closer, look_closer
from insid3.concept import Concept, stem_of
from insid3.config import Config, Preset
from insid3.derived import Derived, Evidence
from insid3.encoded import Encoded, as_list, encode, encode_all, mask_patches, read_images
from insid3.errors import ConceptError, ConfigError, ImageError, Insid3Error
from insid3.frame import Frame
from insid3.images import Label, Source, name_of, read_mask, thumbnail
from insid3.known import as_known, digest_of
from insid3.labels import LabelMap, decide, numbered
from insid3.points import checked_points, points_to_grid
from insid3.refinement import Closer, soft_scores, to_mask
from insid3.stages.aggregate import margins
from insid3.stages.match import match
from insid3.types import Encoder, Keypoints, Segmentation


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
            settings.check(encoder.name, encoder.patch_size, encoder.channels)
        check_closer(config)
        self.derived = Derived(encoder)

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
        """A model with the backbone's own settings.

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
            ConfigError: unknown backbone, preset, device, dtype, engine or setting.
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
        """With other settings, by the names of `Config`: the same encoder, and what it has kept serves both.

        Raises:
            ConfigError: unknown name or invalid value.
        """
        other = INSID3(self.encoder, self.config.but(**changes), self.match_config.but(**changes))
        other.derived = self.derived
        return other

    def concept(
        self,
        images: Source | Sequence[Source],
        masks: Source | Sequence[Source] | None = None,
        *,
        name: str | None = None,
        negatives: Source | Sequence[Source] = (),
        label: Label = None,
        id: int | None = None,
        colour: tuple[int, int, int] | None = None,
    ) -> Concept:
        """Encode one reference picture, or several shots, with the masks of what to find.

        Args:
            images: path, PIL image or array (H, W[, 3]); a list of them for several shots.
            masks: as many; without masks the concept is good for `match` only.
            name: what the concept is called in results; the first picture's file name without suffix if not given.
            negatives: pictures without the concept, more background for the backward matching.
            label: the value of the concept in masks that hold more than two values; "any" for all above 0.
            id, colour: number and RGB of the concept in exports; by its place among others if not given.

        Raises:
            ImageError, MaskError: a picture or a mask that cannot be used, by name.
            ConceptError: not as many masks as pictures.
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
            thumbnails=tuple(thumbnail(picture) for picture in pictures), files=tuple(map(digest_of, shots)),
            negatives=torch.cat([torch.zeros(0, self.encoder.channels, device=self.encoder.device), *others]),
            negative_files=tuple(map(digest_of, as_list(negatives))),
        )  # fmt: skip

    def extend(
        self,
        concept: Concept,
        images: Source | Sequence[Source] = (),
        masks: Source | Sequence[Source] = (),
        *,
        negatives: Source | Sequence[Source] = (),
    ) -> Concept:
        """A concept with further shots, and with further pictures that do not show it.

        Args and errors: as `concept`.
        """
        self.check(concept)
        settings, device = self.config, self.encoder.device
        if others := [self._encode(picture, settings) for picture in read_images(negatives, settings)]:
            files = (*concept.negative_files, *map(digest_of, as_list(negatives)))
            whole = torch.cat([concept.negatives.to(device), *others])
            concept = replace(concept, negatives=whole, negative_files=files)
        shots = as_list(images)
        return concept.with_shots(self.concept(shots, masks)) if shots else concept

    def redraw(self, concept: Concept, masks: Source | Sequence[Source], *, label: Label = None) -> Concept:
        """A concept with other masks for its pictures, which are not encoded again.

        Args and errors: as `concept`.
        """
        drawn = as_list(masks)
        if len(drawn) != concept.shots:
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

    def encode_many(self, targets: Sequence[Source]) -> list[Encoded]:
        """Several pictures at once, which GPUs like; as `encode`."""
        return encode_all(self.encoder, targets, self.config, to_segment=True)

    def segment(self, target: Source | Encoded, concept: Concept) -> Segmentation:
        """Mark the concept in one picture.

        Args:
            target: path, PIL image or array, or what `encode` made of it; a reference's file gets the mask drawn in it.

        Returns:
            A mask at the picture's own size, its score, and on demand heat map and clusters.

        Raises:
            ImageError: the picture cannot be used.
            ConceptError: the concept has no masks, or was made with another backbone, weights or size.
            SizeError: not enough memory.
        """
        self.check(concept)
        encoded = self._encoded(target, self.config, to_segment=True)
        return as_known(self._segmented(encoded, concept), concept, encoded.file)

    def _segmented(self, target: Encoded, concept: Concept) -> Segmentation:
        found = self.evidence(target, concept)  # stages 0 to 2
        if not found.candidate.any():
            nothing = torch.full_like(found.forward, -1)
            otherwise = "no patch resembles the concept more than its background"
            return self.marked(found, nothing, otherwise, scores=nothing)
        return self._by_field(found, concept) if self.config.rule == "field" else self._by_clusters(found)

    def _by_clusters(self, found: Evidence) -> Segmentation:
        """The published way: the seed cluster, and those that belong to it."""
        config, scored = self.config, self.derived.scored(found, self.config)
        seed, scores, labels = scored.seed, scored.scores, scored.labels
        margin = margins(scores, seed, config.threshold, config.keep_seed)[labels]
        otherwise = f"no cluster scores above the threshold {config.threshold:g} (the best: {scores.max():.2f})"
        if config.keep_seed:
            scores[seed] = 1
        return self.marked(found, margin, otherwise, seed, scores[labels])

    def _by_field(self, found: Evidence, concept: Concept) -> Segmentation:
        """The preset "plus": all evidence in one soft field, smoothed, and cut when it is enlarged."""
        config, values = self.config, self.derived.field(found, self.config)
        closer = look_closer(self.derived, found, concept, values, config) if config.closer else None
        otherwise = f"no patch's field is above the threshold {config.threshold:g} (the best: {values.max():.2f})"
        return self.marked(found, values - config.threshold, otherwise, scores=values, closer=closer)

    def label(
        self, target: Source | Encoded, concepts: Sequence[Concept], *, overlap: str = "best", margin: float = 0.05
    ) -> LabelMap:
        """Mark several concepts in one picture, which is encoded and clustered once.

        Args:
            overlap: "best" gives each pixel to one concept, "all" to all that claim it.
            margin: of the similarity to a concept; less than that does not decide between two (`labels.decide`).

        Raises: as `segment`; ConfigError: no concepts, two of one name or id, or more than 255.
        """
        described = numbered(concepts)
        encoded = self._encoded(target, self.config, to_segment=True)
        results = tuple(self.segment(encoded, concept) for concept in concepts)
        return LabelMap(described, results, decide(results, margin), overlap)

    def check(self, concept: Concept) -> None:
        """Whether `segment` will take the concept.

        Raises:
            ConceptError: it has no masks, or was made with another backbone, weights or size.
        """
        concept.accept(self.encoder, self.config.fit, self.config.size)
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
            progress: called after each target with how many are done and which was the last.
            errors: "raise" stops at the first picture that cannot be used; "return" yields its error and goes on.

        Raises:
            ImageError: see `errors`.
            ConceptError: as `segment`.
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
        """Find points of the concept's one picture in the target.

        Args:
            target: path, PIL image or array, or what `encode` made of it without tiles.
            points: (p, 2), (x, y) in pixels of the reference picture.
            debias: use debiased tokens (the paper's) or raw ones.

        Returns:
            (x, y) in target pixels and the similarity of each.

        Raises:
            ConceptError: several pictures, or made with another backbone, weights or size.
            ImageError: the target cannot be used.
            SizeError: not enough memory.
            ConfigError: points that are not (p, 2) finite numbers inside the reference picture.
        """
        settings = self.match_config.but(size=concept.size)
        concept.accept(self.encoder, self.config.fit, self.config.size, self.match_config.size)
        if concept.shots != 1:
            raise ConceptError(f"matching needs a concept of exactly one picture, {concept.name!r} has {concept.shots}")
        xy = checked_points(points, concept.image_sizes[0])
        encoded = self._encoded(target, settings, to_segment=False)
        tokens, reference = encoded.tokens[0], concept.tokens[0].to(self.encoder.device)
        if debias:
            tokens = self.derived.debiased(encoded, settings)[0]
            reference = self.derived.reference(concept, settings).tokens[0]
        theirs, ours = Frame.of(concept.image_sizes[0], settings, self.encoder.patch_size, tiled=False), encoded.frame
        cells = torch.from_numpy(points_to_grid(xy, theirs.size, theirs.extent)).to(tokens.device)
        found, maps = match(reference[cells[:, 1] * theirs.grid[1] + cells[:, 0]], tokens, ours.grid)
        scale = found.new_tensor([ours.size[1] / ours.extent[1], ours.size[0] / ours.extent[0]])
        return Keypoints(
            xy=(found * scale).cpu().numpy(),
            similarity=maps.amax(1).cpu().numpy() if len(xy) else np.zeros(0, np.float32),
            maps=maps.unflatten(1, ours.grid).cpu().numpy(),
        )

    def evidence(self, target: Source | Encoded, concept: Concept) -> Evidence:
        """Stages 1 and 2, which every method begins with: how much each patch resembles the concept.

        Raises: as `segment`.
        """
        self.check(concept)
        return self.derived.evidence(self._encoded(target, self.config, to_segment=True), concept, self.config)

    def marked(
        self,
        evidence: Evidence,
        margin: Float[Tensor, "n"],
        otherwise: str,
        seed: int | None = None,
        scores: Float[Tensor, "n"] | None = None,
        closer: Closer | None = None,
    ) -> Segmentation:
        """Stage 6, which every method ends with: pixels, and how far they can be trusted.

        Args:
            margin: of each patch of all windows; above 0 it belongs to the mask.
            otherwise: why there is nothing, where that is so.
            seed: the seed cluster, where there is one.
            scores: of each patch, what a threshold is compared with; `margin` above `threshold` if not given.
            closer: scores of a part that was looked at again.
        """
        config, target = self.config, evidence.target
        soft = margin + config.threshold if scores is None else scores
        frame, kept = target.frame, margin > 0
        trust = evidence.trust(kept, config.rule)
        if kept.any() and trust < config.min_score:
            otherwise = f"the score {trust:.2f} is below the least that counts, {config.min_score:g}"
            margin, soft, closer = torch.full_like(margin, -1), torch.full_like(margin, -1), None

        def per_window(values: Tensor) -> np.ndarray:
            return values.view(len(frame.windows), -1).cpu().numpy()

        above = closer and closer._replace(values=closer.values - config.threshold)
        mask, reason = to_mask(per_window(margin), frame, target.picture, self.encoder.patch_size, config, above)
        if not mask.any():
            reason = otherwise if (margin <= 0).all() else "the marked patches are smaller than a pixel of the target"
        return Segmentation(
            mask=mask,
            score=trust,
            similarity=frame.blend(per_window(evidence.forward)),
            seed=seed,
            reason=reason,
            _labels=lambda: frame.choose(per_window(self.derived.labels(target, config))),
            _scores=lambda: soft_scores(per_window(soft), frame, self.encoder.patch_size, config, closer),
        )

    def _encoded(self, target: Source | Encoded, config: Config, *, to_segment: bool) -> Encoded:
        if isinstance(target, Encoded):
            target.accept(self.encoder, config, to_segment=to_segment)
            return target
        return encode_all(self.encoder, [target], config, to_segment=to_segment)[0]

    def _encode(self, picture: UInt8[np.ndarray, "H W 3"], config: Config) -> Float[Tensor, "n c"]:
        frame = Frame.of(picture.shape[:2], config, self.encoder.patch_size, tiled=False)
        return encode(self.encoder, [picture], [frame], config)[0][0]
