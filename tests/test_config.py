"""Settings: defaults, checks, messages."""

import pytest

from insid3 import Config, ConfigError
from insid3.backbones import REGISTRY, find

GOOD = Config(518, 30, 0.7)


def test_defaults_are_the_published_ones() -> None:
    assert (GOOD.threshold, GOOD.basis, GOOD.keep_seed) == (0.2, "black", False)
    assert (GOOD.aggregation, GOOD.kmeans) == ("cross-intra", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size must be a whole number of 1 or more, got 0"),
        ({"size": 518.0}, "size must be a whole number"),
        ({"size": True}, "size must be a whole number"),
        ({"rank": -1}, "rank must be a whole number of 0 or more, got -1"),
        ({"tau": 1.5}, r"tau is a cosine similarity in \[-1, 1\], got 1.5"),
        ({"tau": "0.5"}, "tau must be a number, got '0.5'"),
        ({"tau": float("nan")}, "tau must be a number"),
        ({"threshold": True}, "threshold must be a number"),
        ({"basis": "white"}, "basis must be one of black, noise, got 'white'"),
        ({"aggregation": "intra"}, "aggregation must be one of cross-intra, cross, seed, got 'intra'"),
        ({"kmeans": 0}, "kmeans must be a whole number of 1 or more, got 0"),
        ({"kmeans": 2.5}, "kmeans must be a whole number of 1 or more, got 2.5"),
        ({"keep_seed": 1}, "keep_seed must be True or False, got 1"),
        ({"treshold": 0.1}, "unknown setting 'treshold'; did you mean 'threshold'"),
        ({"colour": 1}, "unknown setting 'colour'. The settings are size, rank"),
    ],
)
def test_what_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GOOD.but(**change)


def test_none_means_unchanged() -> None:
    assert GOOD.but(size=None, tau=0.5) == Config(size=518, rank=30, tau=0.5)


def test_published_settings_per_backbone() -> None:
    table = {name: (b.defaults.size, b.defaults.rank, b.defaults.tau) for name, b in REGISTRY.items() if b.defaults}
    assert table == {
        "dinov2-vits14": (518, 30, 0.7),
        "dinov3-vits16": (1024, 190, 0.6),
        "dinov3-vits16plus": (1024, 190, 0.6),
        "dinov3-vitb16": (1024, 380, 0.6),
        "dinov3-vitl16": (1024, 500, 0.6),
        "dinov3-vith16plus": (1024, 640, 0.6),
        "dinov3-vit7b16": (1024, 2000, 0.6),
    }


def test_explicit_settings_override_matching_too() -> None:
    defaults = find("dinov3-vitb16").defaults
    assert defaults is not None
    segmentation, matching = defaults.configs()
    assert (segmentation.size, segmentation.rank) == (1024, 380)
    assert (matching.size, matching.rank) == (768, 20)
    segmentation, matching = defaults.configs(size=512, rank=99)
    assert (segmentation.size, segmentation.rank) == (matching.size, matching.rank) == (512, 99)
