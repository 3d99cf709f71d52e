"""Weight files: read without running anything from them, with one line that says what is wrong."""

import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from insid3.errors import WeightsError

State = dict[str, Tensor]


def read(path: str | os.PathLike[str]) -> State:
    """The tensors of a .pth (zip, weights only) or .safetensors file.

    Raises:
        WeightsError: not there, an error page, cut short, or not weights.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise WeightsError(f"weights {path} cannot be read: {error.strerror}") from error
    if not head:
        raise WeightsError(f"weights {path} is empty (0 bytes): download it again")
    text = b"" if b"\0" in head[:8] else head.lstrip().lower()  # .safetensors begin with a length of eight bytes
    if text.startswith((b"<", b"{", b"access denied", b"not found", b"version https://git-lfs")):
        first = head.decode(errors="replace").strip().splitlines()[0][:60]
        raise WeightsError(f"weights {path} is not weights but a text or web page ({first!r}): download it again")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=head.startswith(b"PK"))
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(
            f"weights {path} is damaged or cut short ({first_line(error)}): download it again"
        ) from error
    except Exception as error:  # UnpicklingError, whose text advises to run the file's code
        raise WeightsError(
            f"weights {path} is refused: it holds more than tensors, or is no .pth or .safetensors file"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"weights {path} is not a table of named tensors")
    return state


def fingerprint(state: State) -> str:
    """16 hex digits over names, shapes and up to 1,024 evenly spaced values of every tensor.

    Any training changes it; file format, compute dtype and device do not. Sampled, so that 7B parameters cost nothing.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().flatten()
        sample = tensor[:: max(1, tensor.numel() // 1024)].cpu().float().contiguous()
        digest.update(json.dumps([name, list(state[name].shape)]).encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]


def first_line(error: Exception) -> str:
    """What an exception says, without the paragraphs that some libraries add."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
