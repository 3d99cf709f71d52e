"""Every setting of the method, described once: the checks, the command line and the docs are made from `Config`."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from types import MappingProxyType, UnionType
from typing import Any, Literal, get_args, get_origin

from insid3.checks.numbers import is_number, is_whole, plain, told
from insid3.errors import ConfigError

Aggregation = Literal["cross-intra", "cross", "seed"]
Basis = Literal["black", "noise"]
Fit = Literal["stretch", "pad"]
Preset = Literal["published", "plus"]
Refine = Literal["none", "crf", "guided"]
Rule = Literal["clusters", "field"]
Solver = Literal["mean-field", "frank-wolfe"]
Upsample = Literal["mask", "score"]
_LARGEST_SIDE = 20_000  # pixels; no memory holds the tokens of a larger square
_BACKBONES = "the backbone's"


@dataclass(frozen=True)
class About:
    """Describe a setting, in the metadata of its field.

    Attributes:
        help: one sentence, as `--help` shows it.
        more: further sentences, for `docs/settings.md`.
        symbol: letter, the paper's where the paper has one.
        section: the paper's section.
        low: smallest value.
        high: largest value.
        quantity: noun for a number that has both bounds, such as "a share".
        default: text to show in the place of the default value.
        of_field: the setting has an effect only with rule="field".
    """

    help: str
    more: str = ""
    symbol: str = ""
    section: str = ""
    low: float = -math.inf
    high: float = math.inf
    quantity: str = ""
    default: str = ""
    of_field: bool = False


def _about(help: str, *more: str, **facts: Any) -> dict[str, About]:
    return {"about": About(help, " ".join(more), **facts)}


@dataclass(frozen=True)
class Config:
    """Hold the settings of one model. The first four default to the backbone's own values.

    `docs/settings.md` describes each setting, from the metadata below.

    >>> Config(size=518, rank=30, tau=0.7).but(threshold=0.4).threshold
    0.4
    """

    # fmt: off
    size: int = field(metadata=_about(
        "Side in pixels of the square that the encoder sees; a multiple of the patch size.",
        symbol="R", low=1, high=_LARGEST_SIDE, default=_BACKBONES,
    ))
    rank: int = field(metadata=_about(
        "Dimensions of the positional subspace that debiasing removes; 0 removes nothing.",
        symbol="r", section="3.1", low=0, default=_BACKBONES,
    ))
    tau: float = field(metadata=_about(
        "Clusters merge while their mean cosine similarity is above this.",
        symbol="τ", section="3.2", low=-1, high=1, quantity="a cosine similarity", default=_BACKBONES,
    ))
    threshold: float = field(default=0.2, metadata=_about(
        "Clusters that score above this belong to the mask; with --rule field, pixels do.",
        "Pixels of a field have values in [0, 1].", symbol="α", section="3.4", default=_BACKBONES,
    ))
    rule: Rule = field(default="clusters", metadata=_about(
        "What decides: clusters (published), or one soft field (preset plus), which has the settings marked Field.",
        "These have no effect with `clusters`; the field is computed in `stages/plus/evidence_field.py`.",
    ))
    background: float = field(default=0.8, metadata=_about(
        "Weight of the similarity to the background that is most easily mistaken for the concept.",
        "0 leaves this part out.", low=0, of_field=True,
    ))
    votes: float = field(default=0.3, metadata=_about(
        "Weight of the backward matching.", "0 leaves this part out.", low=0, of_field=True,
    ))
    regions: float = field(default=0.5, metadata=_about(
        "Weight of the clusters' evidence.", "0 leaves this part out.", low=0, of_field=True,
    ))
    discriminant: float = field(default=0.6, metadata=_about(
        "Share of the linear discriminant between the example's concept and all else in the example, 0 to 1.",
        "0 leaves this part out.", low=0, high=1, quantity="a share", of_field=True,
    ))
    smoothing: float = field(default=4.0, metadata=_about(
        "How much alike patches that look alike become; 0 leaves them as they are.",
        "The graph of these patches is built in `stages/plus/smooth.py`.", symbol="λ", low=0, of_field=True,
    ))
    closer: bool = field(default=False, metadata=_about(
        "Look at small masks again, closer; this costs a second encoding.",
        'Goes with `upsample="score"`, not with `tile` (`features/zoom.py`).', of_field=True,
    ))
    basis: Basis = field(default="black", metadata=_about(
        "Picture that shows the positional subspace: black (published code) or noise (paper).", section="3.1",
    ))
    aggregation: Aggregation = field(default="cross-intra", metadata=_about(
        "Ablation: what joins clusters to the seed: cross and intra similarity (published), cross alone, or nothing.",
        "With `seed` the seed cluster is the mask, whatever the threshold.", section="3.4",
    ))
    kmeans: int | None = field(default=None, metadata=_about(
        "Ablation: k of k-means, instead of average linkage; tau has no effect then.",
        symbol="k", section="3.2", low=1, default="average linkage",
    ))
    keep_seed: bool = field(default=False, metadata=_about(
        "Always keep the seed cluster in the mask (paper); the published code may drop it.", section="3.4",
    ))
    fit: Fit = field(default="stretch", metadata=_about(
        "How a picture becomes a square: stretch (published), or pad to keep its aspect ratio.",
    ))
    tile: int | None = field(default=None, metadata=_about(
        "Side in pixels of the target's tiles, for small objects in large pictures.",
        "The encoder sees each tile as a square of its own.",
        low=1, high=_LARGEST_SIDE, default="the target is seen whole",
    ))
    overlap: float = field(default=0.25, metadata=_about(
        "Share of a tile's side that the next tile has in common with it, at least.",
        low=0, high=0.9, quantity="a share of the tile's side",
    ))
    upsample: Upsample = field(default="mask", metadata=_about(
        "What is enlarged from patches to pixels before the cut: the mask (published) or the score.",
        "The score is how far each patch is above `threshold`. Tiles always blend scores.",
    ))
    refine: Refine = field(default="none", metadata=_about(
        "How the edge is moved to the picture's own: none (published code), crf (the paper's results), or guided "
        "(faster).",
    ))
    solver: Solver = field(default="mean-field", metadata=_about(
        "Solver of the CRF; frank-wolfe is the published code's.",
    ))
    crf_size: int | None = field(default=None, metadata=_about(
        "Side in pixels of the square, or of the tile, on which the edge is refined, by crf or guided.",
        "A tile is never enlarged for refining.", low=64, high=_LARGEST_SIDE, default="size, at most 640",
    ))
    min_score: float = field(default=0.0, metadata=_about(
        "Empty masks that score below this, from 0 to 1: the concept is taken to be absent there.",
        "The score is `Segmentation.score`.", low=0, high=1, quantity="a score", default="0.0; plus: the backbone's",
    ))
    max_pixels: int = field(default=89_478_485, metadata=_about(  # where Pillow starts to warn of decompression bombs
        "Refuse pictures with more pixels than this, before they are decoded.", low=1,
    ))
    stretch: tuple[float, float] | None = field(default=None, metadata=_about(
        "LOW,HIGH: the numbers that become black and white, such as 0,4095 for 12 bits; also in 8-bit pictures.",
        "In Python a pair of numbers, or the text.", default="8 bits as they are, others by each picture's own range",
    ))
    # fmt: on

    def __post_init__(self) -> None:
        for own in fields(self):
            value = plain(getattr(self, own.name))
            object.__setattr__(self, own.name, as_range(value) if own.name == "stretch" else value)
            if not (value is None and own.default is None):
                _check(own, value)

    @property
    def refine_side(self) -> int:
        """Side in pixels of the square on which the edge is refined."""
        return self.crf_size or min(self.size, 640)

    def but(self, **changes: Any) -> "Config":
        """Return a copy with `changes`; None means unchanged.

        Raises:
            ConfigError: a name is unknown, or a value is invalid.
        """
        known = [own.name for own in fields(self)]
        for name in changes:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {close[0]!r}?" if close else "."
                raise ConfigError(f"unknown setting {name!r}{hint} The settings are {', '.join(known)}.")
        return replace(self, **_given(changes))

    def check(self, encoder: str, patch_size: int, channels: int) -> None:
        """Check that an encoder can work with these settings.

        Raises:
            ConfigError: the size is no multiple of the patch size, or the rank leaves nothing.
        """
        if self.size % patch_size:
            lower = self.size // patch_size * patch_size
            near = " or ".join(str(side) for side in (lower, lower + patch_size) if side)
            raise ConfigError(
                f"size {self.size} is not a multiple of the patch size {patch_size} of {encoder}: use {near}"
            )
        patches = (self.size // patch_size) ** 2
        if self.rank >= min(channels, patches):
            raise ConfigError(
                f"rank {self.rank} leaves nothing of {encoder}'s {channels} channels at {patches} patches: "
                f"use less than {min(channels, patches)}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings by name, as plain values."""
        return asdict(self)


