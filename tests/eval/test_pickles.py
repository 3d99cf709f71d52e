"""Data sets come as pickles; what runs code does not."""

import collections
import os
import pickle
from pathlib import Path

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
        1: ["a", ("b", 2.5, None, True)], "set": {1, 2}, "bytes": b"\xff\x00", "frozen": frozenset([3]),
        "counted": collections.defaultdict(list, {3: [1]}), "ordered": collections.OrderedDict(a=1), "big": 2**80,
    }  # fmt: skip
    arrays = {"masks": np.eye(3, dtype=bool), "scalar": np.float64(0.5), "objects": np.array([{1: np.ones(2)}, None])}
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps({**data, **arrays}, protocol))
    found = load_pickle(path)
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
