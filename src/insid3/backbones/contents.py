"""The format of a file that was given as weights, told by its content, since names and suffixes are changed by hand."""

import re
import stat
import zipfile
from pathlib import Path
from typing import Literal

from insid3.errors import WeightsError

FileKind = Literal["safetensors", "zip", "pickle", "index"]

_SAVE = "torch.save(model.state_dict(), 'weights.pth')"
_UNPACK = "unpack it and give the weights file that is in it"
_ONNX = (
    "an ONNX model, which has no weights by name that could be read: give the PyTorch weights (.pth, .safetensors) "
    "that it was made of"
)
_BEGINNINGS = (
    (b"GGUF", "a GGUF model, whose weights are quantised for other programs: give the PyTorch weights (.pth, "
     ".safetensors) that it was made of"),
    (b"\x89HDF\r\n", "an HDF5 file of Keras or TensorFlow: give the PyTorch weights (.pth, .safetensors)"),
    (b"\x93NUMPY", "a NumPy array (.npy), not a table of named tensors: give the PyTorch weights (.pth, .safetensors)"),
    (b"\x1f\x8b", f"compressed with gzip: {_UNPACK}"),
    (b"BZh", f"compressed with bzip2: {_UNPACK}"),
    (b"\xfd7zXZ", f"compressed with xz: {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"compressed with zstd: {_UNPACK}"),
    (b"7z\xbc\xaf", f"a 7-Zip archive: {_UNPACK}"),
    (b"Rar!", f"a RAR archive: {_UNPACK}"),
    (b"%PDF", "a PDF document: give the weights file"),
    (b"\x89PNG", "a PNG picture: give the weights file"),
    (b"\xff\xd8\xff", "a JPEG picture: give the weights file"),
)  # fmt: skip
_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # of torch.save before 1.6
_PAGE = "download the file itself, signed in where its page asks for that"


def identify(path: Path) -> FileKind:
    """Return the format of a weights file.

    Returns:
        "safetensors", "zip" (of `torch.save`), "pickle" (of `torch.save` before 1.6), or "index" (of shards, JSON).

    Raises:
        WeightsError: the file is something else; the message says what, and the remedy.
        OSError: the file cannot be read.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise WeightsError(f"weights {path} is not a file but a pipe, a socket or a device: give a file")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise WeightsError(f"weights {path} is empty (0 bytes): download it again")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32:
        return "safetensors"
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    if (found := _other(head)) is not None:
        raise WeightsError(f"weights {path} is {found}")
    if (text := _text(head)) is not None:
        if text.startswith("{") and "index" in path.name:
            return "index"
        raise WeightsError(f"weights {path} is not weights but a text or web page ({_line(text)!r}): {_remedy(text)}")
    if _MAGIC in head[:32]:
        return "pickle"
    if head[:1] == b"\x80":  # every pickle begins so
        raise WeightsError(
            f"weights {path} is refused: it is a pickle of Python's that torch.save did not write, and may hold "
            f"anything. Where it was made, save its tensors alone: {_SAVE}"
        )
    raise WeightsError(
        f"weights {path} is damaged, or no weights file: it begins neither as a .pth nor as a .safetensors file"
    )


def _other(head: bytes) -> str | None:
    """Return what a file is by its beginning, if it is of a known format that holds no weights for torch."""
    for beginning, what in _BEGINNINGS:
        if head.startswith(beginning):
            return what
    if head[257:262] == b"ustar":
        return f"a tar archive: {_UNPACK}"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model: give the PyTorch weights (.pth, .safetensors)"
    # ONNX is protobuf: field 1 is the version of the format; the producer or the graph follows.
    if head[:1] == b"\x08" and 0 < head[1] < 64 and head[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x2a", b"\x32", b"\x3a"):
        return _ONNX
    return None


def _text(head: bytes) -> str | None:
    """Return the beginning of a text file; None if the file is not text."""
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = head.decode(encoding, errors="ignore").strip()
    strange = sum(not letter.isprintable() and not letter.isspace() for letter in text)
    return text if text and not strange and len(text) > len(head) // 8 else None


def _line(text: str) -> str:
    return text.splitlines()[0][:60]


def _remedy(text: str) -> str:
    lower = text.lower()
    if lower.startswith("version https://git-lfs"):
        return "it is a git-lfs pointer that stands for the file: run 'git lfs pull' in the folder it was cloned to"
    if lower.startswith("{") and re.search('"(model_type|architectures?|image_mean)"', lower):
        return "it describes a model: give the folder that it lies in, or model.safetensors beside it"
    return _PAGE


def _zip(path: Path) -> FileKind:
    """Check that a zip archive is one of `torch.save`."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"weights {path} is damaged or cut short (its table of contents): download it again"
        ) from error
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise WeightsError(
            f"weights {path} is a TorchScript program, not a table of named tensors. Where it was made, save its "
            "tensors: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        )
    if any("exported_program" in name or name.endswith("archive_format") for name in names):
        raise WeightsError(
            f"weights {path} is a program of torch.export, not a table of named tensors. Where it was made, save its "
            f"tensors: {_SAVE}"
        )
    if not any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        raise WeightsError(f"weights {path} is {_archive(names)}")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError(
            f"weights {path} was packed again by another program than torch.save, which compresses nothing: give the "
            "file as it was"
        )
    return "zip"


def _archive(names: list[str]) -> str:
    """Return what a zip archive is that torch did not write."""
    if any(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz): give the PyTorch weights (.pth, .safetensors)"
    if any(name.endswith(".h5") for name in names):
        return "a Keras model: give the PyTorch weights (.pth, .safetensors)"
    inside = next((name for name in names if name.lower().endswith((".pth", ".pt", ".bin", ".safetensors"))), None)
    return (
        f"a zip archive: unpack it and give the weights file in it ({inside[-60:]!r})"
        if inside
        else ("a zip archive without weights of torch.save in it: give a .pth or .safetensors file")
    )
