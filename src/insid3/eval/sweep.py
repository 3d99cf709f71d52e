"""Grids of settings: their variants, and the table of results."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from typing import Any

from insid3.config import Config
from insid3.errors import ConfigError
from insid3.eval.report import table

_NAMES = ("method", *(field.name for field in fields(Config) if field.name != "max_pixels"))


def grid(sweeps: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the settings of each variant of a grid, by the variant's name.

    >>> grid(["tau=0.5,0.6", "rank=10"])
    {'tau=0.5,rank=10': {'tau': 0.5, 'rank': 10}, 'tau=0.6,rank=10': {'tau': 0.6, 'rank': 10}}

    Raises:
        ConfigError: an axis is not NAME=VALUE,VALUE, has an unknown name, or comes twice.
    """
    axes: dict[str, list[str]] = {}
    for sweep in sweeps:
        name, _, values = sweep.partition("=")
        name = name.strip().replace("-", "_")
        if name == "shots":
            raise ConfigError("--sweep shots: other shots are other episodes; run each with --shots and -o of its own")
        if name not in _NAMES:
            raise ConfigError(f"--sweep {sweep}: expected NAME=VALUE,VALUE with a name of {', '.join(_NAMES)}")
        if name in axes:
            raise ConfigError(f"--sweep {name} comes twice: list all its values in one")
        axes[name] = list(dict.fromkeys(value.strip() for value in values.split(",") if value.strip()))
        if not axes[name]:
            raise ConfigError(f"--sweep {sweep}: expected NAME=VALUE,VALUE")
    return {
        ",".join(f"{name}={value}" for name, value in zip(axes, point, strict=True)): {
            name: _parsed(name, value) for name, value in zip(axes, point, strict=True)
        }
        for point in product(*axes.values())
    }


def apply_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return the configuration of one variant; a setting of None replaces even a default that is not None."""
    given = {name: value for name, value in settings.items() if name != "method"}
    without: dict[str, Any] = {name: None for name, value in given.items() if value is None}
    return replace(config.but(**given), **without)


def text_of(variants: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results of each variant, and their difference to the first variant's, in Markdown."""
    first = next(iter(variants.values()))
    masks = [name for name, found in first["sets"].items() if "miou" in found]
    points = [name for name, found in first["sets"].items() if found.get("pck")]
    rows = []
    for variant, found in variants.items():
        cells = [_shown(found["sets"][name]["miou"]) for name in masks]
        if masks:
            known = None not in (found["miou"], first["miou"])
            cells += [_shown(found["miou"]), f"{found['miou'] - first['miou']:+.1f}" if known else ""]
        cells += [_shown((found["sets"][name]["pck"] or {}).get("0.1")) for name in points]
        rows.append([f"`{variant}`", *cells])
    head = ["settings", *masks, *["mean", "to the first"] * bool(masks), *(f"{name}, PCK@0.10" for name in points)]
    return "\n".join(["# insid3 evaluate: sweep", "", "mIoU, per cent.", "", *table(head, rows)])


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _parsed(name: str, value: str) -> Any:
    """Convert a value to the setting's type; a value that does not fit is left for `Config` to refuse."""
    kind = next((str(field.type) for field in fields(Config) if field.name == name), "str")
    if kind == "<class 'bool'>" or kind == "bool":
        return {"true": True, "false": False}.get(value.lower(), value)
    if value.lower() == "none" and "None" in kind:
        return None
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    return value
