"""Data sets come as pickles; what runs code does not."""

import collections
import os
import pickle
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
    """A class of another module than containers and arrays."""


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
    """Pickled as a call of anything, and then a state for what it gives."""

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
    with pytest.raises(DataError, match=r"data.pkl is damaged or of another format"):
        load_pickle(path)


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({1: 2})[:-3], b"\x80\x09."])
def test_damaged_pickles_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data.pkl is damaged or of another format"):
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


def test_a_hostile_split_stops_the_evaluation(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "COCO2014/splits/val").mkdir(parents=True)
    for fold in range(4):
        data = {0: [Hostile(tmp_path / "ran")]}
        (tmp_path / f"COCO2014/splits/val/fold{fold}.pkl").write_bytes(pickle.dumps(data))
    with pytest.raises(DataError, match=r"asks for posix.system"):
        draw(["coco"], Readers(tmp_path))
    assert not (tmp_path / "ran").exists()