#: Settings of the preset "plus" with every backbone; `docs/accuracy.md` measures them.
PLUS: Mapping[str, Any] = MappingProxyType({"rule": "field", "threshold": 0.5, "upsample": "score", "refine": "guided"})


@dataclass(frozen=True)
class Defaults:
    """Hold the settings that a backbone brings along: to segment, to match where they differ, and for "plus".

    Attributes:
        plus: settings of the preset besides `PLUS`; found by `benchmarks/calibrate.py`, or not calibrated.
        origin: where the settings come from, as `insid3 backbones` says it.
    """

    size: int
    rank: int
    tau: float
    threshold: float = 0.2
    match_size: int | None = None
    match_rank: int | None = None
    plus: Mapping[str, Any] = field(default_factory=dict)
    origin: str = "not calibrated"

    def configs(self, preset: str | None = None, **changes: Any) -> tuple[Config, Config]:
        """Return the settings to segment with and those to match with; explicit `changes` override both.

        Args:
            preset: "published" or "plus"; None means "published".

        Raises:
            ConfigError: the preset or a setting is unknown, or a value is invalid.
        """
        if preset is not None and not (isinstance(preset, str) and preset in get_args(Preset)):
            raise ConfigError(f"preset must be one of {', '.join(get_args(Preset))}, got {told(preset)}")
        base = Config(self.size, self.rank, self.tau, self.threshold)
        match = base.but(size=self.match_size, rank=self.match_rank)
        better = {**PLUS, **self.plus} if preset == "plus" else {}
        return base.but(**{**better, **_given(changes)}), match.but(**changes)


