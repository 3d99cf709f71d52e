"""What follows from tokens, each computed once: debiased tokens, prototypes, clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from insid3.concept import Concept
from insid3.config import Config, Rule
from insid3.encoded import Encoded
from insid3.positional import positional_subspace
from insid3.stages.aggregate import cluster_scores
from insid3.stages.cluster import cluster, cluster_means
from insid3.stages.debias import debias
from insid3.stages.field import agreement, background_prototype, discriminant, regions, soft_votes, spread
from insid3.stages.kmeans import kmeans
from insid3.stages.localize import backward_votes, candidates, nearest, prototype
from insid3.stages.score import score
from insid3.stages.seed import seed_cluster
from insid3.stages.smooth import Graph, neighbour_graph, smooth
from insid3.types import Encoder, Nearest


@dataclass(frozen=True, eq=False)
class Reference:
    """A concept for one basis and rank: debiased tokens, and their prototype when it is needed.

    Attributes:
        found: how many of the last shots were found, not drawn.
    """

    tokens: Sequence[Float[Tensor, "_ c"]]
    masks: Sequence[Bool[Tensor, "_"]]
    negatives: Float[Tensor, "m c"]
    found: int = 0

    @cached_property
    def prototype(self) -> Float[Tensor, "c"]:
        return prototype(self.tokens, self.masks)

    @cached_property
    def weights(self) -> Float[Tensor, "s"]:
        """Of the shots, by how well they agree with each other (`rule="field"`)."""
        return agreement(self.tokens, self.masks, self.found)

    @cached_property
    def contrast(self) -> tuple[Float[Tensor, "c"], Float[Tensor, "c"]]:
        """Prototypes of the concept and of the background most like it, of weighed shots (`rule="field"`)."""
        concept = prototype(self.tokens, self.masks, self.weights)
        return concept, background_prototype(self.tokens, self.masks, self.weights, concept)

    @cached_property
    def discriminant(self) -> Float[Tensor, "c"]:
        """The direction that tells the concept from all else in the shots (`rule="field"`)."""
        return discriminant(self.tokens, self.masks, self.weights)


@dataclass(frozen=True, eq=False)
class Evidence:
    """How much the patches of a target, of all its windows, resemble a concept (stages 1 and 2).

    Attributes:
        debiased: (n, c) the target's debiased tokens.
        forward: (n,) their similarity to the concept's prototype.
        matches: of each shot, which patches are most similar to which, both ways.
        votes: (n,) in how many shots a patch's most similar one lies under the mask.
        beaten: (n,) similarity to the negatives, where there are any.
        given: the same for the concept as it was given (`Concept.given`), where that is another.
    """

    target: Encoded
    reference: Reference
    debiased: Float[Tensor, "n c"]
    forward: Float[Tensor, "n"]
    matches: Sequence[Nearest]
    votes: Int[Tensor, "n"]
    beaten: Float[Tensor, "n"] | None
    given: "Evidence | None" = None

    @property
    def shots(self) -> int:
        return len(self.reference.tokens)

    @property
    def candidate(self) -> Bool[Tensor, "n"]:
        return candidates(self.forward, self.votes, self.shots)

    def trust(self, kept: Bool[Tensor, "n"], rule: Rule) -> float:
        """The score of a mask of these patches that `rule` made (`stages/score.py`), against the concept as it was
        given.
        """
        by, its = self.given or self, (self.given or self).reference
        return score(kept, by.candidate, by.matches, its.tokens, its.masks, self.debiased, rule)


@dataclass(frozen=True, eq=False)
class Scored:
    """The clusters of a target, of all its windows, as a concept sees them (stages 3 to 5).

    Attributes:
        labels: (n,) the cluster of each patch.
        seed: the cluster that is the concept most surely.
        scores: (k,) of each cluster, what the threshold is compared with.
    """

    labels: Int[Tensor, "n"]
    seed: int
    scores: Float[Tensor, "k"]


class Derived:
    """Of one encoder's tokens. What follows from a target or a concept lives as long as that."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._directions: dict[tuple[int, str], Tensor] = {}
        self._references: WeakKeyDictionary[Concept, dict[tuple[str, int], Reference]] = WeakKeyDictionary()

    def basis(self, config: Config) -> Float[Tensor, "c r"]:
        """B, always in float32; looked up once per size and kind of picture."""
        if not config.rank:
            return torch.zeros(self.encoder.channels, 0, device=self.encoder.device)
        key = (config.size, config.basis)
        if key not in self._directions:
            self._directions[key] = positional_subspace(self.encoder, *key)
        return self._directions[key][:, : config.rank]

    def debiased(self, target: Encoded, config: Config) -> Float[Tensor, "w n c"]:
        def compute() -> Tensor:
            result, basis = torch.empty_like(target.tokens), self.basis(config)
            for window, tokens in zip(result, target.tokens, strict=True):
                window.copy_(debias(tokens, basis))
            return result

        return target.once(("debiased", config.basis, config.rank), compute)

    def labels(self, target: Encoded, config: Config) -> Int[Tensor, "n"]:
        """Clusters of every window, numbered on from one to the next."""

        def compute() -> Tensor:
            k = config.kmeans
            found = [cluster(tokens, config.tau) if k is None else kmeans(tokens, k) for tokens in target.tokens]
            firsts = np.cumsum([0, *(int(labels.max()) + 1 for labels in found[:-1])])
            return torch.cat([labels + int(first) for labels, first in zip(found, firsts, strict=True)])

        return target.once(("labels", config.tau, config.kmeans), compute)

    def reference(self, concept: Concept, config: Config) -> Reference:
        kept = self._references.setdefault(concept, {})
        key = (config.basis, config.rank)
        if key not in kept:
            device, basis = self.encoder.device, self.basis(config)
            kept[key] = Reference(
                [self._once(debias(tokens.to(device), basis), key) for tokens in concept.tokens],
                [mask.to(device) for mask in concept.patch_masks],
                debias(concept.negatives.to(device), basis),
                concept.shots - concept.given.shots if concept.given else 0,
            )
        return kept[key]

    def _once(self, tokens: Float[Tensor, "n c"], key: tuple[str, int]) -> Float[Tensor, "n c"]:
        """What another concept of the same picture holds already, if one does."""
        others = (other for kept in self._references.values() if key in kept for other in kept[key].tokens)
        return next((other for other in others if other.shape == tokens.shape and other.equal(tokens)), tokens)

    def evidence(self, target: Encoded, concept: Concept, config: Config) -> Evidence:
        """Stages 1 and 2; a picture that shows several concepts is matched once."""
        reference, debiased = self.reference(concept, config), self.debiased(target, config).flatten(0, 1)
        known = target.once(("nearest", config.basis, config.rank), WeakTensorKeyDictionary)

        def once(queries: Tensor, keys: Tensor) -> Nearest:
            if keys not in known:
                known[keys] = nearest(queries, keys)
            found: Nearest = known[keys]
            return found

        votes = backward_votes(debiased, reference.tokens, reference.masks, reference.negatives, once)
        matches = [once(debiased, tokens) for tokens in reference.tokens]
        beaten = once(debiased, reference.negatives).similarity if len(reference.negatives) else None
        given = self.evidence(target, concept.given, config) if concept.given else None
        return Evidence(target, reference, debiased, debiased @ reference.prototype, matches, votes, beaten, given)

    def scored(self, found: Evidence, config: Config) -> Scored:
        """Stages 3 to 5, of a target that has a candidate."""
        labels, candidate = self.labels(found.target, config), found.candidate
        seed = seed_cluster(cluster_means(found.debiased, labels), found.reference.prototype, labels, candidate)
        means = cluster_means(found.target.tokens.flatten(0, 1), labels)
        return Scored(labels, seed, cluster_scores(means, found.forward, labels, candidate, seed, config.aggregation))

    def field(self, found: Evidence, config: Config) -> Float[Tensor, "n"]:
        """In the place of stages 3 to 5: in [0, 1], how surely each patch belongs to the concept."""
        labels, (concept, background) = self.labels(found.target, config), found.reference.contrast
        similarity = found.debiased @ concept
        votes = soft_votes(found.matches, found.reference.masks, found.reference.weights, found.beaten)
        values = similarity - config.background * (found.debiased @ background) + config.votes * votes
        clusters = regions(values, (similarity > 0) & (votes >= 0.5), labels)
        values = spread(values + config.regions * clusters[labels])
        if share := config.discriminant:
            values = spread((1 - share) * values + share * spread(found.debiased @ found.reference.discriminant))
        return smooth(values, self.graph(found.target), config.smoothing) if config.smoothing else values

    def graph(self, target: Encoded) -> Graph:
        """The neighbours of every patch in its window, of all windows."""

        def compute() -> Graph:
            n = target.tokens.shape[1]
            each = [neighbour_graph(tokens) for tokens in target.tokens]
            starts, ends = (torch.cat([graph[side] + i * n for i, graph in enumerate(each)]) for side in (0, 1))
            return Graph(starts, ends, torch.cat([graph.weight for graph in each]))

        return target.once(("graph",), compute)
