"""Names, facts and default settings of the backbones. The module imports no torch, so `insid3 backbones` is quick."""

import difflib
from dataclasses import dataclass, replace
from typing import Literal

from insid3.checks.numbers import told
from insid3.config import Defaults
from insid3.errors import ConfigError

Kind = Literal["LVD-1689M", "SAT-493M"]  #: DINOv3's weights: trained on pictures of the web, or of satellites


@dataclass(frozen=True)
class Backbone:
    """A backbone that can be loaded; one row of `insid3 backbones`.

    Attributes:
        name: for `load_encoder`.
        source: where the weights come from.
        architecture: name of the model in timm.
        hub: repository of the weights on the Hugging Face hub, None where there is none.
        parameters: number of parameters that are used, in millions.
        patch_size: side of a patch in pixels.
        channels: of a token.
        licence: of the weights.
        defaults: settings for the backbone, None where nobody has calibrated it.
        kind: of DINOv3's weights, where the name says it.
    """

    name: str
    source: Literal["embedded", "dinov3", "timm"]
    architecture: str
    hub: str | None
    parameters: float
    patch_size: int
    channels: int
    licence: str
    defaults: Defaults | None
    kind: Kind | None = None


_PUBLISHED = "published"
# Settings of the preset "plus" with DINOv3: weights from the literature, not calibrated here. The literature has no
# discriminant, and no `min_score` is set, since the scale of these scores is unknown.
_LITERATURE = {"background": 0.55, "votes": 0.2, "regions": 0.25, "discriminant": 0.0}
_GUESS = "as published for ViT-L, but the rank is a guess"


def _dinov3(name: str, stem: str, parameters: float, channels: int, defaults: Defaults) -> Backbone:
    # timm holds the biases of q and v only in its "qkvb" variants; the 7B model has no such variant.
    suffix = "" if name == "vit7b16" else "_qkvb"
    architecture = f"vit_{stem}_patch16_dinov3{suffix}"
    return Backbone(
        f"dinov3-{name}",
        "dinov3",
        architecture,
        f"timm/{architecture}.lvd1689m",
        parameters,
        16,
        channels,
        "DINOv3 licence",
        defaults,
    )


REGISTRY = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            "dinov2-vits14",
            "embedded",
            "vit_small_patch14_dinov2",
            None,
            18.5,
            14,
            384,
            "Apache-2.0 (wheel: MIT)",
            Defaults(518, 30, 0.7, plus={"rank": 45, "min_score": 0.525}, origin="calibrated for this package"),
        ),
        _dinov3("vits16", "small", 21.6, 384, Defaults(1024, 190, 0.6, plus=_LITERATURE, origin=_GUESS)),
        _dinov3("vits16plus", "small_plus", 28.7, 384, Defaults(1024, 190, 0.6, plus=_LITERATURE, origin=_GUESS)),
        _dinov3(
            "vitb16",
            "base",
            85.7,
            768,
            Defaults(
                1024,
                380,
                0.6,
                match_size=768,
                match_rank=20,
                plus=_LITERATURE,
                origin="published for matching; else the rank is a guess",
            ),
        ),
        _dinov3("vitl16", "large", 303.1, 1024, Defaults(1024, 500, 0.6, plus=_LITERATURE, origin=_PUBLISHED)),
        _dinov3("vith16plus", "huge_plus", 840.5, 1280, Defaults(1024, 640, 0.6, plus=_LITERATURE, origin=_GUESS)),
        _dinov3("vit7b16", "7b", 6716.0, 4096, Defaults(1024, 2000, 0.6, plus=_LITERATURE, origin=_GUESS)),
    )
}


#: Backbones trained on satellite pictures; the settings above are a guess for them.
SATELLITE_BACKBONES = {
    f"{name}-sat493m": replace(
        REGISTRY[name],
        name=f"{name}-sat493m",
        hub=f"timm/{REGISTRY[name].architecture}.sat493m",
        kind="SAT-493M",
        defaults=replace(defaults, origin="those for LVD-1689M, a guess"),
    )
    for name in ("dinov3-vitl16", "dinov3-vit7b16")
    if (defaults := REGISTRY[name].defaults)
}


def find(name: str) -> Backbone:
    """Return the backbone of a name.

    Raises:
        ConfigError: there is no such backbone.

    Example:
        >>> find("dinov3-vitl16").channels
        1024
    """
    known = {**REGISTRY, **SATELLITE_BACKBONES}
    if not isinstance(name, str):
        raise ConfigError(f"backbone must be a name, got {told(name)}")
    if name in known:
        return known[name]
    if name.startswith("timm:") and len(name) > 5:
        ending = name.rpartition(".")[2]
        kind: Kind | None = "SAT-493M" if "sat493m" in ending else "LVD-1689M" if "lvd1689m" in ending else None
        return Backbone(name, "timm", name[5:], None, 0.0, 0, 0, "see timm", None, kind)
    close = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise ConfigError(f"unknown backbone {told(name)}{hint} Known: {', '.join(known)}, and timm:NAME for other ViTs.")
