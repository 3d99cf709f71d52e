"""Safe reading of the pickles and .npy files of data sets: no code of a file is run, no declared size is believed.

Declared lengths, shapes, types and memo numbers are compared with the content of the file before an object is made.
These checks, and the check of keys, are needed at every step; hence the unpickler written in Python.
"""

import io
import math
import pickle
import re
from collections.abc import Callable, Iterable, Sized
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar

import numpy as np

from insid3.checks.parsing import Flaw, clipped, parsing, read_content
from insid3.errors import DataError

_CODE = re.compile(r"[|<>=]?[biufcSUO][0-9]{0,9}")
_SHAPE = r"(?:\d{1,19}L?, ?)*(?:\d{1,19}L?)?"
_NPY = re.compile(rf"\{{'descr': '({_CODE.pattern})', 'fortran_order': (True|False), 'shape': \(({_SHAPE})\),? ?\}}\s*")
_KINDS = {
    bool: "a truth value", int: "a whole number", float: "a number", str: "text", bytes: "bytes", list: "a list",
    tuple: "a tuple", dict: "a dict", set: "a set", frozenset: "a set", np.ndarray: "an array", NoneType: "nothing",
}  # fmt: skip
_KEY_BITS = 60  # of a whole number as a key: larger ones can be chosen so that all hashes collide
_SLACK = 2**16  # bytes that even a small file may copy


