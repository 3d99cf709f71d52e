"""Settings: defaults, checks, messages."""

import json
import pickle
import sys
from dataclasses import fields
from typing import Any, get_args

import numpy as np
import pytest
import torch

from insid3 import Config, ConfigError
from insid3.backbones import REGISTRY, find
from insid3.config import About, Defaults, default_of, flag, kind_of
from insid3.imaging.points import checked_points

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
        ({"rule": "gates"}, "rule must be one of clusters, field, got 'gates'"),
        ({"smoothing": -1}, "smoothing must be 0 or more, got -1"),
        ({"discriminant": 1.1}, r"discriminant is a share in \[0, 1\], got 1.1"),
        ({"discriminant": -0.1}, "discriminant must be 0 or more, got -0.1"),
        ({"regions": float("inf")}, "regions must be a number, got inf"),
        ({"closer": 1}, "closer must be True or False, got 1"),
        ({"keep_seed": 1}, "keep_seed must be True or False, got 1"),
        ({"treshold": 0.1}, "unknown setting 'treshold'; did you mean 'threshold'"),
        ({"zzz": 1}, "unknown setting 'zzz'. The settings are size, rank"),
    ],
)
def test_what_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GOOD.but(**change)


@pytest.mark.parametrize("given", ["0,4095", "(0, 4095)", [0, 4095], (0.0, 4095), ["0", "4095"]])
def test_a_range_is_two_numbers_however_it_is_given(given: Any) -> None:
    config = GOOD.but(stretch=given)
    assert config.stretch == (0.0, 4095.0)
    assert Config(**json.loads(json.dumps(config.as_dict()))) == config
    assert Config(**GOOD.as_dict()).stretch is None


