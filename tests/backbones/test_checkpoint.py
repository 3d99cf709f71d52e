"""Weight files: what is read, what is refused, and that every refusal is one line that says why."""

import pickle
from collections.abc import Callable
from pathlib import Path

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
    """A header whose length, 15,392 = 0x3c20, makes the file begin with a blank and "<"."""
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


PAGE = content(b"\n<!DOCTYPE html>\n<html><title>404</title></html>")
POINTER = content(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 86000000\n")
DAMAGED, REFUSED = "is damaged or cut short .*: download it again", "is refused"
TEXT = "not weights but a text or web page"


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("gone.pth", lambda path: None, "cannot be read: No such file"),
        ("folder.pth", Path.mkdir, "cannot be read: Is a directory"),
        ("empty.pth", Path.touch, r"is empty \(0 bytes\)"),
        ("page.pth", PAGE, TEXT + ".*<!DOCTYPE html>"),
        ("page.safetensors", PAGE, TEXT + ".*<!DOCTYPE html>"),
        ("json.safetensors", content(b'{"error": "Access to this model is restricted"}'), TEXT + ".*restricted"),
        ("denied.pth", content(b"Access denied: sign in"), TEXT),
        ("pointer.pth", POINTER, TEXT + ".*git-lfs"),
        ("pointer.safetensors", POINTER, TEXT + ".*git-lfs"),
        ("cut.pth", cut(zipped, 0.5), DAMAGED),
        ("cut.legacy.pth", cut(legacy, 0.5), DAMAGED),
        ("cut.safetensors", cut(safetensors, 0.5), DAMAGED),
        ("cut_in_header.safetensors", cut(safetensors, 0.001), DAMAGED),
        ("noise.safetensors", content(bytes(range(255, 0, -1)) * 9), DAMAGED),
        ("noise.pth", content(bytes(range(255, 0, -1)) * 9), REFUSED),
        ("wrong_suffix.pth", safetensors, REFUSED),
        ("list.pth", lambda path: torch.save([torch.ones(2)], path), "not a table of named tensors"),
        ("training.pth", lambda path: torch.save({"teacher": STATE}, path), "not a table of named tensors"),
    ],
)
def test_refused_with_one_line(name: str, make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(WeightsError, match=message) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"weights {path} ")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 250


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
