"""Weights in several files, and the folders that they lie in."""

from pathlib import Path, PurePosixPath, PureWindowsPath

from insid3.errors import WeightsError
from insid3.parsing import Flaw, as_dict, as_text, parsing, read_json

_LARGEST_INDEX = 2**26  # bytes; published ones have a tenth of a megabyte
_FILES = (
    "model.safetensors",
    "*.safetensors.index.json",
    "pytorch_model.bin",
    "*.index.json",
)  # the first that is there
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def folder_file(folder: Path) -> Path:
    """Return the weights file, or the index of shards, of a folder that a program saved a model in.

    Raises:
        WeightsError: there is none, or several and no telling which.
    """
    for pattern in _FILES:
        if found := sorted(folder.glob(pattern)):
            return found[0]
    found = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if len(found) == 1:
        return found[0]
    if not found:
        raise WeightsError(
            f"weights {folder} is a folder without weights in it: expected model.safetensors or an index"
        )
    some = ", ".join(path.name for path in found[:3]) + (", ..." if found[3:] else "")
    raise WeightsError(f"weights {folder} is a folder with several weights files ({some}): give one of them")


def members(index: Path) -> dict[Path, set[str]]:
    """Return the shards that an index names, and which tensors are to be in each.

    Raises:
        WeightsError: the index is damaged, or names a shard that is not there or that lies outside its folder.
    """
    shards: dict[str, set[str]] = {}
    with parsing(f"weights {index}", "index of shards", WeightsError):
        if index.stat().st_size > _LARGEST_INDEX:
            raise Flaw("is larger than any index of shards")
        for tensor, shard in as_dict(as_dict(read_json(index), "content").get("weight_map"), "weight_map").items():
            name = as_text(shard, f"shard of {tensor}")
            if _leads_out(name):
                raise Flaw(f"names a shard outside its folder, {name!r}")
            shards.setdefault(name, set()).add(tensor)
        if not shards:
            raise Flaw("names no shards")
    missing = sorted(name for name in shards if not (index.parent / name).is_file())
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if missing[3:] else "")
        raise WeightsError(
            f"weights {index}: {len(missing)} of {len(shards)} shards are missing beside it ({some}): copy them there"
        )
    return {index.parent / name: names for name, names in sorted(shards.items())}


def _leads_out(name: str) -> bool:
    """Whether a path is more than names of folders and a file, on any system."""
    return any(path.is_absolute() or path.drive or ".." in path.parts for path in _readings(name)) or "\0" in name


def _readings(name: str) -> tuple[PurePosixPath, PureWindowsPath]:
    return PurePosixPath(name), PureWindowsPath(name)
