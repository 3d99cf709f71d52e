"""The names that DINOv3's weights go by in Meta's, timm's and transformers' files, and in checkpoints of trainings."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from insid3.backbones.checkpoint import State
from insid3.errors import WeightsError

# What wraps a model adds itself to the names of its tensors, at any depth.
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_ANCHOR = re.compile(r"^(.*?)(?:patch_embed\.proj|embeddings\.patch_embeddings(?:\.proj(?:ection)?)?)\.weight$")
_HEADS = ("head.", "head_dist.", "fc_norm.")
_PRETRAINING = re.compile(r"(?:^|\.)mask_token$|^local_cls_norm\.|\.bias_mask$|\.inv_freq$")
_GATED = {r"mlp\.w1\.": "mlp.fc1_g.", r"mlp\.w2\.": "mlp.fc1_x.", r"mlp\.w3\.": "mlp.fc2."}


@dataclass(frozen=True)
class Size:
    """What tells DINOv3's ViTs apart by their shapes."""

    channels: int
    blocks: int
    gated: bool


SIZES = {
    "dinov3-vits16": Size(384, 12, False), "dinov3-vits16plus": Size(384, 12, True),
    "dinov3-vitb16": Size(768, 12, False), "dinov3-vitl16": Size(1024, 24, False),
    "dinov3-vith16plus": Size(1280, 32, True), "dinov3-vit7b16": Size(4096, 40, True),
}  # fmt: skip


def unwrapped(state: State, path: Path) -> tuple[State, list[str]]:
    """Return the encoder's tensors without what training and other models put before their names.

    Of a teacher and its student the teacher's are taken.

    Returns:
        The tensors, and the names of those that belong to other parts.

    Raises:
        WeightsError: there are several encoders and no telling which.
    """
    state = {_WRAPPERS.sub("", name): value for name, value in state.items()}
    prefixes = {found[1] for found in map(_ANCHOR.match, state) if found}
    if not prefixes or "" in prefixes:
        return state, []
    teachers = {prefix for prefix in prefixes if "teacher" in prefix.split(".")}
    chosen = teachers or prefixes
    if len(chosen) > 1:
        some = ", ".join(sorted(prefix.removesuffix(".") for prefix in chosen)[:3])
        raise WeightsError(f"weights {path} hold several encoders ({some}): save one of them alone")
    (prefix,) = chosen
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return own, [name for name in state if not name.startswith(prefix)]


def heads(state: State) -> list[str]:
    """Return the names of a classifier's tensors."""
    return [name for name in state if name.startswith(_HEADS)]


def summary(names: Iterable[str]) -> str:
    """Tell tensors that are not used by the parts that they belong to; "" for none."""
    parts = Counter(_part(name) for name in names)
    return ", ".join(f"{part} ({count} tensors)" if count > 1 else part for part, count in sorted(parts.items()))


def _part(name: str) -> str:
    words = name.split(".")
    return words[-1] if words[-1] in ("mask_token", "bias_mask", "inv_freq", "q_bias", "v_bias") else words[0]


def of_pretraining(state: State) -> list[str]:
    """Return the names of what only DINOv3's pre-training uses."""
    return [name for name in state if _PRETRAINING.search(name)]


def layout(state: State) -> str | None:
    """Return whose names these are, "Meta", "timm" or "transformers"; None if they are not DINOv3's."""
    signs = {"Meta": "storage_tokens", "transformers": "embeddings.register_tokens", "timm": "reg_token"}
    return next((whose for whose, sign in signs.items() if sign in state), None)


def size_of(state: State) -> Size | None:
    """Return the size of a DINOv3 by its shapes, whatever its names; None if they do not say it."""
    anchor = next((value for name, value in state.items() if _ANCHOR.match(name)), None)
    blocks = {
        found[1] for found in (re.search(r"(?:^|\.)(?:blocks|layers?)\.(\d+)\.", name) for name in state) if found
    }
    if anchor is None or anchor.ndim != 4 or not blocks:
        return None
    gated = any(re.search(r"\.mlp\.(?:w1|fc1_g|gate_proj)\.", name) for name in state)
    return Size(anchor.shape[0], len(blocks), gated)


