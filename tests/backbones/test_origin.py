"""Published weights are told apart by tensors, settings beside them and names, and get their own mean and deviation."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from insid3 import INSID3, WeightsError
from insid3.backbones import load_encoder
from insid3.backbones.layouts import SIZES, size_of, summary, unwrapped
from insid3.backbones.origin import IMAGENET, SATELLITE, Origin, dinov3_origin, timm_origin
from insid3.backbones.registry import Kind
from insid3.types import Encoder
from layouts import meta_names, newer, to_timm, to_transformers

State = dict[str, Tensor]
ONE = torch.tensor(1.0)
LVD: Kind = "LVD-1689M"
SAT: Kind = "SAT-493M"
PUBLISHED: list[tuple[str, Kind, str]] = [
    ("dinov3-vits16", LVD, "dinov3_vits16_pretrain_lvd1689m-08c60483.pth"),
    ("dinov3-vits16plus", LVD, "dinov3_vits16plus_pretrain_lvd1689m-4057cbaa.pth"),
    ("dinov3-vitb16", LVD, "dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth"),
    ("dinov3-vitl16", LVD, "dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth"),
    ("dinov3-vitl16", SAT, "dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth"),
    ("dinov3-vith16plus", LVD, "dinov3_vith16plus_pretrain_lvd1689m-7c1da9a5.pth"),
    ("dinov3-vit7b16", LVD, "dinov3_vit7b16_pretrain_lvd1689m-a955f4ea.pth"),
    ("dinov3-vit7b16", SAT, "dinov3_vit7b16_pretrain_sat493m-a6675841.pth"),
]


def told(state: State, path: Path, backbone: str, asked: Kind | None = None) -> tuple[Origin, list[str]]:
    """Return the origin of weights, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        origin = dinov3_origin(state, path, backbone, asked, "")
    return origin, [str(warning.message) for warning in caught]


@pytest.mark.parametrize(("backbone", "kind", "name"), PUBLISHED)
@pytest.mark.parametrize("convert", [dict, to_timm, to_transformers, newer])
def test_published_files(backbone: str, kind: Kind, name: str, convert: Callable[[State], State]) -> None:
    state = convert(meta_names(backbone, local=kind == SAT))
    assert size_of(state) == SIZES[backbone]
    origin, said = told(state, Path(name), backbone)
    assert (origin.kind, origin.statistics) == (kind, SATELLITE if kind == SAT else IMAGENET)
    assert kind in str(origin)
    assert [f"are {SAT}'s" in line for line in said] == [True] * (kind == SAT)  # not what the backbone's name promises
    assert told(state, Path(name), f"{backbone}-sat493m", SAT)[1] == [] if kind == SAT else True


@pytest.mark.parametrize(("backbone", "kind", "name"), PUBLISHED)
def test_published_folders(backbone: str, kind: Kind, name: str, tmp_path: Path) -> None:
    """The hub's own folders are recognised, and those of its cache."""
    state, ending = meta_names(backbone), kind.lower().replace("-", "")
    architecture = f"vit_{SIZES[backbone].channels}_patch16_dinov3_qkvb"
    for folder in (
        f"facebook/dinov3-{backbone.removeprefix('dinov3-')}-pretrain-{ending}",
        f"timm/{architecture}.{ending}",
        f"models--facebook--{backbone}-pretrain-{ending}/snapshots/0123",
    ):
        place = tmp_path / folder
        place.mkdir(parents=True)
        for path in (
            (place, place / "model.safetensors") if "snapshots" not in folder else (place / "model.safetensors",)
        ):
            assert told(to_timm(state), path, backbone)[0].kind == kind


@pytest.mark.parametrize("backbone", SIZES)
@pytest.mark.parametrize("convert", [dict, to_transformers])
def test_renamed_files(backbone: str, convert: Callable[[State], State]) -> None:
    """Tensors tell the kind where they can; if nothing tells it, a warning says so."""
    origin, said = told(convert(meta_names(backbone)), Path("weights.pth"), backbone)
    assert (origin.kind, origin.statistics) == (LVD, IMAGENET)
    unknown = backbone == "dinov3-vit7b16" or (backbone == "dinov3-vitl16" and convert is not dict)
    assert bool(said) == unknown
    if unknown:
        assert f"may be {LVD}'s or {SAT}'s" in said[0]
        assert f"--backbone {backbone}-sat493m" in said[0]
        assert told(convert(meta_names(backbone)), Path("weights.pth"), backbone, SAT)[0].statistics == SATELLITE


def test_tensors_tell_satellite_weights_whatever_the_name() -> None:
    origin, said = told(meta_names("dinov3-vitl16", local=True), Path("weights.pth"), "dinov3-vitl16")
    assert (origin.kind, origin.statistics) == (SAT, SATELLITE)
    assert "by its tensors local_cls_norm" in said[0]
    assert "mean (0.430, 0.411, 0.296), deviation (0.213, 0.156, 0.143)" in said[0]