class _Dtype:
    """A stand-in for numpy's dtypes while a file is read, which takes only kind, size and byte order from the file.

    Numpy would believe the flags that a file gives a dtype, and then take numbers for addresses.
    """

    def __init__(self, code: str, *_: object) -> None:
        self.dtype = _dtype(code)

    def set_state(self, state: tuple[Any, ...]) -> None:
        _, order, *structure = state[:5]
        if any(part is not None for part in structure):
            raise Flaw("holds a dtype with fields")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """An array that is filled once, after it was made."""

    is_filled = False

    def set_state(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        if self.is_filled:
            raise Flaw("fills an array twice")
        self.is_filled = True
        data = data.encode("latin1") if isinstance(data, str) else data  # as Python 2 wrote it
        dtype = _plain(dtype)
        if not isinstance(data, list if dtype.hasobject else bytes):
            raise Flaw(f"fills an array of {dtype.name} with {_kind(data)}")
        _check_shape(shape, dtype, len(data))
        self.__setstate__((1, shape, dtype, bool(is_fortran), data))  # type: ignore[arg-type]


def _dtype(code: str) -> np.dtype[Any]:
    if not _CODE.fullmatch(code):
        raise Flaw(f"holds the dtype {code[:40]!r}, which is not of plain numbers or text")
    return np.dtype(code)


def _plain(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, _Dtype):
        raise Flaw(f"has {_kind(dtype)} in the place of a dtype")
    return dtype.dtype


def _check_shape(shape: Any, dtype: np.dtype[Any], length: int) -> None:
    """Check that a shape needs exactly `length` bytes, or `length` objects."""
    sizes = shape if isinstance(shape, tuple) else (None,)
    if len(sizes) > 32 or any(type(size) is not int or size < 0 for size in sizes):
        raise Flaw("holds an array whose shape is not up to 32 whole numbers of 0 or more")
    needed = math.prod(sizes) * (1 if dtype.hasobject else max(dtype.itemsize, 1))
    if needed != length or math.prod(max(size, 1) for size in sizes) > max(length, 2**31):
        what = "objects" if dtype.hasobject else "bytes"
        raise Flaw(f"holds an array of {length:,} {what}, its shape and type need {needed:,}")


def _empty_array(*_: object) -> np.ndarray:
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _kind(value: object) -> str:
    """Return the words for a value's type in a message."""
    return next((name for kind, name in _KINDS.items() if isinstance(value, kind)), "something else")


def _only_named(*_: object) -> None:
    """Refuse a call: files may only name this class, as an argument of `_reconstruct`."""
    raise Flaw("calls numpy.ndarray")


def _scalar(dtype: Any, data: bytes) -> Any:
    return _from_buffer(data, dtype, (1,), "C")[0]


def _from_buffer(data: bytes, dtype: Any, shape: tuple[int, ...], order: str, axes: Any = None) -> np.ndarray:
    """Return an array that lies in memory without gaps, as numpy writes it.

    Args:
        order: "C", "F", or, since numpy 2.4, "K": `shape` is in the order of the memory, and `axes` is the permutation.
    """
    dtype = _plain(dtype)
    if dtype.hasobject or not isinstance(data, bytes):
        raise Flaw(f"takes {_kind(data)} for the memory of an array")
    _check_shape(shape, dtype, len(data))
    flat = np.frombuffer(data, dtype)
    if order == "K":
        if not isinstance(axes, tuple) or any(type(axis) is not int for axis in axes):
            raise Flaw("holds an array whose axes are not whole numbers")
        if sorted(axes) != [*range(len(shape))]:
            raise Flaw(f"holds an array of {len(shape)} axes, of which it tells another order than one of them all")
        return flat.reshape(shape).transpose(axes)
    if order not in ("C", "F") or axes is not None:
        raise Flaw("holds an array whose memory is in an order that numpy does not write")
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _dict(*parts: Any) -> dict[Any, Any]:
    """Return the dict for a call of `dict`, `OrderedDict` or `defaultdict`, whose function is dropped."""
    items = parts[-1] if parts and not callable(parts[-1]) else ()
    pairs = items.items() if isinstance(items, dict) else items
    return {_key(key): value for key, value in pairs}


def _set(elements: Iterable[Any] = ()) -> set[Any]:
    return set(map(_key, elements))


def _frozen_set(elements: Iterable[Any] = ()) -> frozenset[Any]:
    return frozenset(map(_key, elements))


def _key(value: Any, depth: int = 2) -> Any:
    """Return a value that may be a key. The hash of other values can take for ever, or the whole stack."""
    if isinstance(value, tuple) and depth and len(value) <= 16:
        return tuple(_key(part, depth - 1) for part in value)
    if not isinstance(value, str | bytes | int | float | np.integer | np.floating | np.bool_ | None):
        raise Flaw(f"has {_kind(value)} as a key")
    if isinstance(value, int) and value.bit_length() > _KEY_BITS:
        raise Flaw(f"has a whole number of more than {_KEY_BITS} bits as a key")
    return value


# Functions that files may name, by module and name, with their replacements. Numpy has moved its own between versions.
_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _only_named,
    ("numpy", "dtype"): _Dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),  # bytes in protocol 2
    ("builtins", "bytes"): lambda: b"",  # empty bytes in protocol 2
    **{("builtins", kind.__name__): kind for kind in (list, tuple, int)},
    ("builtins", "dict"): _dict,
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): _frozen_set,
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): _dict,
}


def load_pickle(path: Path) -> Any:
    """Read a pickle of plain containers, numbers, text and numpy arrays.

    Raises:
        DataError: the file is missing or damaged, or names anything else, which is neither imported nor called.
        SizeError: the content needs more memory than there is.
    """
    with parsing(path, "pickle"):
        return _Restricted(path, read_content(path)).load()


def load_array(path: Path) -> np.ndarray:
    """Read an .npy file; objects in the file are read as by `load_pickle`.

    Raises:
        DataError: the file is missing, damaged, or holds objects that `load_pickle` refuses.
        SizeError: the content needs more memory than there is.
    """
    with parsing(path, ".npy"):
        data = read_content(path)
        version = data[6:8]
        if data[:6] != b"\x93NUMPY" or version not in (b"\1\0", b"\2\0", b"\3\0"):
            raise Flaw("does not begin as such a file does")
        start = 10 if version == b"\1\0" else 12
        end = start + int.from_bytes(data[8:start], "little")
        header = _NPY.fullmatch(data[start : min(end, start + 10_000)].decode("latin1"))
        if header is None:
            raise Flaw("has a header that does not say the type and shape of plain numbers, text or objects")
        code, order, sizes = header.groups()
        dtype, shape = _dtype(code), tuple(int(size.rstrip("L")) for size in re.split(", ?", sizes) if size)
        if dtype.hasobject:
            found = _Restricted(path, data[end:]).load()
            if not isinstance(found, np.ndarray) or found.size != math.prod(shape):
                raise Flaw(f"does not hold the {math.prod(shape):,} objects that its header tells of")
            return np.asarray(found, object).reshape(shape)
        needed = math.prod(shape) * max(dtype.itemsize, 1)
        if end + needed > len(data):
            raise Flaw(f"is cut short: of {needed:,} bytes it holds {max(0, len(data) - end):,}")
        _check_shape(shape, dtype, needed)
        flat = np.frombuffer(data[end : end + needed], dtype)
        return flat.reshape(shape, order="F" if order == "True" else "C")


