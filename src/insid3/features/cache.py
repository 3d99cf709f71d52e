"""Results that follow from tokens, each computed once and kept for as long as the tokens live."""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from insid3.concept import Concept
from insid3.config import Config
from insid3.features.positional_basis import positional_subspace
from insid3.stages.debias import debias
from insid3.stages.localize import nearest
from insid3.types import Encoder, Nearest

T = TypeVar("T")


class Shots(NamedTuple):
    """A concept's reference pictures for one basis, on the encoder's device.

    Attributes:
        tokens: each shot's (n, c) debiased tokens.
        masks: each shot's (n,) patches of the concept.
        negatives: (m, c) debiased tokens of pictures without the concept.
        found: how many of the last shots were found by the model and not drawn by a person.
    """

    tokens: Sequence[Float[Tensor, "_ c"]]
    masks: Sequence[Bool[Tensor, "_"]]
    negatives: Float[Tensor, "m c"]
    found: int


class FeatureCache:
    """Call functions of tokens once, and keep their results for as long as all of the tokens live.

    >>> cache = FeatureCache(encoder)
    >>> labels = cache.once(cluster, target.tokens, 0.6)
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._kept = _Kept()
        self._firsts: WeakValueDictionary[bytes, Tensor] = WeakValueDictionary()

    def once(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return `function(*arguments)`, computed by the first call with these arguments.

        Args:
            function: a pure function.
            arguments: tensors and sequences of tensors, told apart by identity; everything else by its value.
        """
        return self.kept(lambda: function(*arguments), function, *arguments)

    def kept(self, compute: Callable[[], T], *key: Any) -> T:
        """Return what `compute` gave when it was first called with this key; tensors in the key as in `once`."""
        place, rest = self._kept, list[Hashable]()
        for part in key:
            several = isinstance(part, list | tuple) and bool(part) and isinstance(part[0], Tensor)
            tensors = part if several else [part] if isinstance(part, Tensor) else []
            for tensor in tensors:
                place = place.below(tensor)
            rest.append((Tensor, len(tensors), several) if tensors else part)
        if tuple(rest) not in place.values:
            found = compute()
            if any(found is one for one in key):  # would keep itself alive
                return found
            place.values[tuple(rest)] = found
        value: T = place.values[tuple(rest)]
        return value

    def forget(self, tokens: Tensor, *, but: Callable[..., Any] | None = None) -> None:
        """Drop what follows from these tokens, all of which can be computed again.

        Args:
            but: a function of these tokens alone, whose results stay.
        """
        place = self._kept.tensors.pop(tokens, None)
        if place is not None and but is not None:
            values = {key: value for key, value in place.values.items() if key[0] is but}
            self._kept.below(tokens).values.update(values)

    def basis(self, config: Config) -> Float[Tensor, "c r"]:
        """Return B, the positional subspace (paper 3.1), in float32."""
        size, kind, encoder = config.size, config.basis, self.encoder  # which need not be hashable
        if not config.rank:
            return self.kept(lambda: torch.zeros(encoder.channels, 0, device=encoder.device), "no directions")
        directions = self.kept(lambda: positional_subspace(encoder, size, kind), positional_subspace, size, kind)
        return self.once(_leading, directions, config.rank)

    def debiased(self, tokens: Float[Tensor, "w _ c"], config: Config) -> Float[Tensor, "n c"]:
        """Return the debiased tokens of all windows of a target (paper 3.1)."""
        return self.once(_debiased_windows, tokens, self.basis(config))

    def shots(self, concept: Concept, config: Config) -> Shots:
        """Return the debiased references of a concept (paper 3.1); concepts of one picture share its tokens."""
        basis, device = self.basis(config), self.encoder.device
        return Shots(
            [self.once(_debiased_on, self._first_of_equals(tokens), basis) for tokens in concept.tokens],
            [self.once(Tensor.to, mask, device) for mask in concept.patch_masks],
            self.once(_debiased_on, concept.negatives, basis),
            concept.shots - concept.drawn.shots if concept.drawn else 0,
        )

    def matches(
        self, debiased: Float[Tensor, "n c"], shots: Shots
    ) -> tuple[Sequence[Nearest], Float[Tensor, "n"] | None]:
        """Return each shot's patches nearest to a target's, both ways, and the similarity to the negatives, if any."""
        each = [self.once(nearest, debiased, tokens) for tokens in shots.tokens]
        return each, self.once(nearest, debiased, shots.negatives).similarity if len(shots.negatives) else None

    def _first_of_equals(self, tokens: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """Return the first tensor of these values that still lives."""
        return self._firsts.setdefault(self.once(_fingerprint, tokens), tokens)


class _Kept:
    """Values by their keys, and what depends on a further tensor for as long as that lives."""

    def __init__(self) -> None:
        self.values: dict[tuple[Hashable, ...], Any] = {}
        self.tensors: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def below(self, tensor: Tensor) -> "_Kept":
        if tensor not in self.tensors:
            self.tensors[tensor] = _Kept()
        found: _Kept = self.tensors[tensor]
        return found


def _leading(directions: Float[Tensor, "c d"], rank: int) -> Float[Tensor, "c r"]:
    return directions[:, :rank]


def _debiased_on(tokens: Float[Tensor, "n c"], basis: Float[Tensor, "c r"]) -> Float[Tensor, "n c"]:
    return debias(tokens.to(basis.device), basis)


def _debiased_windows(tokens: Float[Tensor, "w _ c"], basis: Float[Tensor, "c r"]) -> Float[Tensor, "n c"]:
    """Debias one window after the other: temporary memory does not grow with their number."""
    result = torch.empty_like(tokens)
    for window, raw in zip(result, tokens, strict=True):
        window.copy_(debias(raw, basis))
    return result.flatten(0, 1)


def _fingerprint(tokens: Tensor) -> bytes:
    return hashlib.blake2b(tokens.cpu().contiguous().numpy().tobytes() + str(tuple(tokens.shape)).encode()).digest()