def check_size(state: State, path: Path, backbone: str) -> None:
    """Refuse weights of another of DINOv3's sizes than the backbone's name says.

    Raises:
        WeightsError: they are; says which.
    """
    found = next((name for name, size in SIZES.items() if size == size_of(state)), None)
    wanted = next((name for name in SIZES if backbone in (name, f"{name}-sat493m")), None)
    if found and wanted and found != wanted:
        raise WeightsError(
            f"weights {path} are not those of {backbone}: by their shapes they are those of {found}: use "
            f"--backbone {found}"
        )


def dinov3_state(state: State, path: Path) -> tuple[State, Tensor | None]:
    """timm's names for DINOv3 weights of Meta, timm or transformers, told apart by name; and RoPE periods if any.

    Raises:
        WeightsError: none of the three, or one that lacks a tensor.
    """
    whose = layout(state)
    try:
        if whose == "Meta":
            return _from_meta(state), state["rope_embed.periods"].float()
        if whose == "transformers":
            return _from_transformers(state), None
    except KeyError as error:
        raise WeightsError(f"weights {path} are not those of a DINOv3: tensor {error.args[0]} is missing") from error
    if whose == "timm":
        return state, None
    names = ", ".join(sorted(state)[:3])[:120]
    raise WeightsError(
        f"weights {path} are not DINOv3's: expected the names of Meta (storage_tokens), timm (reg_token) or "
        f"transformers (embeddings.register_tokens), got {names}, ...{_instead(state)}"
    )


def _instead(state: State) -> str:
    """What the weights seem to be, and which backbone takes them."""
    if any(name.startswith(("downsample_layers.", "stages.")) for name in state):
        return " They are a ConvNeXt's, which this method cannot use: take those of a ViT"
    if "pos_embed" in state and "cls_token" in state:
        return " They are another ViT's: use --backbone timm:NAME with its name in timm"
    if "lora_A" in "".join(state):
        return " They are an adapter (LoRA): merge it into its model and save that"
    return ""


def _from_meta(state: State) -> State:
    result = {}
    for name, value in state.items():
        if name.endswith(".periods") or _PRETRAINING.search(name):
            continue
        if name.endswith("qkv.bias"):  # the key's bias is fixed at zero
            stem = name.removesuffix("qkv.bias")
            result[f"{stem}q_bias"], _, result[f"{stem}v_bias"] = value.chunk(3)
            continue
        result[_rename(name, {"storage_tokens": "reg_token", r"ls(\d)\.gamma": r"gamma_\1", **_GATED})] = value
    return result


def _from_transformers(state: State) -> State:
    gated = any(".mlp.gate_proj." in name for name in state)
    renames = {
        r"^embeddings\.register_tokens": "reg_token",
        r"^embeddings\.patch_embeddings\.(?:proj(?:ection)?\.)?": "patch_embed.proj.",
        r"^embeddings\.": "",
        r"^(?:model\.|encoder\.)?layers?\.": "blocks.",  # since version 5 the blocks lie in an encoder of their own
        r"attention\.o_proj": "attn.proj",
        r"attention\.([qv])_proj\.bias": r"attn.\1_bias",
        r"layer_scale(\d)\.lambda1": r"gamma_\1",
        r"mlp\.gate_proj": "mlp.fc1_g",
        r"mlp\.up_proj": "mlp.fc1_x" if gated else "mlp.fc1",
        r"mlp\.down_proj": "mlp.fc2",
    }
    result = {}
    for name, value in state.items():
        if name.endswith((".k_proj.weight", ".v_proj.weight")) or _PRETRAINING.search(name):
            continue
        if name.endswith(".q_proj.weight"):
            parts = [state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            result[_rename(name, {r"attention\.q_proj": "attn.qkv", **renames})] = torch.cat(parts)
        else:
            result[_rename(name, renames)] = value
    return result


def _rename(name: str, patterns: dict[str, str]) -> str:
    for pattern, replacement in patterns.items():
        name = re.sub(pattern, replacement, name)
    return name