def flag(setting: str) -> str:
    """Return the option of the command line for a setting."""
    return "--tile-overlap" if setting == "overlap" else f"--{setting.replace('_', '-')}"  # concepts overlap too


def kind_of(setting: Field[Any]) -> Any:
    """Return the type of a setting's values, None left aside."""
    return get_args(setting.type)[0] if isinstance(setting.type, UnionType) else setting.type


def default_of(setting: Field[Any]) -> str:
    """Return the default of a setting as help and docs show it, with that of the preset "plus" where this differs."""
    about: About = setting.metadata["about"]
    value = about.default or ("off" if setting.default is False else str(setting.default))
    return f"{value}; plus: {PLUS[setting.name]}" if setting.name in PLUS else value


def as_range(value: Any) -> tuple[float, float] | None:
    """Return the numbers that become black and white, from a sequence or a text such as "0,4095"; None from None.

    Raises:
        ConfigError: `value` is not two finite numbers, the lower first.
    """
    if value is None:
        return None
    parts = value.strip().removeprefix("(").removesuffix(")").split(",") if isinstance(value, str) else value
    try:
        low, high = (_bound(plain(part)) for part in parts)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise ConfigError(f"stretch must be two numbers, the lower first, as 0,4095; got {told(value)}")
    return low, high


def _bound(value: Any) -> float:
    number = float(value) if isinstance(value, str) else value
    if not is_number(number):
        raise ValueError
    return float(number)


def _given(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if value is not None}


def _check(setting: Field[Any], value: Any) -> None:
    name, kind, about = setting.name, kind_of(setting), setting.metadata["about"]
    if kind is int:
        least = min(about.low, 1)
        if not is_whole(value) or value < least:
            raise ConfigError(f"{name} must be a whole number of {least} or more, got {told(value)}")
        if value > about.high:
            raise ConfigError(f"{name} must be {about.high} or less, got {value}")
    elif kind is float and not is_number(value):
        raise ConfigError(f"{name} must be a number, got {told(value)}")
    elif kind is bool and not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, got {told(value)}")
    elif get_origin(kind) is Literal and not (isinstance(value, str) and value in get_args(kind)):
        raise ConfigError(f"{name} must be one of {', '.join(get_args(kind))}, got {told(value)}")
    if kind not in (int, float) or about.low <= value <= about.high:
        return
    if about.quantity and not (about.of_field and value < 0):
        raise ConfigError(f"{name} is {about.quantity} in [{about.low}, {about.high}], got {value}")
    raise ConfigError(f"{name} must be {about.low} or more, got {value}")
