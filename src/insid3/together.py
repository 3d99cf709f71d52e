"""A folder that helps itself: what was found in some targets, as further shots for the others. Not in the paper.

One round: in more rounds errors feed on themselves.
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
from insid3.encoded import Encoded, mask_patches
from insid3.errors import ConfigError
from insid3.frame import Frame, inner_size
from insid3.images import resize_mask
from insid3.pipeline import INSID3

POOL = 64  #: targets, at most, that may help
LEAST = 8  #: targets of the pool; of fewer none helps (the literature's number: `docs/accuracy.md`)
SHOTS = 5  #: of them, at most, for each target
AGREEMENT = 0.5  #: IoU of an example's mask with what a shot finds in it; a shot counts above

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Found:
    """Where a concept is in a target.

    Attributes:
        mask: at the size that the target has in the model's square.
    """

    patches: Bool[Tensor, "n"]
    mask: Bool[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class Helper:
    """A target of the pool.

    Attributes:
        encoded: its tokens, without the picture.
        mean: unit mean of its debiased tokens.
        found: of each concept; None where it is no shot.
    """

    encoded: Encoded
    mean: Float[Tensor, "c"]
    found: tuple[Found | None, ...]


@dataclass(frozen=True, eq=False)
class Together:
    """Concepts, and the targets that help to find them; a value that other processes can be given.

    >>> pool = {path: model.encode(path) for path in pooled(paths)}
    >>> together = Together.of(model, [cat], pool.items())
    >>> for path in paths:
    ...     encoded = pool.get(path) or model.encode(path)
    ...     mask = model.segment(encoded, *together.concepts_for(model, encoded, path)).mask
    """

    concepts: Sequence[Concept]
    helpers: Mapping[Hashable, Helper]

    @classmethod
    def of(cls, model: INSID3, concepts: Sequence[Concept], pool: Iterable[tuple[Hashable, Encoded]]) -> "Together":
        """Mark the concepts in the pool's targets and keep what holds; nothing of fewer than `LEAST` targets.

        Args:
            pool: targets by what tells them apart; one is looked at after the other.

        Raises:
            ConceptError: as `INSID3.check`.
            ConfigError: tiles.
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
            helpers[key] = Helper(replace(encoded, picture=None, whole=None, _kept={}), _mean(model, encoded), found)
        if len(helpers) < LEAST:
            helpers = {key: replace(each, found=(None,) * len(concepts)) for key, each in helpers.items()}
        return cls(concepts, helpers)

    def concepts_for(self, model: INSID3, encoded: Encoded, key: Hashable = None) -> list[Concept]:
        """Each concept with the shots of the targets most similar to this one, whose own are never among them; as it
        was given where there are none. Masks are scored against the concept as it was given.

        Args:
            key: of the target, if it may be in the pool.
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
            result.append(reduce(Concept.with_shots, shots, replace(concept, given=concept)) if shots else concept)
        return result

    def encoded(self, key: Hashable, picture: UInt8[np.ndarray, "H W 3"], config: Config) -> Encoded | None:
        """A target of the pool, with its picture, as `INSID3.encode` made it; None if it is not in the pool."""
        helper = self.helpers.get(key)
        return None if helper is None else replace(helper.encoded.showing(picture, config), _kept={})


def pooled(targets: Sequence[T]) -> list[T]:
    """Those that may help: all, or `POOL` evenly spread over their order."""
    count = min(POOL, len(targets))
    return [targets[i * len(targets) // count] for i in range(count)]


def check_together(config: Config) -> None:
    """Whether targets can help each other with these settings.

    Raises:
        ConfigError: tiles, of which no shot can be made.
    """
    if config.tile is not None:
        raise ConfigError(
            "targets that help each other must be seen whole: leave out tile (--tile), or --together "
            "(of evaluate: --transductive)"
        )


def _found(
    model: INSID3, plain: INSID3, encoded: Encoded, concept: Concept, examples: Sequence[Encoded]
) -> Found | None:
    """What is marked in a target, if it leads back to where the concept is in its own pictures."""
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
    """IoU, in patches, of an example's mask and of what the shot finds there."""
    mask = plain.segment(example, shot).mask
    if not mask.any():
        return 0.0
    patches, truth = mask_patches(mask, plain.config, plain.encoder), truth.to(plain.encoder.device)
    return float((patches & truth).sum() / (patches | truth).sum())


def _pictures(model: INSID3, concept: Concept) -> list[Encoded]:
    """A concept's own pictures as targets: from its tokens, at the size that they have in the model's square."""
    model.check(concept)
    encoder, config = model.encoder, model.config
    return [
        Encoded(
            source, encoder.name, encoder.weights_hash, config,
            Frame.of(inner_size(size, config), config, encoder.patch_size), tokens.to(encoder.device)[None],
        )
        for source, size, tokens in zip(concept.sources, concept.image_sizes, concept.tokens, strict=True)
    ]  # fmt: skip


def _mean(model: INSID3, encoded: Encoded) -> Float[Tensor, "c"]:
    return F.normalize(model.derived.debiased(encoded, model.config)[0].mean(0), dim=0)