@pytest.mark.parametrize(
    "given", ["7,0", "5", "", "a,b", (1, 1), [1, 2, 3], (0, float("inf")), (float("nan"), 1), (True, 2), 7, {"low": 1}]
)
def test_a_range_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="stretch must be two numbers, the lower first, as 0,4095; got "):
        GOOD.but(stretch=given)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("size", np.int64(280), 280), ("size", np.uint16(280), 280), ("size", np.array(280), 280),
        ("size", torch.tensor(280), 280), ("rank", np.int32(0), 0), ("tile", np.int64(280), 280),
        ("tau", np.float32(0.5), 0.5), ("tau", np.array(0.5), 0.5), ("tau", 1, 1),
        ("threshold", np.float16(0.25), 0.25),
        ("closer", np.bool_(True), True), ("keep_seed", np.array(False), False), ("basis", np.str_("noise"), "noise"),
        ("stretch", np.array([0, 4095]), (0.0, 4095.0)), ("stretch", torch.tensor([0.0, 1.0]), (0.0, 1.0)),
        ("stretch", (np.int64(0), np.float32(2)), (0.0, 2.0)),
    ],
)  # fmt: skip
def test_numbers_of_numpy_are_numbers(name: str, given: Any, expected: object) -> None:
    """And become Python's, so that settings can be written, compared and shown."""
    value = getattr(GOOD.but(**{name: given}), name)
    assert value == expected
    assert type(value) is type(expected)
    assert type(getattr(Defaults(518, 30, 0.7).configs(**{name: given})[0], name)) is type(expected)
    json.dumps(GOOD.but(**{name: given}).as_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tau": np.bool_(True)}, "tau must be a number, got True$"),
        ({"size": np.bool_(True)}, "size must be a whole number of 1 or more, got True$"),
        ({"size": np.float32(280)}, "size must be a whole number of 1 or more, got 280.0$"),
        ({"size": 10**5000}, r"size must be a whole number of 1 or more, got a number of about 2\*\*16609$"),
        ({"size": 10**9}, "size must be 20000 or less, got 1000000000$"),
        ({"tau": 10**400}, r"tau must be a number, got a number of about 2\*\*1328$"),
        ({"tau": np.array([1.0, 2.0])}, "tau must be a number, got an array of shape 2$"),
        ({"tau": b"0.5"}, "tau must be a number, got bytes that read '0.5'$"),
        ({"basis": b"black"}, "basis must be one of black, noise, got bytes that read 'black'$"),
        ({"basis": np.array(["a", "b"])}, "basis must be one of black, noise, got an array of shape 2$"),
        ({"refine": ["none"]}, r"refine must be one of none, crf, guided, got \['none'\]$"),
        ({"stretch": (np.float32(2), np.int64(1))}, r"got \(2.0, 1\)$"),
        ({"stretch": (0, 10**400)}, r"got \(0, a number of about 2\*\*1328\)$"),
        ({"stretch": (np.bool_(True), 2)}, r"got \(True, 2\)$"),
        ({"stretch": b"0,1"}, "got bytes that read '0,1'$"),
        ({"closer": object()}, "closer must be True or False, got something of type object$"),
        ({"tau": "x" * 999}, "tau must be a number, got 'x{56}...$"),
    ],
)
def test_messages_show_no_names_of_types(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GOOD.but(**change)


@pytest.mark.parametrize(
    "given",
    [
        [(np.int64(3), np.float32(4))], np.array([[3, 4]], np.uint8), [[np.array(3), 4.0]], torch.tensor([[3.0, 4.0]]),
    ],
)  # fmt: skip
def test_points_of_numpy(given: Any) -> None:
    assert checked_points(given, (10, 10)).tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[True, 2]], "pairs of numbers"), (np.array([[True, False]]), "pairs of numbers"), ([["1", "2"]], "pairs of"),
        ([[b"1", 2]], "pairs of numbers"), ([[1, 2], [3]], "pairs of numbers"), ([[10**400, 1]], "pairs of numbers"),
        ([[float("inf"), 1]], r"finite numbers, got \[inf, 1.0\]"), ([], r"got shape \(0,\)"),
        ([[1]], r"shape \(1, 1\)"),
    ],
)  # fmt: skip
def test_points_that_are_none(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked_points(given, (10, 10))


def test_a_limit_may_be_as_large_as_you_like() -> None:
    assert GOOD.but(max_pixels=sys.maxsize).max_pixels == sys.maxsize


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


def test_plus_has_the_discriminant_where_it_was_measured() -> None:
    shares = {name: b.defaults.configs("plus")[0].discriminant for name, b in REGISTRY.items() if b.defaults}
    assert {name for name, share in shares.items() if share} == {"dinov2-vits14"}


def test_explicit_settings_override_matching_too() -> None:
    defaults = find("dinov3-vitb16").defaults
    assert defaults is not None
    segmentation, matching = defaults.configs()
    assert (segmentation.size, segmentation.rank) == (1024, 380)
    assert (matching.size, matching.rank) == (768, 20)
    segmentation, matching = defaults.configs(size=512, rank=99)
    assert (segmentation.size, segmentation.rank) == (matching.size, matching.rank) == (512, 99)


def test_a_preset_sets_what_is_not_asked_for_otherwise() -> None:
    defaults = Defaults(518, 30, 0.7, plus={"rank": 45})
    plus, match = defaults.configs("plus", tau=0.6, rank=None)
    assert (plus.rule, plus.threshold, plus.upsample, plus.refine, plus.rank, plus.tau) == (
        "field", 0.5, "score", "guided", 45, 0.6,
    )  # fmt: skip
    assert (match.rule, match.rank, match.tau) == ("clusters", 30, 0.6)
    assert defaults.configs("plus", rank=20, refine="none")[0] == plus.but(rank=20, refine="none", tau=0.7)
    assert defaults.configs("published") == defaults.configs() == (Config(518, 30, 0.7), Config(518, 30, 0.7))
    with pytest.raises(ConfigError, match="preset must be one of published, plus, got 'best'"):
        defaults.configs("best")


def test_every_backbone_has_the_preset() -> None:
    for backbone in REGISTRY.values():
        assert backbone.defaults is not None
        plus, _ = backbone.defaults.configs("plus")
        plus.check(backbone.name, backbone.patch_size, backbone.channels)


def test_every_setting_is_described() -> None:
    for own in fields(Config):
        about = own.metadata["about"]
        assert isinstance(about, About)
        assert about.help.endswith("."), own.name
        assert about.help[0].isupper(), own.name
        assert len(about.help) <= 120
        assert default_of(own) not in ("", "None", "True", "False"), own.name
        for choice in (choice for choice in get_args(kind_of(own)) if isinstance(choice, str)):
            assert own.name in ("aggregation", "solver", "fit", "upsample") or choice in about.help, (own.name, choice)


def test_bounds_that_are_described_are_checked() -> None:
    for own in fields(Config):
        about, unit = own.metadata["about"], 1 if kind_of(own) is int else 0.1
        for value in (about.low - unit, about.high + unit):
            if value not in (float("inf"), -float("inf")):
                with pytest.raises(ConfigError, match=f"^{own.name} "):
                    GOOD.but(**{own.name: value})


def test_descriptions_change_nothing_about_the_values() -> None:
    assert pickle.loads(pickle.dumps(GOOD)) == GOOD  # noqa: S301  our own
    assert hash(GOOD) == hash(Config(518, 30, 0.7))
    assert list(GOOD.as_dict()) == [own.name for own in fields(Config)]


def test_flags_of_the_command_line() -> None:
    assert [flag(name) for name in ("tau", "crf_size", "overlap")] == ["--tau", "--crf-size", "--tile-overlap"]
