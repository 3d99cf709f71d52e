"""Reading of pickles: plain data is read, code is refused."""

import collections
import os
import pickle
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from insid3.errors import DataError
from insid3.eval.datasets import draw
from insid3.eval.pickles import load_array, load_pickle
from insid3.eval.reader import Readers


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


class Foreign:
    """A class that pickles may not name."""


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_and_arrays(tmp_path: Path, protocol: int) -> None:
    data = {
        1: ["a", ("b", 2.5, None, True)], "set": {1, 2}, "bytes": b"\xff\x00", "none": b"", "frozen": frozenset([3]),
        "counted": collections.defaultdict(list, {3: [1]}), "ordered": collections.OrderedDict(a=1), "big": 2**80,
    }  # fmt: skip
    arrays: dict[str, Any] = {
        "masks": np.eye(3, dtype=bool),
        "scalar": np.float64(0.5),
        "objects": np.array([{1: np.ones(2)}, None]),
    }
    arrays |= {"texts": np.array(["a", "bc"]), "swapped": np.arange(3, dtype=">i4"), "turned": np.asfortranarray(
        np.arange(6.0).reshape(2, 3))}  # fmt: skip
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps({**data, **arrays}, protocol))
    found = load_pickle(path)
    for name in ("texts", "swapped", "turned"):
        assert np.array_equal(found[name], arrays[name])
    assert {key: found[key] for key in data} == data
    assert np.array_equal(found["masks"], np.eye(3))
    assert found["scalar"] == 0.5
    assert np.array_equal(found["objects"][0][1], np.ones(2))


BOX = np.arange(24.0).reshape(2, 3, 4)
LAYOUTS: dict[str, np.ndarray] = {
    "C": BOX, "F": np.asfortranarray(BOX), "K": BOX.transpose(1, 0, 2), "K, all": BOX.transpose(2, 0, 1),
    "K, bool": (BOX > 5).transpose(0, 2, 1), "K, swapped": BOX.astype(">i2").transpose(1, 0, 2), "gaps": BOX[:, ::2],
    "backwards": BOX[::-1], "no axes": np.array(3.0), "empty": np.zeros((2, 0, 3)).transpose(1, 0, 2),
    "objects": np.array([[[1, None]], [["a", 2]]], object).transpose(1, 0, 2),
}  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_in_every_order_of_their_memory(tmp_path: Path, layout: str, protocol: int) -> None:
    """The arrays are written by the installed numpy."""
    path, made = tmp_path / "data.pkl", LAYOUTS[layout]
    path.write_bytes(pickle.dumps([made], protocol))
    (found,) = load_pickle(path)
    assert found.shape == made.shape
    assert np.array_equal(found, made)


KEPT = (b"".join(x.to_bytes(8, "little") for x in range(6)), np.dtype("i8"), (2, 3))


@pytest.mark.parametrize("module", ["numpy.core.numeric", "numpy._core.numeric"])
def test_orders_are_those_of_every_numpy(tmp_path: Path, module: str) -> None:
    """Arrays of order "K" are made here, because numpy writes them only since 2.4."""
    path = tmp_path / "data.pkl"
    written = np.arange(6).reshape(2, 3)
    for more, expected in ((("C",), written), (("F",), np.arange(6).reshape(3, 2).T), (("K", (1, 0)), written.T)):
        called = pickle.dumps(Calls(FROM_BUFFER, (*KEPT, *more)), 0)
        own = FROM_BUFFER.__module__.encode()
        assert called.count(own) == 1
        path.write_bytes(called.replace(own, module.encode()))
        assert np.array_equal(load_pickle(path), expected)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("K", (0, 0)), "of which it tells another order"),
        (("K", (1, 2)), "of which it tells another order"),
        (("K", (0,)), "of which it tells another order"),
        (("K", (-1, 0)), "of which it tells another order"),
        (("K", None), "axes are not whole numbers"),
        (("K",), "axes are not whole numbers"),
        (("K", (0.0, 1.0)), "axes are not whole numbers"),
        (("K", (False, True)), "axes are not whole numbers"),
        (("C", (1, 0)), "an order that numpy does not write"),
        (("A",), "an order that numpy does not write"),
        ((7,), "an order that numpy does not write"),
    ],
)
def test_orders_that_are_none(tmp_path: Path, more: tuple[object, ...], message: str) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(Calls(FROM_BUFFER, (*KEPT, *more))))
    with pytest.raises(DataError, match=rf"data.pkl is damaged, or no pickle file: it .*{message}"):
        load_pickle(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_is_refused_by_name_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    path, mark = tmp_path / "data.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps({1: ["a", Hostile(mark)]}, protocol))
    with pytest.raises(DataError, match=r"data.pkl asks for (posix|nt).system"):
        load_pickle(path)
    path.write_bytes(pickle.dumps([Foreign()], protocol))
    with pytest.raises(DataError, match=r"data.pkl asks for .*(Foreign|_reconstructor)"):
        load_pickle(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["builtins.eval", "builtins.getattr", "numpy.load", "numpy.core.multiarray.fromfile", "subprocess.Popen"]
)
def test_functions_are_refused_by_name(tmp_path: Path, name: str) -> None:
    module, _, function = name.rpartition(".")
    path = tmp_path / "data.pkl"
    path.write_bytes(f"c{module}\n{function}\n.".encode())
    with pytest.raises(DataError, match=f"asks for {name}"):
        load_pickle(path)


class Calls:
    """An object that is pickled as a call, and a state for its result."""

    def __init__(self, function: object, arguments: tuple[object, ...], state: object = None) -> None:
        self.made = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[object, ...]:
        return self.made


# Objects that numpy would take for plain bytes, so that any number becomes an address.
FLAGLESS = Calls(np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0))
FIELDS = Calls(np.dtype, ("V8", False, True), (3, "|", None, ("a",), {"a": (FLAGLESS, 0)}, 8, 1, 0))
RECONSTRUCT = np.zeros(0).__reduce__()[0]
FROM_BUFFER = np.zeros((2, 2)).__reduce_ex__(5)[0]


