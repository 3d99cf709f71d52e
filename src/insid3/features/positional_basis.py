"""The positional subspace of an encoder (paper 3.1), estimated once per size and kept on disk."""

import hashlib
import re
from contextlib import suppress
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from insid3.config import Basis
from insid3.stages.debias import positional_directions
from insid3.stages.encode import normalise, unit_tokens
from insid3.storage import cache_dir, write_bytes
from insid3.types import Encoder


def positional_subspace(encoder: Encoder, size: int, basis: Basis) -> Float[Tensor, "c d"]:
    """Return the directions in which the tokens of a picture without content vary, orthonormal, strongest first.

    They are computed in float32 whatever the encoder's dtype. The cache folder keeps them for each encoder, engine,
    size and kind of picture; a damaged file is replaced.
    """
    path = _cached_file(encoder, size, basis)
    if (kept := _read(path)) is not None and kept.shape[0] == encoder.channels:
        return kept.to(encoder.device)
    if basis == "noise":
        blank = torch.randn((1, 3, size, size), generator=torch.Generator().manual_seed(0))
    else:
        blank = normalise(torch.zeros(1, size, size, 3, dtype=torch.uint8), encoder.mean, encoder.std)
    directions = positional_directions(unit_tokens(encoder, blank, float32=True)[0])
    content = directions.cpu().contiguous()
    with suppress(OSError):  # where the cache cannot be written it is estimated again the next time
        write_bytes(path, save({"directions": content}, {"sha256": _digest(content)}))
    return directions


def _cached_file(encoder: Encoder, size: int, basis: Basis) -> Path:
    """Return the file for one engine and device, which round differently: no result depends on who came first."""
    engine = getattr(encoder, "engine", type(encoder).__name__)
    name = re.sub(
        r"[^\w.-]", "_", f"{encoder.name}-{encoder.weights_hash}-{engine}-{encoder.device.type}-{size}-{basis}"
    )
    return cache_dir() / "basis" / f"{name}.safetensors"


def _read(path: Path) -> Tensor | None:
    try:
        if not path.is_file():
            return None
        with safe_open(path, "pt") as file:
            directions = file.get_tensor("directions")
            whole = (file.metadata() or {}).get("sha256") == _digest(directions)
    except (SafetensorError, OSError):
        return None
    return directions if whole else None


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
