"""Names of DINOv3's tensors in files of Meta, timm and transformers, and in checkpoints of trainings."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from insid3.backbones.checkpoint import State
from insid3.errors import WeightsError

# Wrappers of models add their own names to those of the tensors, at any depth.
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_ANCHOR = re.compile(r"^(.*?)(?:patch_embed\.proj|embeddings\.patch_embeddings(?:\.proj(?:ection)?)?)\.weight$")
_HEADS = ("head.", "head_dist.", "fc_norm.")
_PRETRAINING = re.compile(r"(?:^|\.)mask_token$|^local_cls_norm\.|\.bias_mask$|\.inv_freq$")
_GATED = {r"mlp\.w1\.": "mlp.fc1_g.", r"mlp\.w2\.": "mlp.fc1_x.", r"mlp\.w3\.": "mlp.fc2."}


@dataclass(frozen=True)
class Size:
    """Shapes that tell DINOv3's ViTs apart.

    Attributes:
        channels: of a token.
        blocks: number of blocks.
        gated: the MLPs have a gate.
    """

    channels: int
    blocks: int
    gated: bool


SIZES = {
    "dinov3-vits16": Size(384, 12, False), "dinov3-vits16plus": Size(384, 12, True),
    "dinov3-vitb16": Size(768, 12, False), "dinov3-vitl16": Size(1024, 24, False),
    "dinov3-vith16plus": Size(1280, 32, True), "dinov3-vit7b16": Size(4096, 40, True),
}  # fmt: skip


def unwrapped(state: State, path: Path) -> tuple[State, list[str]]:
    """Return the encoder's tensors without the prefixes of their names, and the names of all other tensors.

    Where there are a teacher and its student, the teacher's tensors are returned.

    Raises:
        WeightsError: there are several encoders, and nothing tells which one is meant.
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
    """Summarise names of tensors by the parts of the model that they belong to; "" for none.

    Example:
        >>> summary(["head.weight", "head.bias", "mask_token"])
        'head (2 tensors), mask_token'
    """
    parts = Counter(_part(name) for name in names)
    return ", ".join(f"{part} ({count} tensors)" if count > 1 else part for part, count in sorted(parts.items()))


def _part(name: str) -> str:
    words = name.split(".")
    return words[-1] if words[-1] in ("mask_token", "bias_mask", "inv_freq", "q_bias", "v_bias") else words[0]


def pretraining_tensors(state: State) -> list[str]:
    """Return the names of the tensors that only DINOv3's pre-training uses."""
    return [name for name in state if _PRETRAINING.search(name)]


def layout(state: State) -> str | None:
    """Return who named the tensors, "Meta", "timm" or "transformers"; None if they are not DINOv3's."""
    signs = {"Meta": "storage_tokens", "transformers": "embeddings.register_tokens", "timm": "reg_token"}
    return next((source for source, sign in signs.items() if sign in state), None)


def size_of(state: State) -> Size | None:
    """Return the size of a DINOv3 by the shapes of its tensors; None if these do not tell."""
    anchor = next((value for name, value in state.items() if _ANCHOR.match(name)), None)
    blocks = {
        found[1] for found in (re.search(r"(?:^|\.)(?:blocks|layers?)\.(\d+)\.", name) for name in state) if found
    }
    if anchor is None or anchor.ndim != 4 or not blocks:
        return None
    gated = any(re.search(r"\.mlp\.(?:w1|fc1_g|gate_proj)\.", name) for name in state)
    return Size(anchor.shape[0], len(blocks), gated)


def check_size(state: State, path: Path, backbone: str) -> None:
    """Check that weights have the size that the backbone's name says.

    Raises:
        WeightsError: the weights are those of another size of DINOv3; the message says which.
    """
    found = next((name for name, size in SIZES.items() if size == size_of(state)), None)
    wanted = next((name for name in SIZES if backbone in (name, f"{name}-sat493m")), None)
    if found and wanted and found != wanted:
        raise WeightsError(
            f"weights {path} are not those of {backbone}: by their shapes they are those of {found}: use "
            f"--backbone {found}"
        )


def dinov3_state(state: State, path: Path) -> tuple[State, Tensor | None]:
    """Return DINOv3's tensors under timm's names, and the RoPE periods if the file holds them.

    Args:
        state: tensors under the names of Meta, timm or transformers.
        path: file or folder of the weights.

    Raises:
        WeightsError: the names are of none of the three, or a tensor is missing.
    """
    source = layout(state)
    try:
        if source == "Meta":
            return _from_meta(state), state["rope_embed.periods"].float()
        if source == "transformers":
            return _from_transformers(state), None
    except KeyError as error:
        raise WeightsError(f"weights {path} are not those of a DINOv3: tensor {error.args[0]} is missing") from error
    if source == "timm":
        return state, None
    names = ", ".join(sorted(state)[:3])[:120]
    raise WeightsError(
        f"weights {path} are not DINOv3's: expected the names of Meta (storage_tokens), timm (reg_token) or "
        f"transformers (embeddings.register_tokens), got {names}, ...{_instead(state)}"
    )


def _instead(state: State) -> str:
    """Return what the weights seem to be and the remedy, as the end of a message; "" if neither is known."""
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
        if name.endswith("qkv.bias"):  # the bias of k is always zero
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
        r"^(?:model\.|encoder\.)?layers?\.": "blocks.",  # since version 5 the names of the blocks have a prefix
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
