"""DINOv3's weights by the names of each program that publishes them."""

import re
from pathlib import Path

import torch
from torch import Tensor

from insid3.backbones.layouts import SIZES, dinov3_state

State = dict[str, Tensor]


def to_transformers(meta: State) -> State:
    """The names of `transformers`' DINOv3ViTModel for Meta's tensors."""
    renames = {
        r"^(cls_token|mask_token)$": r"embeddings.\1",
        r"^storage_tokens$": "embeddings.register_tokens",
        r"^patch_embed\.proj\.": "embeddings.patch_embeddings.",
        r"^blocks\.": "layer.",
        r"attn\.proj\.": "attention.o_proj.",
        r"\.ls(\d)\.gamma$": r".layer_scale\1.lambda1",
        r"mlp\.(fc1|w2)\.": "mlp.up_proj.",
        r"mlp\.(fc2|w3)\.": "mlp.down_proj.",
        r"mlp\.w1\.": "mlp.gate_proj.",
    }
    state = {}
    for name, value in meta.items():
        if name.endswith(("periods", "bias_mask")) or name.startswith("local_cls_norm"):
            continue
        new = name
        for pattern, replacement in renames.items():
            new = re.sub(pattern, replacement, new)
        if ".attn.qkv." in new:
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                if (part, name[-4:]) != ("k", "bias"):
                    state[new.replace("attn.qkv", f"attention.{part}_proj")] = rows.contiguous()
        else:
            state[new] = value[None] if name == "mask_token" else value
    return state


def newer(meta: State) -> State:
    """The names of version 5 of `transformers`, which keeps the blocks in an encoder of their own."""
    return {re.sub(r"^layer\.", "model.layer.", name): value for name, value in to_transformers(meta).items()}


def to_timm(meta: State) -> State:
    """timm's names."""
    return dinov3_state(meta, Path("weights.pth"))[0]


def meta_names(backbone: str, local: bool = False) -> State:
    """Meta's names and shapes of a published DINOv3, as tensors without values.

    Args:
        local: with the norm of local crops, which SAT-493M's ViT-L and both 7B have.
    """
    size, seven = SIZES[backbone], backbone == "dinov3-vit7b16"
    channels, hidden = size.channels, size.channels * (2 if seven else 4)

    def block() -> dict[str, tuple[int, ...]]:
        names: dict[str, tuple[int, ...]] = {
            "attn.qkv.weight": (3 * channels, channels), "attn.proj.weight": (channels, channels),
            "attn.proj.bias": (channels,), "ls1.gamma": (channels,), "ls2.gamma": (channels,),
        }  # fmt: skip
        mlp = {"w1": (hidden, channels), "w2": (hidden, channels), "w3": (channels, hidden)}
        if not size.gated:
            mlp = {"fc1": (hidden, channels), "fc2": (channels, hidden)}
        names |= {f"mlp.{name}.weight": shape for name, shape in mlp.items()}
        names |= {f"mlp.{name}.bias": shape[:1] for name, shape in mlp.items()}
        for norm in ("norm1", "norm2"):
            names |= {f"{norm}.weight": (channels,), f"{norm}.bias": (channels,)}
        biases = {"attn.qkv.bias": (3 * channels,), "attn.qkv.bias_mask": (3 * channels,)}
        return names if seven else names | biases

    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, channels), "storage_tokens": (1, 4, channels), "mask_token": (1, channels),
        "patch_embed.proj.weight": (channels, 3, 16, 16), "patch_embed.proj.bias": (channels,),
        "rope_embed.periods": (16,), "norm.weight": (channels,), "norm.bias": (channels,),
    }  # fmt: skip
    shapes |= {f"local_cls_norm.{kind}": (channels,) for kind in ("weight", "bias") if local or seven}
    shapes |= {f"blocks.{i}.{name}": shape for i in range(size.blocks) for name, shape in block().items()}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
