"""Weight files: what is read, what is refused, and that every refusal is one line that says why."""

import gzip
import json
import os
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import save_file

from insid3 import WeightsError
from insid3.backbones.checkpoint import fingerprint, read

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(5000)}


class Evil:
    """Unpickling this makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.marker,)


def zipped(path: Path) -> None:
    torch.save(STATE, path)


def legacy(path: Path) -> None:
    torch.save(STATE, path, _use_new_zipfile_serialization=False)


def nested(path: Path) -> None:
    torch.save({"model": STATE, "epoch": 3}, path)


def safetensors(path: Path) -> None:
    save_file(STATE, path)


def like_a_page(path: Path) -> None:
    """Save a header of 15,392 = 0x3c20 bytes, so that the file begins with a blank and "<"."""
    save_file(STATE, path, {"filler": ""})
    missing = 15_392 - int.from_bytes(path.read_bytes()[:8], "little")
    save_file(STATE, path, {"filler": "x" * missing})
    assert path.read_bytes()[:3] == b" <\0"


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (zipped, "a.pth"), (legacy, "a.pth"), (nested, "a.pth"), (zipped, "a.bin"),
        (safetensors, "a.safetensors"), (like_a_page, "a.safetensors"),
    ],
)  # fmt: skip
def test_read(write: Callable[[Path], None], name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    state = read(str(tmp_path / name))
    assert state.keys() == STATE.keys()
    assert all(state[key].equal(STATE[key]) for key in STATE)


def cut(write: Callable[[Path], None], share: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return make


def content(data: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def scripted(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it outdated
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


def zip_of(*names: str, method: int = zipfile.ZIP_STORED) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", method) as archive:
            for name in names:
                archive.writestr(name, b"content")

    return make


def repacked(path: Path) -> None:
    zipped(path)
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in held.items():
            archive.writestr(name, data)


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))


def onnx_model(path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    path.write_bytes(onnx.helper.make_model(graph, producer_name="pytorch").SerializeToString())


def holding(value: object) -> Callable[[Path], None]:
    return lambda path: torch.save(value, path)


def larger_than_saved(path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path)


def holding_itself(path: Path) -> None:
    held: dict[str, object] = {}
    held["model"] = {"state_dict": held}
    torch.save(held, path)


PAGE = content(b"\n<!DOCTYPE html>\n<html><title>404</title></html>")
POINTER = content(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 86000000\n")
DAMAGED, REFUSED = "is damaged or cut short .*: download it again", "is refused"
TEXT, NEITHER = "not weights but a text or web page", "damaged, or no weights file: it begins neither as"
SAVE = r".*torch.save\(.*state_dict\(\), 'weights.pth'\)"
UNPACK = "unpack it and give the weights file"
TABLE = "not a table of named tensors"
LFS = ".*git-lfs pointer that stands for the file: run 'git lfs pull'"


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("gone.pth", lambda path: None, "cannot be read: No such file"),
        ("folder.pth", Path.mkdir, "is a folder without weights in it: expected model.safetensors or an index"),
        ("pipe.pth", os.mkfifo, "is not a file but a pipe"),
        ("empty.pth", Path.touch, r"is empty \(0 bytes\)"),
        ("page.pth", PAGE, TEXT + ".*<!DOCTYPE html>.*: download the file itself, signed in"),
        ("page.safetensors", PAGE, TEXT + ".*<!DOCTYPE html>"),
        ("json.safetensors", content(b'{"error": "Access to this model is restricted"}'), TEXT + ".*restricted"),
        ("config.json", content(b'{"model_type": "dinov3_vit"}'), TEXT + ".*describes a model: give the folder"),
        ("denied.pth", content(b"Access denied: sign in"), TEXT),
        ("utf16.pth", content("Zugang verweigert".encode("utf-16")), TEXT + ".*Zugang"),
        ("pointer.pth", POINTER, TEXT + LFS),
        ("pointer.safetensors", POINTER, TEXT + LFS),
        ("cut.pth", cut(zipped, 0.5), DAMAGED),
        ("cut.legacy.pth", cut(legacy, 0.5), DAMAGED),
        ("cut.safetensors", cut(safetensors, 0.5), DAMAGED),
        ("cut_in_header.safetensors", cut(safetensors, 0.001), DAMAGED),
        ("noise.safetensors", content(bytes(range(255, 0, -1)) * 9), NEITHER),
        ("noise.pth", content(bytes(range(255, 0, -1)) * 9), NEITHER),
        ("script.pt", scripted, r"is a TorchScript program.*torch.save\(torch.jit.load\(FILE\).state_dict"),
        ("export.pt2", zip_of("a/serialized_exported_program.json", "a/data.pkl"), "program of torch.export" + SAVE),
        (
            "module.pth",
            holding(torch.nn.Linear(2, 2)),
            "holds more than tensors.*torch.nn.modules.linear.Linear" + SAVE,
        ),
        ("args.pth", holding({"model": STATE, "args": Evil(Path())}), REFUSED + ".*a checkpoint of a training" + SAVE),
        ("plain.pkl", content(pickle.dumps({"a": 1})), "is refused: it is a pickle" + SAVE),
        ("model.pth", onnx_model, "is an ONNX model.*give the PyTorch weights"),
        ("model.bin", content(b"GGUF\3\0\0\0" + bytes(99)), "is a GGUF model.*give the PyTorch weights"),
        ("model.h5", content(b"\x89HDF\r\n\x1a\n" + bytes(99)), "is an HDF5 file of Keras"),
        ("a.npz", zip_of("a.npy"), "is a NumPy archive"),
        ("a.pth", zip_of("folder/weights.pth"), f"is a zip archive: {UNPACK} in it .'folder/weights.pth'"),
        ("b.pth", zip_of("notes.txt"), "is a zip archive without weights"),
        ("a.keras", zip_of("model.weights.h5"), "is a Keras model"),
        ("repacked.pth", repacked, "was packed again by another program than torch.save"),
        ("a.tar", tarred, f"is a tar archive: {UNPACK}"),
        ("a.pth.gz", content(gzip.compress(b"x" * 99)), f"is compressed with gzip: {UNPACK}"),
        ("list.pth", holding([torch.ones(2)]), TABLE),
        ("numbers.pth", holding({"a": 1.0}), TABLE),
        ("itself.pth", holding_itself, TABLE),
        ("mixed.pth", holding({"a": torch.ones(1), "b": {"c": 1}}), TABLE),
        pytest.param(
            "sparse.pth",
            holding({"a": torch.ones(2, 2).to_sparse()}),
            r"a holds no plain numbers \(it is sparse",
            marks=pytest.mark.filterwarnings("ignore:Validating sparse"),
        ),
        ("complex.pth", holding({"a": torch.ones(2) * 1j}), r"tensor a holds no plain numbers \(it is complex"),
        ("meta.pth", holding({"a": torch.ones(2, device="meta")}), "it is a shape without values"),
        ("large.pth", larger_than_saved, "tensor a is larger than what is saved of it"),
    ],
)
def test_refused_with_one_line(name: str, make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(WeightsError, match=message) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"weights {path} ") or text.startswith(f"weights {path}: ")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 350
    assert "download it again" not in text or name.startswith(("cut", "empty"))


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.bin", "a"])
@pytest.mark.parametrize("write", [zipped, legacy, safetensors])
def test_content_decides_not_the_name(write: Callable[[Path], None], name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    assert read(str(tmp_path / name)).keys() == STATE.keys()


@pytest.mark.parametrize(
    "held",
    [
        {"teacher": STATE, "optimizer": {"lr": 1.0}},
        {"state_dict": STATE, "epoch": 3, "name": "vit"},
        {"model": {"state_dict": STATE}},
        {"model_ema": STATE, "step": None},
        {"model": STATE, "step": torch.tensor(7), "loss": torch.ones(2)},
        {"teacher": {"backbone": STATE, "temperature": torch.tensor(0.1)}},
        {**STATE, "epoch": 3},
    ],
)
def test_tensors_inside_the_checkpoint_of_a_training(held: dict[str, Any], tmp_path: Path) -> None:
    torch.save(held, tmp_path / "a.pth")
    assert read(tmp_path / "a.pth").keys() == STATE.keys()


def shards(folder: Path, **wrong: str) -> None:
    """Return a folder as transformers saves it, with a shard for each tensor."""
    for name, value in STATE.items():
        save_file({name: value, "more": torch.ones(1)}, folder / f"model-{name}.safetensors")
    index = {"weight_map": {name: f"model-{name}.safetensors" for name in STATE} | wrong}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("given", ["", "model.safetensors.index.json"])
def test_shards(given: str, tmp_path: Path) -> None:
    shards(tmp_path)
    state = read(tmp_path / given)
    assert state.keys() == STATE.keys()
    assert fingerprint(state) == fingerprint(STATE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"a": "../model-a.safetensors"}, "names a shard outside its folder"),
        ({"a": "/etc/passwd"}, "names a shard outside its folder"),
        ({"a": r"..\\model-a.safetensors"}, "names a shard outside its folder"),
        ({"a": r"C:\\model-a.safetensors"}, "names a shard outside its folder"),
        ({"a": "lost.safetensors"}, r"1 of 2 shards are missing beside it \(lost.safetensors\)"),
        ({"c": "model-a.safetensors"}, "lacks tensor c, which model.safetensors.index.json says"),
        ({"a": "model.safetensors.index.json"}, "is an index of shards, not a shard"),
        ({"a": 3}, "weights file|missing beside"),
        ({"a": ["x"]}, "has a list of 1 as shard of a, not text"),
    ],
)
def test_wrong_shards(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    shards(tmp_path, **wrong)
    with pytest.raises(WeightsError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "[" * 10**5, '{"a":1e999']
)
def test_damaged_index(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(WeightsError, match=r"model.safetensors.index.json is damaged, or no|text or web page"):
        read(tmp_path)


def test_a_folder_of_several_files(tmp_path: Path) -> None:
    for name in ("a.pth", "b.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(WeightsError, match=r"folder with several weights files \(a.pth, b.safetensors\): give one"):
        read(tmp_path)
    zipped(tmp_path / "pytorch_model.bin")
    assert read(tmp_path).keys() == STATE.keys()


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_code_in_a_file_is_refused_and_does_not_run(kind: str, tmp_path: Path) -> None:
    path, marker = tmp_path / "weights.pth", tmp_path / "it ran"
    state = {**STATE, "c": Evil(marker)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(state))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(WeightsError, match=REFUSED) as caught:
        read(path)
    assert not marker.exists()
    assert "weights_only" not in str(caught.value)  # torch advises to switch the protection off
    if kind != "pickle":
        torch.load(path, weights_only=False)  # the trap was armed
        assert marker.exists()


def test_fingerprint_is_of_the_values_whatever_the_file(tmp_path: Path) -> None:
    prints = {fingerprint(STATE), fingerprint({key: STATE[key].clone().float() for key in reversed(STATE)})}
    for i, (write, suffix) in enumerate([(zipped, "pth"), (legacy, "pth"), (safetensors, "safetensors")]):
        write(tmp_path / f"{i}.{suffix}")
        prints.add(fingerprint(read(tmp_path / f"{i}.{suffix}")))
    assert len(prints) == 1
    (only,) = prints
    assert len(only) == 16
    assert int(only, 16)


@pytest.mark.parametrize(
    "other",
    [
        {**STATE, "a": STATE["a"] + 1e-3},
        {**STATE, "b": STATE["b"] * (1 + 1e-6)},
        {**STATE, "b": torch.cat([STATE["b"][:4000], torch.zeros(1000)])},
        {**STATE, "a": STATE["a"].view(3, 2)},
        {"a": STATE["a"], "c": STATE["b"]},
        {**STATE, "c": torch.zeros(1)},
    ],
    ids=["trained", "trained a little", "end", "shape", "name", "one more"],
)
def test_fingerprint_changes(other: dict[str, torch.Tensor]) -> None:
    assert fingerprint(other) != fingerprint(STATE)
