"""The settings that took effect in a run."""

from collections.abc import Iterator, Mapping
from typing import Any

_FIELD = ("background", "votes", "regions", "discriminant", "smoothing", "closer")


def used_settings(settings: Mapping[str, Any], *, points: bool = False) -> dict[str, Any]:
    """Return the settings that took effect, in their order, without those that are off or of another method.

    Args:
        settings: settings of a run (`Predictor.settings`).
        points: whether to return the settings of matching points instead of marking.
    """
    config = settings["match_config"] if points else settings["config"]
    names = {"size", "rank", "stretch", "fit", *(_marking(settings, config) if not points else ())}
    names |= {"basis"} if config.get("rank") else set()
    return {name: value for name, value in config.items() if name in names and value is not None}


def _marking(settings: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    method, rule = settings["method"], config.get("rule", "clusters")
    by_field = method == "insid3" and rule == "field"
    by_clusters = method == "insid3" and not by_field
    yield from ("refine", "tile")
    if config.get("tile") is not None:
        yield "overlap"
    else:
        yield "upsample"  # tiles always blend scores
    if config.get("refine", "none") != "none":
        yield "crf_size"
    if config.get("refine") == "crf":
        yield "solver"
    if config.get("min_score"):
        yield "min_score"
    if method == "prototype" or by_field or (by_clusters and config.get("aggregation") != "seed"):
        yield "threshold"
    if method == "insid3":
        yield "rule"
    if by_clusters or (by_field and config.get("regions")):
        yield "tau" if config.get("kmeans") is None else "kmeans"
    if by_clusters:
        yield from ("aggregation", *(["keep_seed"] if config.get("keep_seed") else []))
    if by_field:
        yield from (name for name in _FIELD if config.get(name))