class _Restricted(pickle._Unpickler):
    """An unpickler with only the steps of plain data; a declared length beyond the end of the file fails at once."""

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    dispatch: ClassVar[dict[int, Callable[["_Restricted"], None]]] = {  # type: ignore[assignment]
        code: step  # type: ignore[misc]
        for code, step in pickle._Unpickler.dispatch.items()
        if code
        not in b"".join(
            (
                pickle.PERSID, pickle.BINPERSID, pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.EXT1,
                pickle.EXT2, pickle.EXT4, pickle.DUP, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER,
            )
        )
    }  # fmt: skip

    def __init__(self, path: Path, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._path, self._left = path, 4 * len(data) + _SLACK

    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # its name in Python 2
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        raise DataError(
            f"{self._path} asks for {clipped(f'{module}.{name}', 80)}, but data sets hold only plain containers and "
            "numpy arrays: refused, nothing was run. Get the file from its publisher"
        )

    def spend(self, *values: Any) -> None:
        """Count the items that are about to be copied: a few bytes could ask for the same large object many times."""
        self._left -= sum(len(value) for value in values if isinstance(value, Sized) and not callable(value))
        if self._left < 0:
            raise Flaw("asks for more than it holds")

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack[-1]
        if not callable(function):  # every function on the stack comes from `find_class`
            raise Flaw(f"calls {_kind(function)}")
        self.spend(*arguments)
        self.stack[-1] = function(*arguments)

    def build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if not isinstance(made, _Dtype | _Array):
            raise Flaw(f"gives {_kind(made)} a state")
        self.spend(*state)
        made.set_state(state)

    def append_one(self) -> None:
        value = self.stack.pop()
        self.top(list).append(value)

    def append_all(self) -> None:
        values = self.pop_mark()
        self.top(list).extend(values)

    def set_one(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.top(dict)[_key(key)] = value

    def set_all(self) -> None:
        values, target = self.pop_mark(), self.top(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_key(key)] = value

    def add_all(self) -> None:
        values = self.pop_mark()
        self.top(set).update(map(_key, values))

    def make_dict(self) -> None:
        values = self.pop_mark()
        self.append({_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)})

    def make_frozen_set(self) -> None:
        values = self.pop_mark()
        self.append(_frozen_set(values))

    def read_bytearray(self) -> None:
        """Read a bytearray, as which numpy writes the memory of a writable array."""
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    def top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise Flaw(f"adds to {_kind(self.stack[-1])} what belongs into a {kind.__name__}")
        return self.stack[-1]


_Restricted.dispatch |= {
    pickle.REDUCE[0]: _Restricted.reduce, pickle.BUILD[0]: _Restricted.build, pickle.APPEND[0]: _Restricted.append_one,
    pickle.APPENDS[0]: _Restricted.append_all, pickle.SETITEM[0]: _Restricted.set_one,
    pickle.SETITEMS[0]: _Restricted.set_all, pickle.ADDITEMS[0]: _Restricted.add_all,
    pickle.DICT[0]: _Restricted.make_dict, pickle.FROZENSET[0]: _Restricted.make_frozen_set,
    pickle.BYTEARRAY8[0]: _Restricted.read_bytearray,
}  # fmt: skip
