"""Pickles and .npy files of data sets, without running what is in them."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from insid3.errors import DataError

# What files may name, by module and name. Numpy's functions have moved between its versions.
_NUMPY = {"_reconstruct": np.zeros(0).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}
_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(f"numpy.{core}.multiarray", name): what for core in ("core", "_core") for name, what in _NUMPY.items()},
    **{
        (f"numpy.{core}.numeric", "_frombuffer"): lambda data, dtype, shape, order: np.frombuffer(data, dtype).reshape(
            shape, order=order
        )
        for core in ("core", "_core")
    },
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),  # how protocol 2 keeps bytes
}
_PLAIN = {("collections", "OrderedDict"), ("collections", "defaultdict")} | {
    ("builtins", name) for name in ("dict", "list", "tuple", "set", "frozenset", "int")
}


def load_pickle(path: Path) -> Any:
    """What a pickle holds, if that is plain containers, numbers, text and numpy arrays.

    Raises:
        DataError: missing, damaged, or it names anything else, which is neither imported nor called.
    """
    return _read(path, lambda file: _Restricted(file, path).load())


def load_array(path: Path) -> np.ndarray:
    """What an .npy file holds; objects in it as `load_pickle`.

    Raises:
        DataError: see `load_pickle`.
    """

    def load(file: BinaryIO) -> np.ndarray:
        np.lib.format.read_magic(file)
        if not np.lib.format.read_array_header_1_0(file)[2].hasobject:
            file.seek(0)
            return np.load(file, allow_pickle=False)
        return np.asarray(_Restricted(file, path).load(), dtype=object)

    return _read(path, load)


def _read(path: Path, load: Callable[[BinaryIO], Any]) -> Any:
    try:
        with path.open("rb") as file:
            return load(file)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # damaged files make it raise nearly anything
        raise DataError(f"{path} is damaged or of another format ({error!r:.120}): copy it again") from error


class _Restricted(pickle.Unpickler):
    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # Python 2's
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        raise DataError(
            f"{self._path} asks for {module}.{name}, but data sets hold only plain containers and numpy arrays: "
            "refused, nothing was run. Get the file from its publisher"
        )