@pytest.mark.parametrize(
    ("local", "name", "asked"),
    [
        (True, "dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth", None),
        (True, "weights.pth", LVD),
        (False, "dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth", SAT),
        (False, "dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth", LVD),
    ],
)
def test_contradictions_are_refused(local: bool, name: str, asked: Kind | None) -> None:
    with pytest.raises(WeightsError, match=f"{name} contradict what is said of them: .*{LVD}|{SAT}"):
        told(meta_names("dinov3-vitl16", local=local), Path(name), "dinov3-vitl16", asked)


def test_a_name_against_what_is_lacking_is_said() -> None:
    for asked in (None, SAT):
        origin, said = told(meta_names("dinov3-vitl16"), Path("a_sat493m.pth"), "dinov3-vitl16", asked)
        assert origin.kind == SAT
        assert "though LVD-1689M is the kind without tensors local_cls_norm" in said[0]


@pytest.mark.parametrize(
    ("settings", "kind", "mean"),
    [
        ({"image_mean": [0.43, 0.411, 0.296], "image_std": [0.213, 0.156, 0.143]}, SAT, 0.43),
        ({"image_mean": [0.48500001, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}, LVD, 0.485),
        ({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}, None, 0.5),
        ({"pretrained_cfg": {"mean": [0.43, 0.411, 0.296], "std": [0.213, 0.156, 0.143]}}, SAT, 0.43),
    ],
)
def test_settings_beside_the_weights(settings: dict[str, Any], kind: Kind | None, mean: float, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(settings))
    state = to_transformers(meta_names("dinov3-vitl16"))
    for path in (tmp_path, tmp_path / "model.safetensors", tmp_path / "model.safetensors.index.json"):
        origin, _ = told(state, path, "dinov3-vitl16")
        assert origin.kind == kind
        assert origin.statistics.mean[0] == pytest.approx(mean)
    assert told(state, tmp_path / "dinov3_vitl16_pretrain_lvd1689m.pth", "dinov3-vitl16")[0].kind == LVD  # not of these
    if kind != SAT:
        with pytest.raises(WeightsError, match="contradict what is said of them"):
            told(state, tmp_path, "dinov3-vitl16-sat493m", SAT)


def test_damaged_settings(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(WeightsError, match=r"config.json is damaged, or no settings of a model file: it "):
        told(meta_names("dinov3-vits16"), tmp_path, "dinov3-vits16")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"image_mean": [1, 2], "image_std": [1, 2]}',
        '{"pretrained_cfg": 3}',
        '{"image_mean": ["a"], "image_std": [1]}',
        '{"mean": [0,0,0], "std": [0,1,1]}',
    ],
)
def test_settings_of_another_program_say_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert told(meta_names("dinov3-vits16"), tmp_path, "dinov3-vits16")[0].statistics == IMAGENET


def test_statistics_of_values_to_255(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"image_mean": [109.65, 104.805, 75.48], "image_std": [54.315, 39.78, 36.465]})
    )
    assert told(to_transformers(meta_names("dinov3-vitl16")), tmp_path, "dinov3-vitl16")[0].kind == SAT


def test_other_vits_of_timm(tmp_path: Path) -> None:
    """The name's ending tells the weights; without one a warning names what differs."""
    half = (0.5, 0.5, 0.5)
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": {"mean": half, "std": half}}))
    assert timm_origin(tmp_path, IMAGENET, False, True, "").statistics.mean == half
    with pytest.raises(WeightsError, match="contradict the backbone's name"):
        timm_origin(tmp_path, IMAGENET, True, True, "")
    with pytest.warns(UserWarning, match="was published with several means and deviations, and nothing tells which"):
        assert timm_origin(Path("a.pth"), IMAGENET, False, True, "").statistics == IMAGENET
    assert timm_origin(Path("a.pth"), IMAGENET, False, False, "").statistics == IMAGENET


