"""Pickles and .npy files of data sets, without running what is in them."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from insid3.errors import DataError


class _Dtype:
    """What stands in for numpy's dtypes while a file is read.

    Numpy would believe the flags that a file gives a dtype, and then take numbers for addresses. Of all that a file
    says, only the kind, the size and the byte order are taken.
    """

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r"[|<>=]?[biufcSUO][0-9]*", code):
            raise ValueError(f"dtype {code!r} is not of plain numbers or text")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, *structure = state[:5]
        if any(part is not None for part in structure):
            raise ValueError("a dtype with fields")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """An array whose dtype comes as a `_Dtype`."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, dtype, is_fortran, data = state
        super().__setstate__((version, shape, _plain(dtype), is_fortran, data))


def _plain(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, _Dtype):
        raise TypeError(f"{type(dtype).__name__} in the place of a dtype")
    return dtype.dtype


def _empty_array(*_: object) -> np.ndarray:
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _scalar(dtype: Any, data: bytes) -> Any:
    return np.frombuffer(data, _plain(dtype), count=1)[0]


def _from_buffer(data: bytes, dtype: Any, shape: tuple[int, ...], order: Any) -> np.ndarray:
    return np.frombuffer(data, _plain(dtype)).reshape(shape, order=order)  # refuses objects


# What files may name, by module and name, and what they get. Numpy's functions have moved between its versions.
_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "numpy.ndarray",  # only named as the kind of array that follows
    ("numpy", "dtype"): _Dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),  # how protocol 2 keeps bytes
    ("builtins", "bytes"): lambda: b"",  # and these where there are none
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
        first = np.lib.format.read_magic(file) == (1, 0)
        read_header = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        if not read_header(file)[2].hasobject:
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
