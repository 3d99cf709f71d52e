"""Targets that help each other: masks found in some become further shots for the others. Not in the paper.

There is one round. In more rounds errors feed on themselves.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeVar

import numpy as np
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from insid3.concept import Concept
from insid3.config import Config
from insid3.errors import ConfigError
from insid3.features.encoded import Encoded, mask_patches
from insid3.features.patch_grid import PatchGrid, inner_size
from insid3.imaging.resizing import resize_mask
from insid3.model import INSID3

POOL = 64  #: targets, at most, that may help the others
LEAST = 8  #: targets of the pool; in a smaller pool no target helps (the literature's number: `docs/accuracy.md`)
SHOTS = 5  #: helper targets, at most, for each target
AGREEMENT = 0.5  #: IoU of an example's mask with what a shot finds in it; a shot counts above

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Found:
    """The patches and pixels of a concept in a target.

    Attributes:
        patches: which patches show the concept.
        mask: the concept's pixels at the size that the target has in the model's square.
    """

    patches: Bool[Tensor, "n"]
    mask: Bool[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class Helper:
    """A target of the pool, which may help others.

    Attributes:
        encoded: the target's tokens, without the picture.
        mean: unit mean of the target's debiased tokens.
        found: for each concept what was found in the target; None where the target is no shot of the concept.
    """

    encoded: Encoded
    mean: Float[Tensor, "c"]
    found: tuple[Found | None, ...]


@dataclass(frozen=True, eq=False)
class Together:
    """Concepts, and the targets that help to find them. The value can be handed to other processes.

    >>> pool = {path: model.encode(path) for path in pooled(paths)}
    >>> together = Together.from_pool(model, [cat], pool.items())
    >>> for path in paths:
    ...     encoded = pool.get(path) or model.encode(path)
    ...     mask = model.segment(encoded, *together.concepts_for(model, encoded, path)).mask
    """

    concepts: Sequence[Concept]
    helpers: Mapping[Hashable, Helper]

    @classmethod
    def from_pool(
        cls, model: INSID3, concepts: Sequence[Concept], pool: Iterable[tuple[Hashable, Encoded]]
    ) -> "Together":
        """Mark the concepts in the pool's targets and keep the masks that lead back to the examples.

        A pool of fewer than `LEAST` targets helps nobody.

        Args:
            pool: pairs of a key and a target; they are read one after the other.

        Raises:
            ConceptError: `INSID3.check` refuses a concept.
            ConfigError: `tile` is set.
        """
        check_together(model.config)
        plain = model.but(closer=False, refine="none", min_score=0.0)
        examples = [_pictures(plain, concept) for concept in concepts]
        helpers = {}
        for key, encoded in pool:
            found = tuple(
                _found(model, plain, encoded, concept, pictures)
                for concept, pictures in zip(concepts, examples, strict=True)
            )
            helpers[key] = Helper(replace(encoded, picture=None, whole=None), _mean(model, encoded), found)
            model.cache.forget(encoded.tokens)
        if len(helpers) < LEAST:
            helpers = {key: replace(each, found=(None,) * len(concepts)) for key, each in helpers.items()}
        return cls(concepts, helpers)

    def concepts_for(self, model: INSID3, encoded: Encoded, key: Hashable = None) -> list[Concept]:
        """Return each concept with shots of the helper targets most similar to this target.

        The target never helps itself. A concept without helper targets stays as it is. Masks are scored against the
        shots that a person drew.

        Args:
            key: the target's key, if the target may be in the pool.
        """
        mine = _mean(model, encoded)
        others = [(each, str(other)) for other, each in self.helpers.items() if other != key]
        others.sort(key=lambda pair: -float(pair[0].mean @ mine))
        result = []
        for i, concept in enumerate(self.concepts):
            shots = [
                concept.shot_of(source, each.encoded.tokens[0], found.patches, found.mask)
                for each, source in others
                if (found := each.found[i]) is not None
            ][:SHOTS]
            result.append(reduce(Concept.with_shots, shots, replace(concept, drawn=concept)) if shots else concept)
        return result

    def encoded(self, key: Hashable, picture: UInt8[np.ndarray, "H W 3"], config: Config) -> Encoded | None:
        """Return a target of the pool as `INSID3.encode` made it, with its picture; None if the pool has none."""
        helper = self.helpers.get(key)
        return None if helper is None else helper.encoded.showing(picture, config)


def pooled(targets: Sequence[T]) -> list[T]:
    """Return the targets that may help: all, or `POOL` of them evenly spread over their order."""
    count = min(POOL, len(targets))
    return [targets[i * len(targets) // count] for i in range(count)]


def check_together(config: Config) -> None:
    """Check that targets can help each other with these settings.

    Raises:
        ConfigError: `tile` is set: a tiled target makes no shot.
    """
    if config.tile is not None:
        raise ConfigError(
            "targets that help each other must be seen whole: leave out tile (--tile), or --together "
            "(of evaluate: --transductive)"
        )


def _found(
    model: INSID3, plain: INSID3, encoded: Encoded, concept: Concept, examples: Sequence[Encoded]
) -> Found | None:
    """Return what is marked in a target, if that leads back to the concept in its own pictures."""
    mask = model.segment(encoded, concept).mask
    if not mask.any():
        return None
    small = resize_mask(mask, inner_size(mask.shape, model.config))
    patches = mask_patches(small, model.config, model.encoder)
    if patches.all():
        return None
    shot = concept.shot_of(encoded.name, encoded.tokens[0], patches, small)
    back = [_overlap(plain, example, shot, truth) for example, truth in zip(examples, concept.patch_masks, strict=True)]
    return Found(patches, small) if sum(back) > AGREEMENT * len(back) else None


def _overlap(plain: INSID3, example: Encoded, shot: Concept, truth: Bool[Tensor, "n"]) -> float:
    """Return the IoU, in patches, of an example's mask and of what the shot finds there."""
    mask = plain.segment(example, shot).mask
    if not mask.any():
        return 0.0
    patches, truth = mask_patches(mask, plain.config, plain.encoder), truth.to(plain.encoder.device)
    return float((patches & truth).sum() / (patches | truth).sum())


def _pictures(model: INSID3, concept: Concept) -> list[Encoded]:
    """Return a concept's own pictures as targets, made of its tokens, at their size in the model's square."""
    model.check(concept)
    encoder, config = model.encoder, model.config
    return [
        Encoded(
            source, encoder.name, encoder.weights_hash, config,
            PatchGrid.from_settings(inner_size(size, config), config, encoder.patch_size),
            tokens.to(encoder.device)[None],
        )
        for source, size, tokens in zip(concept.sources, concept.image_sizes, concept.tokens, strict=True)
    ]  # fmt: skip


def _mean(model: INSID3, encoded: Encoded) -> Float[Tensor, "c"]:
    return F.normalize(model.cache.debiased(encoded.tokens, model.config).mean(0), dim=0)
