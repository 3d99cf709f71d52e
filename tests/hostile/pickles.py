"""Damaged and hostile pickles and .npy files of data sets: their bytes, their steps, and what they declare."""

import io
import pickle
import pickletools
import random
import struct
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hostile.values import bytes_changed
from insid3.eval.pickles import _Dtype, load_array, load_pickle

KIND = "pickles"
_SOUND: dict[str, Any] = {
    "splits": {cls: [f"val2014/{cls}_{i}.jpg" for i in range(4)] for cls in range(3)},
    "annotations": {
        3: {"a.jpg": {"annotations": [{"segmentation": [[1.5, 2, 30, 2, 30, 40]], "bbox": [1, 2, 3, 4], "id": 7}]}},
        9: {"b.jpg": {"annotations": [{"segmentation": {"size": [4, 5], "counts": b"052"}, "iscrowd": 1}]}},
    },
    "arrays": [
        np.eye(3, dtype=bool),
        np.arange(6.0).reshape(2, 3),
        np.array(["a", "bc"]),
        np.float64(2.5),
        np.int64(3),
    ],
    "objects": np.array([{7: np.eye(2, dtype=bool)}, {3: np.ones((2, 2), np.uint8)}, None], object),
    "kinds": [OrderedDict(a=1), defaultdict(list, {1: [2]}), {1, 2}, frozenset([3]), b"\xff", 2**70, -1.5, None, True],
}
_LENGTHS = (2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_MORE = (*_LENGTHS, 2**40, 2**62, 2**63, 2**64 - 1)
_STATE = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n"
_DTYPE = b"cnumpy\ndtype\n(S'%s'\nI0\nI1\ntR(I3\nS'%s'\nNNNI-1\nI-1\nI0\ntb"


def attempts(folder: Path, seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    rng = random.Random(f"pickles {seed}")
    for number in range(count):
        name, protocol = rng.choice(list(_SOUND)), rng.randrange(6)
        made, what = pickle.dumps(_SOUND[name], protocol), rng.random()
        if what < 0.3:
            did, data, load = "bytes", bytes_changed(made, rng), load_pickle
        elif what < 0.6:
            did, data, load = "steps", _steps_changed(made, rng), load_pickle
        elif what < 0.8:
            did, data = rng.choice(list(_crafted(rng).items()))
            load = load_pickle
        else:
            did, data = _npy(rng)
            load = load_array
        if load is load_pickle and rng.random() < 0.1:  # as the objects of an .npy file
            did, data, load = f"{did}, in .npy", _header("|O", False, (rng.choice((1, 3, 10**6)),)) + data, load_array
        file = folder / "input"
        file.write_bytes(data)
        yield f"{number}: {name}, protocol {protocol}, {did}", partial(_looked_at, load, file)


def _looked_at(load: Callable[[Path], Any], file: Path) -> None:
    """Check that a loaded value is made of types and sizes that data sets need."""
    seen, left = set[int](), [load(file)]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            left += value
        elif isinstance(value, np.ndarray):
            assert value.size * max(value.itemsize, 1) <= 16 * file.stat().st_size + 16
            left += value.ravel().tolist()
        else:
            named = callable(value) or isinstance(value, _Dtype)  # and not used
            assert named or isinstance(value, str | bytes | int | float | complex | np.generic | None), type(value)


def _steps_changed(data: bytes, rng: random.Random) -> bytes:
    """Drop, double, move or put in steps, or change their arguments."""
    places = [place for _, _, place in pickletools.genops(data)]
    steps = [data[start:end] for start, end in zip(places, [*places[1:], len(data)], strict=True)]
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, what = rng.randrange(len(steps)), rng.random()
        if what < 0.2:
            del steps[at]
        elif what < 0.4:
            steps.insert(rng.randrange(len(steps)), steps[at])
        elif what < 0.7:
            steps.insert(at, rng.choice(_steps(rng)))
        else:
            steps[at] = rng.choice(_steps(rng))
        steps = steps or [b"."]
    return b"".join(steps)


def _steps(rng: random.Random) -> list[bytes]:
    """Return steps with what they declare; most are too large, or of a kind that no data set needs."""
    few, many = rng.choice(_LENGTHS), rng.choice(_MORE)
    four, eight = struct.pack("<I", few), struct.pack("<Q", many)
    declared = [code + four + b"x" for code in (b"r", b"j", b"X", b"B", b"T", b"\x8b", b"\x84")]
    declared += [code + eight + b"x" for code in (b"\x8d", b"\x8e", b"\x96", b"\x95")]
    declared += [b"p%d\n" % many, b"g%d\n" % many, b"I%d\n" % many, b"L%dL\n" % many, b"I%s\n" % (b"9" * 5000)]
    plain = [bytes([code]) for code in b"().02]}lt\x85\x86\x87NRbaesud\x94\x8f\x90\x91\x88\x81\x92\x93oQ\x97\x98"]
    named = [b"cnumpy\ndtype\n", b"cbuiltins\nlist\n", b"cnumpy.core.multiarray\nscalar\n", b"cos\nsystem\n", b"c\n\n"]
    return declared + plain + named + [b"i__main__\nx\n", b"Pid\n", b"\x82\x01", b"\x80\x05", b"\x80\xff", b"F1e999\n"]


def _array(shape: bytes, code: bytes, order: bytes, data: bytes) -> bytes:
    return _STATE + shape + _DTYPE % (code, order) + b"I0\n" + data + b"tb."


def _crafted(rng: random.Random) -> dict[str, bytes]:
    """Return crafted pickles by what they try."""
    count, deep = rng.choice((4, 2**20, 2**40, 2**62)), rng.choice((1000, 300_000))
    shape, objects = b"(I%d\nt" % count, b"((lI1\nal"
    text = b"U" * rng.choice((1, 10_000, 200_000))
    counted = b"cbuiltins\nlist\n" + b"X" + struct.pack("<I", len(text)) + text + b"q\x01"
    return {
        "a list shorter than its shape": _array(shape, b"O8", b"|", b"(lI1\na"),
        "a list longer than its shape": _array(b"(I1\nt", b"O8", b"|", b"(l" + b"I1\na" * 9),
        "bytes for objects": _array(shape, b"O8", b"|", b"S'AAAAAAAA'\n"),
        "objects for bytes": _array(shape, b"f8", b"<", objects),
        "a shape without content": _array(shape, b"S0", b"|", b"S''\n"),
        "negative sides": _array(b"(I-1\nI-%d\nt" % count, b"u1", b"|", b"S'A'\n"),
        "sides that overflow": _array(b"(" + b"I%d\n" % 2**32 * 2 + b"I0\nI%d\nt" % count, b"u1", b"|", b"S''\n"),
        "many sides": _array(b"(" + b"I1\n" * 100 + b"t", b"u1", b"|", b"S'A'\n"),
        "another byte order": _array(b"(I1\nt", b"f8", rng.choice((b"x", b"", b"<>", b"=")), b"S'AAAAAAAA'\n"),
        "a large element": _array(b"(I1\nt", b"U%d" % rng.choice((10**9, 2**31)), b"<", b"S'AAAAAAAA'\n"),
        "filled twice": _array(b"(I1\nt", b"u1", b"|", b"S'A'\n")[:-1] + b"(I1\n(I1\ntN" + objects + b"tb.",
        "a deep key": b"}" + b")" + b"\x85" * deep + b"Ns.",
        "a deep set": b"\x8f(" + b")" + b"\x85" * deep + b"\x90.",
        "a key with a long hash": b"}" + b")" + b"2\x86" * 60 + b"Ns.",
        "the same by the memo": b"})" + b"".join(b"q\x00h\x00h\x00\x87" for _ in range(60)) + b"Ns.",
        "colliding keys": b"}(" + b"".join(b"\x8a\x0a" + int(i * (2**61 - 1)).to_bytes(10, "little") + b"N"
                                         for i in range(1, 3000)) + b"u.",
        "deep lists": b"]" * deep + b"a" * (deep - 1) + b".",
        "a list of itself": b"]q\x00h\x00a.",
        "copies of copies": counted + b"".join(b"0cbuiltins\nlist\nh\x01\x85R" for _ in range(2000)) + b".",
        "many marks": b"(" * deep + b".",
        "attributes of a function": b"cnumpy.core.multiarray\nscalar\n}S'x'\nNsb.",
        "a call of a call": b"cbuiltins\nint\n)Rq\x00)R.",
        "a buffer of an array": _array(b"(I1\nt", b"u1", b"|", b"S'A'\n")[:-1] + b"q\x00" + b"cnumpy.core.numeric\n"
                                b"_frombuffer\n(h\x00" + _DTYPE % (b"O8", b"|") + b"(I1\ntS'C'\ntR.",
        "a dtype with fields": b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR(I3\nS'|'\nN(S'a'\nt}I8\nI1\nI0\ntb.",
        "no end": pickle.dumps(_SOUND)[:-1],
    }  # fmt: skip


def _header(code: str, fortran: object, shape: object, version: bytes = b"\1\0") -> bytes:
    text = f"{{'descr': {code!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode("latin1", "replace")
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\1\0" else "<I", len(text)) + text


def _npy(rng: random.Random) -> tuple[str, bytes]:
    """Change bytes or headers of .npy files of numbers and of objects."""
    made = io.BytesIO()
    array = rng.choice((np.arange(12, dtype="<f4").reshape(3, 4), np.asfortranarray(np.eye(3)), _SOUND["objects"]))
    np.lib.format.write_array(made, array, rng.choice(((1, 0), (2, 0), (3, 0))), allow_pickle=True)
    if rng.random() < 0.4:
        return ".npy, bytes", bytes_changed(made.getvalue(), rng)
    if rng.random() < 0.2:
        return ".npy, as it is", made.getvalue()
    sides = (0, 1, 2, 3, -1, 2**31, 2**40, 2**63, True, "x", [1])
    code = rng.choice(("<f4", "|O", "|u1", ">i2", "<U3", "|S0", "|V8", "<M8[s]", "<U999999999", "f", "x" * 99, "|b1"))
    shape: object = tuple(rng.choice(sides) for _ in range(rng.randrange(5)))
    shape = rng.choice((shape, shape, shape, [2, 3], 5, "((((" * 2000, (1,) * 70))
    fortran = rng.choice((True, False, 0, "x"))
    version = rng.choice((b"\1\0", b"\2\0", b"\3\0", b"\x09\0"))
    head = _header(code, fortran, shape, version)
    if rng.random() < 0.2:
        head = head.replace(b"'descr'", b"-" * 5000 + b"'descr'")
    return f".npy, {code} {str(shape)[:40]}", head + rng.choice((b"", rng.randbytes(48), pickle.dumps(array)))
