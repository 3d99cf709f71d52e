"""Weights in several files, and folders of weights."""

from pathlib import Path, PurePosixPath, PureWindowsPath

from insid3.checks.parsing import Flaw, as_dict, as_text, parsing, read_json
from insid3.errors import WeightsError

_LARGEST_INDEX = 2**26  # bytes; published ones have a tenth of a megabyte
# The weights of a folder are the first of these that is there.
_FILES = ("model.safetensors", "*.safetensors.index.json", "pytorch_model.bin", "*.index.json")
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def folder_file(folder: Path) -> Path:
    """Return the weights file, or the index of shards, of a folder in which a program saved a model.

    Raises:
        WeightsError: there is no weights file, or several and nothing tells which one is meant.
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
    """Return the shards that an index names, and the names of the tensors of each.

    Raises:
        WeightsError: the index is damaged, or names a shard that is missing or outside the index's folder.
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
    """Tell whether a path may lead out of its folder on any system."""
    readings = PurePosixPath(name), PureWindowsPath(name)
    return any(path.is_absolute() or path.drive or ".." in path.parts for path in readings) or "\0" in name
