"""Methods that mark a concept in a target: each is one function of one file, with the same signature."""

from insid3.concept import Concept
from insid3.config import Config
from insid3.features.cache import FeatureCache
from insid3.features.encoded import Encoded
from insid3.methods import ablations, baselines, insid3, plus
from insid3.methods.base import Method
from insid3.results import Segmentation


def segment(target: Encoded, concept: Concept, config: Config, cache: FeatureCache) -> Segmentation:
    """Mark a concept with the method that the settings ask for: the published one, "plus", or an ablation."""
    method: Method = plus.segment if config.rule == "field" else insid3.segment
    if ablations.is_ablation(config):
        method = ablations.segment
    return method(target, concept, config, cache)


METHODS: dict[str, Method] = {"insid3": segment, "nearest": baselines.nearest, "prototype": baselines.prototype}
