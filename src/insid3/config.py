"""Every knob of the method: its symbol, meaning, unit and default."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from insid3.errors import ConfigError
from insid3.numbers import is_number, is_whole, plain, told

Aggregation = Literal["cross-intra", "cross", "seed"]
Basis = Literal["black", "noise"]
Fit = Literal["stretch", "pad"]
Preset = Literal["published", "plus"]
Refine = Literal["none", "crf", "guided"]
Rule = Literal["clusters", "field"]
Solver = Literal["mean-field", "frank-wolfe"]
Upsample = Literal["mask", "score"]
_CHOICES = {
    "rule": Rule, "basis": Basis, "aggregation": Aggregation, "fit": Fit, "upsample": Upsample, "refine": Refine,
    "solver": Solver,
}  # fmt: skip
_OPTIONAL = ("kmeans", "tile", "crf_size")
_LARGEST_SIDE = 20_000  # pixels; no memory holds the tokens of a larger square


def flag(setting: str) -> str:
    """What a setting is called on the command line."""
    return "--tile-overlap" if setting == "overlap" else f"--{setting.replace('_', '-')}"  # concepts overlap too


@dataclass(frozen=True)
class Config:
    """Settings of one model. The first four default to the backbone's own values.

    Attributes:
        size: R, side in pixels of the square that the encoder sees; a multiple of the patch size.
        rank: r, dimensions of the positional subspace that debiasing removes (paper 3.1); 0 removes nothing.
        tau: clusters merge while their mean cosine similarity is above this (paper 3.2), in [-1, 1].
        threshold: alpha, clusters whose score is above this belong to the mask (paper 3.4); with rule="field" pixels
            whose field is, in [0, 1].
        rule: what decides: gates, seed and clusters ("clusters", published), or one soft "field" (`stages/field.py`),
            to which the next five belong.
        background: weight of the similarity to what the concept is most easily mistaken for; 0 leaves it out.
        votes: weight of the backward matching; likewise.
        regions: weight of the clusters' evidence; likewise.
        discriminant: share of the field that is the reference's own linear discriminant, in [0, 1]; likewise.
        smoothing: lambda, how much alike patches that look alike become (`stages/smooth.py`); likewise.
        closer: look again, closer, at what is small; it costs a second encoding (`stages/closer.py`).
        basis: picture that shows the positional subspace: "black" (published code) or "noise" (paper).
        aggregation: what makes clusters join the seed: "cross-intra" (published), or for ablations only "cross"
            similarity, or nothing ("seed": its cluster is the mask, whatever the threshold).
        kmeans: for ablations, k of k-means in the place of average linkage; `tau` has no effect then.
        keep_seed: the seed cluster always stays in the mask (paper); the published code may drop it.
        fit: how a picture becomes a square: "stretch" ignores its aspect ratio (published), "pad" keeps it.
        tile: side in pixels of the target's tiles, each of which the encoder sees as a square of its own; for small
            objects in large pictures. None: the target is seen whole.
        overlap: share of its side that a tile has in common with the next, at least, in [0, 0.9].
        upsample: what is enlarged from patches to pixels and then cut: the "mask" (published) or its "score", how far
            each patch is above `threshold`; tiles always blend scores.
        refine: what moves the edge to where the picture has one: "none" (the published code's default), a dense "crf"
            (the paper's results) or a "guided" filter.
        solver: of the CRF: "mean-field", or "frank-wolfe" (what the published code iterates).
        crf_size: side in pixels, 64 or more, of the square on which the edge is refined, whichever way; with tiles the
            side of a tile, which is never enlarged for it. None: the smaller of `size` and 640.
        min_score: masks whose score (`Segmentation.score`) is below this are emptied: the concept is not there.
        max_pixels: pictures with more pixels than this are refused before they are decoded.
        stretch: (low, high), the numbers in a picture that become black and white; also text, "0,4095". None: pictures
            of 8 bits stay as they are, others are shown by their own range (`depth.py`).
    """

    size: int
    rank: int
    tau: float
    threshold: float = 0.2
    rule: Rule = "clusters"
    background: float = 0.8
    votes: float = 0.3
    regions: float = 0.5
    discriminant: float = 0.6
    smoothing: float = 4.0
    closer: bool = False
    basis: Basis = "black"
    aggregation: Aggregation = "cross-intra"
    kmeans: int | None = None
    keep_seed: bool = False
    fit: Fit = "stretch"
    tile: int | None = None
    overlap: float = 0.25
    upsample: Upsample = "mask"
    refine: Refine = "none"
    solver: Solver = "mean-field"
    crf_size: int | None = None
    min_score: float = 0.0
    max_pixels: int = 89_478_485  # where Pillow starts to warn of decompression bombs
    stretch: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in (own.name for own in fields(self)):
            object.__setattr__(self, name, plain(getattr(self, name)))
        for name in ("size", "rank", "max_pixels", *_OPTIONAL):
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if not is_whole(value) or value < (name != "rank"):
                raise ConfigError(f"{name} must be a whole number of {int(name != 'rank')} or more, got {told(value)}")
            if name in ("size", "tile", "crf_size") and value > _LARGEST_SIDE:
                raise ConfigError(f"{name} must be {_LARGEST_SIDE} or less, got {value}")
        if self.crf_size is not None and self.crf_size < 64:
            raise ConfigError(f"crf_size must be 64 or more, got {self.crf_size}")
        weights = ("background", "votes", "regions", "discriminant", "smoothing")
        for name in ("tau", "threshold", "overlap", "min_score", *weights):
            value = getattr(self, name)
            if not is_number(value):
                raise ConfigError(f"{name} must be a number, got {told(value)}")
            if name in weights and value < 0:
                raise ConfigError(f"{name} must be 0 or more, got {value}")
        if not -1 <= self.tau <= 1:
            raise ConfigError(f"tau is a cosine similarity in [-1, 1], got {self.tau}")
        if not 0 <= self.overlap <= 0.9:
            raise ConfigError(f"overlap is a share of the tile's side in [0, 0.9], got {self.overlap}")
        if not 0 <= self.min_score <= 1:
            raise ConfigError(f"min_score is a score in [0, 1], got {self.min_score}")
        if self.discriminant > 1:
            raise ConfigError(f"discriminant is a share in [0, 1], got {self.discriminant}")
        for name, kind in _CHOICES.items():
            value = getattr(self, name)
            if not isinstance(value, str) or value not in get_args(kind):
                raise ConfigError(f"{name} must be one of {', '.join(get_args(kind))}, got {told(value)}")
        object.__setattr__(self, "stretch", as_range(self.stretch))
        for name in ("keep_seed", "closer"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be True or False, got {told(getattr(self, name))}")

    @property
    def refine_side(self) -> int:
        """Side in pixels of the square on which the edge is refined."""
        return self.crf_size or min(self.size, 640)

    def but(self, **changes: Any) -> "Config":
        """A copy with `changes`; an unknown name is an error, None means unchanged.

        Raises:
            ConfigError: unknown name or invalid value.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {close[0]!r}?" if close else "."
                raise ConfigError(f"unknown setting {name!r}{hint} The settings are {', '.join(known)}.")
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def check(self, encoder: str, patch_size: int, channels: int) -> None:
        """Whether an encoder can work with these settings.

        Raises:
            ConfigError: a size that is no multiple of the patch size, or a rank that leaves nothing.
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
        return asdict(self)


#: The preset "plus", whatever the backbone: what `docs/accuracy.md` measures.
PLUS: Mapping[str, Any] = MappingProxyType({"rule": "field", "threshold": 0.5, "upsample": "score", "refine": "guided"})


@dataclass(frozen=True)
class Defaults:
    """What a backbone brings along: settings for segmentation, for matching where they differ, and for "plus".

    Attributes:
        plus: what the preset sets besides `PLUS`; found by `benchmarks/calibrate.py`, or not calibrated.
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
        """(segmentation, matching) settings; explicit `changes` override both.

        Args:
            preset: "published" or "plus"; None means "published".

        Raises:
            ConfigError: unknown preset or setting, or an invalid value.
        """
        if preset is not None and not (isinstance(preset, str) and preset in get_args(Preset)):
            raise ConfigError(f"preset must be one of {', '.join(get_args(Preset))}, got {told(preset)}")
        base = Config(self.size, self.rank, self.tau, self.threshold)
        match = base.but(size=self.match_size, rank=self.match_rank)
        better = {**PLUS, **self.plus} if preset == "plus" else {}
        return base.but(**{**better, **_given(changes)}), match.but(**changes)


def as_range(value: Any) -> tuple[float, float] | None:
    """The numbers that become black and white, out of a sequence or text, "0,4095"; None out of None.

    Raises:
        ConfigError: not two finite numbers, the lower first.
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
