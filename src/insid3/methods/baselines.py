"""The simplest methods on the same features, to compare with."""

from insid3.concept import Concept
from insid3.config import Config
from insid3.features.cache import FeatureCache
from insid3.features.encoded import Encoded
from insid3.methods.base import as_result
from insid3.results import Segmentation
from insid3.stages.localize import backward_votes
from insid3.stages.localize import prototype as mean_prototype


def nearest(target: Encoded, concept: Concept, config: Config, cache: FeatureCache) -> Segmentation:
    """Mark by backward matching alone: patches whose nearest one lies under the mask in half of the shots."""
    shots, debiased = cache.shots(concept, config), cache.debiased(target.tokens, config)
    matches, beaten = cache.matches(debiased, shots)
    votes = backward_votes(matches, shots.masks, beaten)
    forward = debiased @ cache.once(mean_prototype, shots.tokens, shots.masks)
    margin = (2 * votes >= concept.shots).to(forward.dtype) - 0.5
    return as_result(target, concept, config, cache, margin, forward, "no patch is most similar to one under the mask")


def prototype(target: Encoded, concept: Concept, config: Config, cache: FeatureCache) -> Segmentation:
    """Mark by thresholded similarity: patches more similar to the concept's prototype than `threshold`."""
    shots, debiased = cache.shots(concept, config), cache.debiased(target.tokens, config)
    forward = debiased @ cache.once(mean_prototype, shots.tokens, shots.masks)
    why = f"no patch is more similar than {config.threshold:g}"
    return as_result(target, concept, config, cache, forward - config.threshold, forward, why, scores=forward)