@pytest.mark.parametrize(
    "hostile",
    [
        Calls(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (1,), FLAGLESS, False, b"A" * 8)),
        Calls(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (1,), FIELDS, False, b"A" * 8)),
        Calls(RECONSTRUCT, (np.ndarray, (0,), FLAGLESS), (1, (1,), "O8", False, b"A" * 8)),
        Calls(np.ndarray, ((1,), FLAGLESS, b"A" * 8)),
        Calls(np.ndarray, ((1,), "O", b"A" * 8)),
        Calls(FROM_BUFFER, (b"A" * 8, FLAGLESS, (1,), "C")),
        Calls(np.float64(0).__reduce__()[0], (FLAGLESS, b"A" * 8)),
    ],
)
def test_numbers_are_never_taken_for_addresses(tmp_path: Path, hostile: Calls) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps([hostile]))
    with pytest.raises(DataError, match=r"data.pkl is damaged, or no pickle file"):
        load_pickle(path)


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({1: 2})[:-3], b"\x80\x09."])
def test_damaged_pickles_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data.pkl is damaged, or no pickle file"):
        load_pickle(path)
    with pytest.raises(DataError, match=r"none.pkl: No such file"):
        load_pickle(tmp_path / "none.pkl")


def test_arrays_with_and_without_objects(tmp_path: Path) -> None:
    path, mark = tmp_path / "a.npy", tmp_path / "ran"
    np.save(path, np.arange(6).reshape(2, 3))
    assert np.array_equal(load_array(path), np.arange(6).reshape(2, 3))
    masks = np.empty(2, object)
    masks[:] = [{7: np.eye(2, dtype=bool)}, {3: np.ones((2, 2), np.uint8)}]
    np.save(path, masks, allow_pickle=True)
    assert np.array_equal(load_array(path)[0][7], np.eye(2))
    with path.open("wb") as file:
        np.lib.format.write_array(file, masks, version=(2, 0))
    assert np.array_equal(load_array(path)[1][3], np.ones((2, 2)))
    masks[1] = Hostile(mark)
    np.save(path, masks, allow_pickle=True)
    with pytest.raises(DataError, match=r"a.npy asks for posix.system"):
        load_array(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"a.npy is damaged"):
        load_array(path)
    assert not mark.exists()


