"""Reader of weight files, which runs no code from them and says in one line what is wrong."""

import hashlib
import io
import json
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from insid3.backbones.contents import identify
from insid3.backbones.shards import folder_file, members
from insid3.checks.parsing import parsing
from insid3.errors import SizeError, WeightsError
from insid3.stages.chunked import is_out_of_memory

State = dict[str, Tensor]

# Entries of checkpoints of trainings that hold the model's tensors; the first that is there is taken.
_CONTAINERS = ("teacher", "model", "state_dict", "module", "backbone", "net", "model_state_dict", "model_ema",
               "state_dict_ema", "ema")  # fmt: skip


def read(path: str | os.PathLike[str]) -> State:
    """Read the tensors of a weights file or of its shards, whatever its name.

    Args:
        path: a file of `torch.save`, which may be a checkpoint of a training; a .safetensors file; an index of shards
            (.index.json); or a folder that holds one of these, as transformers saves it.

    Raises:
        WeightsError: the file is missing, damaged, cut short, or holds something else; the message says what.
        SizeError: the tensors do not fit into memory.
    """
    place = Path(os.fsdecode(path))
    with parsing(f"weights {place}", "weights", WeightsError):
        try:
            file = folder_file(place) if place.is_dir() else place
            kind = identify(file)
        except OSError as error:
            raise WeightsError(f"weights {place} cannot be read: {error.strerror}") from error
        if kind != "index":
            return _tensors(file, kind)
        return _read_shards(file)


def _read_shards(index: Path) -> State:
    state: State = {}
    for shard, names in members(index).items():
        kind = identify(shard)
        held = _tensors(shard, kind)
        if missing := sorted(names - held.keys()):
            raise WeightsError(f"weights {shard} lacks tensor {missing[0]}, which {index.name} says is in it")
        state |= {name: held[name] for name in names}
    return state


def _tensors(file: Path, kind: str) -> State:
    if kind == "index":
        raise WeightsError(f"weights {file} is an index of shards, not a shard")
    mapped = kind == "zip" and file.suffix != ".safetensors"
    try:
        loaded = load_file(file) if kind == "safetensors" else _torch(file, mapped=mapped)
    except pickle.UnpicklingError as error:  # torch's message advises to run the file's code
        raise WeightsError(f"weights {file} is refused: {_held(str(error))}") from error
    except (SafetensorError, RuntimeError, EOFError) as error:
        if is_out_of_memory(error) or "allocate" in str(error):
            raise SizeError(f"weights {file} need more memory than there is: use a smaller backbone") from error
        raise WeightsError(
            f"weights {file} is damaged or cut short ({first_line(error)}): download it again"
        ) from error
    return _checked(_innermost(loaded), file)


def _torch(file: Path, *, mapped: bool) -> Any:
    if mapped:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    with _Bounded(io.FileIO(file)) as content:  # given a path, torch would look at the suffix
        return torch.load(content, map_location="cpu", weights_only=True)


class _Bounded(io.BufferedReader):
    """A file that reads at most what is left: Python's own would first reserve memory for all that is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = os.fstat(self.fileno()).st_size - self.tell()
        return super().read(left if size is None or size < 0 else max(0, min(size, left)))


def _held(told: str) -> str:
    """Return what the unpickler met and must not load, from its message."""
    found = re.search(r"GLOBAL ([\w.]+)", told)
    if found is None:
        return "it holds more than tensors, or is no .pth or .safetensors file"
    return (
        f"it holds more than tensors, Python objects such as {found[1][-80:]}: a whole model, or a checkpoint of a "
        "training. Where it was made, save its tensors alone: torch.save(model.state_dict(), 'weights.pth')"
    )


def _innermost(loaded: Any) -> Any:
    """Return the table of tensors inside the tables of a checkpoint."""
    for _level in range(8):  # a table in a pickle can hold itself
        if not isinstance(loaded, Mapping):
            break
        inner = next((loaded[name] for name in _CONTAINERS if isinstance(loaded.get(name), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    return loaded


def _checked(loaded: Any, file: Path) -> State:
    """Return the tensors, after a check that the file holds all of their values; leave out numbers and texts."""
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"weights {file} is not a table of named tensors")
    state = {str(name): value.detach() for name, value in loaded.items() if isinstance(value, Tensor)}
    others = [name for name, value in loaded.items() if not isinstance(value, Tensor | int | float | str | None)]
    if not state or others:
        inside = f" (it holds {', '.join(sorted(map(str, loaded))[:3])[:80]}, ...)" if loaded else ""
        raise WeightsError(f"weights {file} is not a table of named tensors{inside}")
    for name, value in state.items():
        if value.is_meta or value.layout != torch.strided or value.is_quantized or value.is_complex():
            raise WeightsError(f"weights {file}: tensor {name[:80]} holds no plain numbers (it is {_nature(value)})")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise WeightsError(f"weights {file} is damaged: tensor {name[:80]} is larger than what is saved of it")
    return state


def _nature(value: Tensor) -> str:
    if value.is_meta:
        return "a shape without values"
    if value.layout != torch.strided:
        return "sparse"
    return "quantised" if value.is_quantized else "complex"


def fingerprint(state: State) -> str:
    """Return 16 hex digits over names, shapes and about 1,024 evenly spaced values of every tensor.

    Any training changes them; file format, compute dtype and device do not. A sample of values keeps 7B models cheap.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().flatten()
        sample = tensor[:: max(1, tensor.numel() // 1024)].cpu().float().contiguous()
        digest.update(json.dumps([name, list(state[name].shape)]).encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message: some libraries add paragraphs."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
