"""The predictors of a grid of settings, which share one encoder and its cache."""

from collections.abc import Callable, Mapping
from typing import Any

from insid3.eval.cached_encoder import CachedEncoder
from insid3.eval.companions import Companions
from insid3.eval.predict import ModelPredictor, Predictor, ScoreAt
from insid3.eval.published import paper_settings
from insid3.eval.sweep import apply_settings
from insid3.features.cache import FeatureCache
from insid3.model import INSID3


def model_predictors(
    load: Callable[[], INSID3],
    variants: Mapping[str, dict[str, Any]],
    paper: bool,
    score_at: ScoreAt,
    keep: int,
    companions: Companions | None = None,
) -> dict[str, Predictor]:
    """Return the predictor of each variant, by the folder of its results.

    Args:
        variants: settings, with "method", of each variant.
        paper: whether to refine masks as for the paper's results.
        keep: bytes of tokens that are kept in memory.
        companions: helper targets, as for `ModelPredictor`.
    """
    loaded = load()
    encoder = CachedEncoder(loaded.encoder, keep)
    cache = FeatureCache(encoder)
    predictors: dict[str, Predictor] = {}
    for name, changes in variants.items():
        config = apply_settings(loaded.config, changes)
        if paper:
            config = config.but(**paper_settings(config.size))
        model = INSID3(encoder, config, apply_settings(loaded.match_config, changes), cache)
        predictors[name] = ModelPredictor(model, changes["method"], score_at, companions)
    return predictors
