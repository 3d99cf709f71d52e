"""The predictors of a grid of settings; they share one encoder, which keeps what it made."""

from collections.abc import Callable, Mapping
from typing import Any

from insid3.eval.companions import Companions
from insid3.eval.keep import KeptEncoder
from insid3.eval.predict import ModelPredictor, Predictor, ScoreAt
from insid3.eval.published import paper_settings
from insid3.eval.sweep import applied
from insid3.pipeline import INSID3


def model_predictors(
    load: Callable[[], INSID3],
    variants: Mapping[str, dict[str, Any]],
    paper: bool,
    score_at: ScoreAt,
    keep: int,
    companions: Companions | None = None,
) -> dict[str, Predictor]:
    """By the folder of its results, each variant's.

    Args:
        variants: settings and "method" of each.
        paper: with the refinement of the paper's results.
        keep: bytes of features of pictures that come again.
        companions: as `ModelPredictor`.
    """
    loaded = load()
    encoder = KeptEncoder(loaded.encoder, keep)
    predictors: dict[str, Predictor] = {}
    for name, changes in variants.items():
        config = applied(loaded.config, changes)
        if paper:
            config = config.but(**paper_settings(config.size))
        its = INSID3(encoder, config, applied(loaded.match_config, changes))
        predictors[name] = ModelPredictor(its, changes["method"], score_at, companions)
    return predictors