STATE = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(%s"
DTYPE = b"tcnumpy\ndtype\n(S'%s'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI0\n%stb."


def array(shape: str, code: bytes, data: bytes) -> bytes:
    return STATE % "".join(f"I{side}\n" for side in shape.split()).encode() + DTYPE % (code, data)


COPIED = b"X" + (10**6).to_bytes(4, "little") + b"U" * 10**6 + b"q\x01"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (array("9", b"O8", b"(lI1\na"), "an array of 1 objects, its shape and type need 9"),
        (array("1099511627776", b"O8", b"(lI1\na"), "an array of 1 objects"),
        (array("9", b"O8", b"S'AAAAAAAA'\n"), "fills an array of object with bytes"),
        (array("1", b"f8", b"(lI1\na"), "fills an array of float64 with a list"),
        (array("9", b"f8", b"S'AAAAAAAA'\n"), "8 bytes, its shape and type need 72"),
        (array("1099511627776", b"S0", b"S''\n"), "need 1,099,511,627,776"),
        (array("-1 -1", b"u1", b"S'A'\n"), "an array whose shape is not"),
        (array("4294967296 4294967296 0", b"u1", b"S''\n"), "an array of 0 bytes"),
        (array("1", b"u1", b"S'A'\n")[:-1] + b"(I1\n(I2\ntNI0\nNtb.", "fills an array twice"),
        (b"Nr\xff\xff\xff\xff.", ""),  # a place of the memo
        (b"Np999999999999999\n.", ""),
        (b"\x8d" + b"\xff" * 7 + b"\x0f" + b"x.", "pickle file"),
        (b"\x96" + b"\xff" * 7 + b"\x0f" + b"x.", "pickle file"),
        (b"\x80\x04\x95" + b"\xff" * 7 + b"\x0fN.", ""),
        (b"})" + b"\x85" * 10**5 + b"Ns.", "has a tuple as a key"),
        (b"\x8f()" + b"\x85" * 10**5 + b"\x90.", "has a tuple as a key"),
        (b"}(h\x00)" + b"2\x86" * 60 + b"Ns.", "pickle file"),
        (b"})" + b"q\x00h\x00h\x00\x87" * 60 + b"Ns.", "has a tuple as a key"),
        (b"}\x8a\x09" + b"\xff" * 8 + b"\x00Ns.", "a whole number of more than 60 bits as a key"),
        (b"}]Ns.", "has a list as a key"),
        (COPIED + b"0cbuiltins\nlist\nh\x01\x85R" * 5000 + b".", "asks for more than it holds"),
        (COPIED + b"0c_codecs\nencode\nh\x01U\x01x\x86R" * 5000 + b".", "asks for more than it holds"),
        (b"cnumpy.core.multiarray\nscalar\nN}S'__defaults__'\n)s\x86b.", "gives something else a state"),
        (b"X\x01\x00\x00\x00aI1\na.", "adds to text what belongs into a list"),
        (b"cnumpy\nndarray\n)R.", "calls numpy.ndarray"),
        (b"cos\n" + b"x" * 10**6 + b"\n.", "asks for os.xx"),
    ],
)  # fmt: skip
def test_what_a_pickle_declares_is_not_believed(tmp_path: Path, content: bytes, message: str) -> None:
    """Declared sizes cost neither memory nor time."""
    path = tmp_path / "data.pkl"
    path.write_bytes(content)
    tracemalloc.start()
    before = time.process_time()  # of this process alone, however much else the machine does
    try:
        if message:
            with pytest.raises(DataError, match=message) as error:
                load_pickle(path)
            assert str(path) in str(error.value)
            assert len(str(error.value)) < 500
        else:
            assert load_pickle(path) is None
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
    assert time.process_time() - before < 20


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }", b"", "cut short: of 8,000,000"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", b"x" * 8, "has a header that does not say"),
        ("{'descr': '|V8', 'fortran_order': False, 'shape': (1,), }", b"x" * 8, "has a header that does not say"),
        ("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }", b"x" * 8, "has a header that does not"),
        ("{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000000,), }", b"x" * 8, "cut short"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': ((((((", b"", "has a header that does not say"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "1" * 400 + "x), }", b"", "has a header that"),
        ("-" * 9000, b"", "has a header that does not say"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", pickle.dumps(np.array([{}])), "the 3 objects"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps([1]), "the 1 objects"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (9,), }", array("9", b"O8", b"(lI1\na"), "of 1 objects"),
    ],
)  # fmt: skip
def test_what_an_npy_file_declares_is_not_believed(tmp_path: Path, header: str, data: bytes, message: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + data)
    with pytest.raises(DataError, match=rf"a.npy is damaged, or no (.npy|pickle) file: it .*{message}"):
        load_array(path)


def test_all_npy_files_of_numbers_are_those_of_numpy(tmp_path: Path) -> None:
    for made in (
        np.zeros(()), np.zeros((0, 3)), np.arange(3, dtype=">i2"), np.asfortranarray(np.eye(3)), np.array(["a", "bc"]),
        np.ones((2, 1, 3), bool), np.arange(4.0).astype(np.float16),
    ):  # fmt: skip
        np.save(tmp_path / "a.npy", made)
        found = load_array(tmp_path / "a.npy")
        assert found.dtype == made.dtype
        assert np.array_equal(found, made)


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pkl")
    with pytest.raises(DataError, match=r"a.pkl is damaged, or no pickle file: it is a pipe"):
        load_pickle(tmp_path / "a.pkl")


def test_a_hostile_split_stops_the_evaluation(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "COCO2014/splits/val").mkdir(parents=True)
    for fold in range(4):
        data = {0: [Hostile(tmp_path / "ran")]}
        (tmp_path / f"COCO2014/splits/val/fold{fold}.pkl").write_bytes(pickle.dumps(data))
    with pytest.raises(DataError, match=r"asks for posix.system"):
        draw(["coco"], Readers(tmp_path))
    assert not (tmp_path / "ran").exists()