@pytest.mark.parametrize(("ending", "expected"), [(".augreg_in1k", 0.5), (".dino", 0.485)])
def test_timm_names_bring_their_own(ending: str, expected: float, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    name = "vit_small_patch16_224"
    save_file(timm.create_model(name, num_classes=0, depth=12).state_dict(), path)
    encoder = load_encoder(f"timm:{name}{ending}", weights=path, device="cpu", engine="torch")
    assert encoder.mean[0] == expected
    if ending == ".dino":
        with pytest.warns(UserWarning, match="nothing tells which are these weights'"):
            load_encoder(f"timm:{name}", weights=path, device="cpu", engine="torch")


@pytest.fixture(scope="module")
def satellite(stand_in: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the stand-in weights under a name of SAT-493M."""
    path = tmp_path_factory.mktemp("satellite") / "weights.pth"
    torch.save(
        {**stand_in.state, "local_cls_norm.weight": torch.ones(384), "local_cls_norm.bias": torch.ones(384)}, path
    )
    return path


@pytest.mark.parametrize("backbone", ["dinov3-vits16", "timm:vit_small_patch16_dinov3"])
def test_satellite_weights_end_to_end(
    backbone: str, satellite: Path, stand_in: SimpleNamespace, dinov3: Encoder
) -> None:
    """The same input has the same tokens; mean and hash differ, since the tokens of pictures do."""
    with pytest.warns(UserWarning, match=r"weights .*weights.pth are SAT-493M's \(by its tensors local_cls_norm\)"):
        encoder: Any = load_encoder(backbone, weights=satellite, device="cpu", dtype="float32")
    assert (encoder.mean, encoder.std) == (SATELLITE.mean, SATELLITE.std)
    assert encoder.weights_hash != dinov3.weights_hash
    assert encoder(stand_in.inputs["landscape"])[0].equal(dinov3(stand_in.inputs["landscape"])[0])
    assert "not used: bias_mask (12 tensors), local_cls_norm (2 tensors), mask_token" in str(encoder.origin)


def test_wrong_size_names_the_right_backbone(satellite: Path) -> None:
    with pytest.raises(
        WeightsError, match="by their shapes they are those of dinov3-vits16: use --backbone dinov3-vits16"
    ):
        load_encoder("dinov3-vitl16-sat493m", weights=satellite)


@pytest.mark.parametrize("wrap", ["teacher", "wrapped", "student too", "newer, in shards"])
def test_layouts_give_the_same_tokens(wrap: str, stand_in: SimpleNamespace, dinov3: Encoder, tmp_path: Path) -> None:
    state, path = stand_in.state, tmp_path / "weights.pth"
    if wrap == "teacher":
        head = {"dino_head.last.weight": torch.ones(2)}
        torch.save({"teacher": {f"backbone.{name}": value for name, value in state.items()} | head, "step": 1}, path)
    elif wrap == "wrapped":
        torch.save({"state_dict": {f"module._orig_mod.{name}": value for name, value in state.items()}}, path)
    elif wrap == "student too":
        student = {f"student.backbone.{name}": value * 0 for name, value in state.items()}
        torch.save({f"teacher.backbone.{name}": value for name, value in state.items()} | student, path)
    else:
        path = tmp_path / "dinov3-vits16-pretrain-lvd1689m"
        path.mkdir()
        parts = sorted(newer(state).items())
        shards = {"model-1-of-2.safetensors": parts[:50], "model-2-of-2.safetensors": parts[50:]}
        for name, part in shards.items():
            save_file(dict(part), path / name)
        index = {"weight_map": {name: shard for shard, part in shards.items() for name, _ in part}}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    found: Any = load_encoder("dinov3-vits16", weights=path, device="cpu", dtype="float32")
    assert found.weights_hash == dinov3.weights_hash
    assert found(stand_in.inputs["landscape"])[0].equal(dinov3(stand_in.inputs["landscape"])[0])
    assert ("dino_head" in str(found.origin), "student (" in str(found.origin)) == (
        wrap == "teacher",
        wrap == "student too",
    )


def test_several_encoders_are_refused() -> None:
    state = {f"{part}.patch_embed.proj.weight": torch.zeros(1) for part in ("left", "right")}
    with pytest.raises(WeightsError, match=r"hold several encoders \(left, right\): save one of them alone"):
        unwrapped(state, Path("a.pth"))


def test_unused_tensors_are_told_by_their_part() -> None:
    names = ["mask_token", "blocks.0.attn.qkv.bias_mask", "blocks.1.attn.qkv.bias_mask", "head.fc.weight"]
    assert summary(names) == "bias_mask (2 tensors), head, mask_token"
    assert summary([]) == ""


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ({"stages.0.0.gamma": torch.ones(1)}, "They are a ConvNeXt's, which this method cannot use"),
        ({"pos_embed": torch.ones(1), "cls_token": torch.ones(1)}, "another ViT's: use --backbone timm:NAME"),
        ({"base.q.lora_A.weight": torch.ones(1)}, "an adapter"),
        ({"storage_tokens": torch.ones(1)}, "tensor rope_embed.periods is missing"),
        (
            dict.fromkeys(("embeddings.register_tokens", "layer.0.attention.q_proj.weight"), ONE),
            "k_proj.weight is missing",
        ),
        (dict.fromkeys(("storage_tokens", "rope_embed.periods", "blocks.0.attn.qkv.bias"), ONE), "is damaged, or no"),
    ],
)
def test_other_weights_are_named(state: State, hint: str, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=hint):
        load_encoder("dinov3-vits16", weights=tmp_path / "a.pth")


def test_periods_of_another_shape(stand_in: SimpleNamespace, tmp_path: Path) -> None:
    torch.save({**stand_in.state, "rope_embed.periods": torch.ones(3)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"rope_embed\.periods has shape 3, expected 16"):
        load_encoder("dinov3-vits16", weights=tmp_path / "a.pth")


def test_a_model_says_what_its_weights_are(satellite: Path) -> None:
    with pytest.warns(UserWarning, match="SAT-493M"):
        model: Any = INSID3.from_pretrained("dinov3-vits16", weights=satellite, size=64, rank=10, engine="torch")
    assert model.encoder.origin.kind == SAT
