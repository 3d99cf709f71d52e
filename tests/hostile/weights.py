"""Broken and hostile weights: files of torch.save and .safetensors, shards, and tensors that do not fit."""

import json
import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import timm
import torch
from safetensors.torch import save, save_file
from torch import Tensor

from insid3.backbones import load_encoder

KIND = "weights"
State = dict[str, Tensor]
_NAME = "timm:test_vit"  # small, and of the same class as the published ones
_ODD = (0, 1, 255, 127, 128)
_WORDS = (b"numpy", b"os", b"system", b"torch", b"a.b", b"\xff\xfe", b"../../x", b"9" * 30, b"[" * 40, b"1e999", b"-1")


def attempts(folder: Path, seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what was done to weights, and a call that loads them and encodes a picture."""
    whole, other = _whole(folder), _dinov3_like()
    kinds = [_bytes, _bytes, _words, _cut, _pickle_codes, _header, _index, _tensors, _tensors, _dinov3, _joined]
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        place = folder / f"{number}"
        place.mkdir(exist_ok=True)
        done, path, backbone = rng.choice(kinds)(rng, place, whole, other)
        yield done, lambda path=path, backbone=backbone: _read(path, backbone)  # type: ignore[misc]


def _read(path: Path, backbone: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        encoder = load_encoder(backbone, weights=path, device="cpu", engine="torch")
        (tokens,) = encoder(torch.zeros(1, 3, 32, 32))
    assert tokens.isfinite().all()


def _whole(folder: Path) -> dict[str, bytes]:
    """Return the same weights in each format, by suffix."""
    torch.manual_seed(0)
    state = timm.create_model("test_vit", num_classes=0).state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "whole.pth")
    torch.save({"model": state, "epoch": 1}, folder / "whole.legacy.pth", _use_new_zipfile_serialization=False)
    return {
        ".pth": (folder / "whole.pth").read_bytes(), ".legacy.pth": (folder / "whole.legacy.pth").read_bytes(),
        ".safetensors": save(state),
    }  # fmt: skip


def _dinov3_like() -> State:
    """Return tensors of few numbers under the names of Meta, timm and transformers."""
    names = (
        "cls_token storage_tokens mask_token rope_embed.periods norm.weight patch_embed.proj.weight reg_token "
        "blocks.0.attn.qkv.weight blocks.0.attn.qkv.bias blocks.0.mlp.w1.weight local_cls_norm.weight "
        "embeddings.register_tokens layer.0.attention.q_proj.weight blocks.0.attn.q_bias"
    )
    return {name: torch.ones(3) for name in names.split()}


def _pick(rng: random.Random, place: Path, whole: dict[str, bytes]) -> tuple[str, bytearray, Path]:
    suffix = rng.choice(list(whole))
    named = suffix if rng.random() < 0.8 else rng.choice([".bin", "", ".pt", ".safetensors", ".pth"])
    return suffix, bytearray(whole[suffix]), place / f"a{named}"


def _spot(rng: random.Random, content: bytes | bytearray) -> int:
    """Choose a place, most often among the first or last bytes, where files keep their tables of contents."""
    length = len(content)
    return rng.choice(
        [rng.randrange(min(length, 2000)), length - 1 - rng.randrange(min(length, 9000)), rng.randrange(length)]
    )


def _bytes(rng: random.Random, place: Path, whole: dict[str, bytes], _: State) -> tuple[str, Path, str]:
    suffix, content, path = _pick(rng, place, whole)
    spots = [_spot(rng, content) for _ in range(rng.choice([1, 1, 3, 20]))]
    for spot in spots:
        content[spot] = rng.choice([rng.choice(_ODD), rng.randrange(256), content[spot] ^ (1 << rng.randrange(8))])
    path.write_bytes(content)
    return f"{suffix}: bytes {spots[:5]} changed", path, _NAME


def _words(rng: random.Random, place: Path, whole: dict[str, bytes], _: State) -> tuple[str, Path, str]:
    suffix, content, path = _pick(rng, place, whole)
    spot, word = _spot(rng, content), rng.choice(_WORDS)
    end = spot + rng.choice([0, len(word)])
    content[spot:end] = word
    path.write_bytes(content)
    return f"{suffix}: {word!r} at {spot}", path, _NAME


def _cut(rng: random.Random, place: Path, whole: dict[str, bytes], _: State) -> tuple[str, Path, str]:
    suffix, content, path = _pick(rng, place, whole)
    start, end = sorted(_spot(rng, content) for _ in range(2))
    path.write_bytes(content[:end] if rng.random() < 0.5 else content[:start] + content[end:])
    return f"{suffix}: cut at {start} or {end}", path, _NAME


def _joined(rng: random.Random, place: Path, whole: dict[str, bytes], _: State) -> tuple[str, Path, str]:
    first, second = rng.choices(list(whole), k=2)
    spot = _spot(rng, whole[first])
    (place / "a.pth").write_bytes(whole[first][:spot] + whole[second][rng.choice([0, spot]) :])
    return f"{first} until {spot}, then {second}", place / "a.pth", _NAME


def _pickle_codes(rng: random.Random, place: Path, whole: dict[str, bytes], _: State) -> tuple[str, Path, str]:
    """Put pickle codes that nobody writes between the codes of a file of torch.save."""
    content = bytearray(whole[".legacy.pth"])
    codes = [
        b"cos\nsystem\n", b"r\xff\xff\xff\x7f", b"j\xff\xff\xff\x7f", b"X\xff\xff\xff\x7f",
        b"\x8d" + b"\xff" * 7 + b"\x7f",
        b"\x8b\xff\xff\xff\x7f", b"B\xff\xff\xff\x7f", b"(" * 50, b"0", b"R", b"b", b"}" * 9, b"\x80\x05", b".", b"Q",
        b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"I10000000000000000000\n",
        b"\x8a\xff" + b"\x7f" * 255,
    ]  # fmt: skip
    code, spot = rng.choice(codes), rng.randrange(min(len(content), 12_000))
    content[spot : spot + rng.choice([0, len(code)])] = code
    (place / "a.pth").write_bytes(content)
    return f"pickle code {code[:12]!r} at {spot}", place / "a.pth", _NAME


def _header(rng: random.Random, place: Path, whole: dict[str, bytes], _: State) -> tuple[str, Path, str]:
    """Change the header of a .safetensors file so that it contradicts the tensors."""
    content = whole[".safetensors"]
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    name = rng.choice(list(header))
    entry = header[name]
    change = rng.choice(["dtype", "shape", "offsets", "missing", "nested", "name", "length", "metadata"])
    if change == "dtype":
        entry["dtype"] = rng.choice(["F64", "F16", "BF16", "I64", "BOOL", "F8_E4M3", "F4", "C64", "X", 3, None])
    elif change == "shape":
        entry["shape"] = rng.choice([[], [0], [2**62, 4], [-1], [10**6] * 3, ["a"], entry["shape"][::-1], [1e9]])
    elif change == "offsets":
        entry["data_offsets"] = rng.choice([[0, 0], [5, 1], [0, 2**63], [-4, 4], [0], "x", [2**40, 2**40 + 4]])
    elif change == "missing":
        del header[name]
    elif change == "nested":
        header[name] = rng.choice([{}, [], None, {"a": entry}])
    elif change == "name":
        header[rng.choice(["", "\0", "a" * 10**5, "../x", "\x1b[31m", "é\u202e"])] = header.pop(name)
    elif change == "metadata":
        header["__metadata__"] = rng.choice([{"a": 1}, [], {"format": "x" * 10**5}, {"a": "\0"}])
    text = json.dumps(header).encode()
    claimed = rng.choice([0, 1, 2**63, 2**32 + 1, len(text) - 1]) if change == "length" else len(text)
    (place / "a.safetensors").write_bytes(claimed.to_bytes(8, "little") + text + content[8 + length :])
    return f"header: {change} of {name}", place / "a.safetensors", _NAME


def _index(rng: random.Random, place: Path, whole: dict[str, bytes], _: State) -> tuple[str, Path, str]:
    """Make shards and their index, one of them wrong."""
    (place / "a.safetensors").write_bytes(whole[".safetensors"])
    (place / "b.pth").write_bytes(whole[".pth"])
    length = int.from_bytes(whole[".safetensors"][:8], "little")
    names = [name for name in json.loads(whole[".safetensors"][8 : 8 + length]) if name != "__metadata__"]
    table: dict[str, object] = {name: rng.choice(["a.safetensors", "b.pth"]) for name in names}
    wrong: object = rng.choice(
        [None, "/etc/passwd", "../a", "..\\a", "c", "", ".", 3, None, [], {}, "a\0b", "x" * 5000, "\ud800"]
    )
    table[rng.choice([*names, "more"])] = wrong if wrong is not None else "a.safetensors"
    text = json.dumps(rng.choice([{"weight_map": table}] * 6 + [table, [table], {"weight_map": names}]))
    if rng.random() < 0.3:
        text = text[: rng.randrange(len(text))] + rng.choice(["", "[" * 10**5, "1e999", '"\ud800"', "\0"])
    (place / "model.safetensors.index.json").write_text(text, "utf-8", "surrogatepass")
    return f"shard {str(wrong)[:20]!r}", place / rng.choice(["", "model.safetensors.index.json"]), _NAME


def _tensors(rng: random.Random, place: Path, whole: dict[str, bytes], _: State) -> tuple[str, Path, str]:
    """Make sound files of tensors that are not those of the model."""
    state: dict[object, object] = dict(timm.create_model("test_vit", num_classes=0).state_dict())
    name = rng.choice([name for name in state if isinstance(name, str)])
    value = state[name]
    assert isinstance(value, Tensor)
    others = {
        "nan": value * float("nan"), "huge": value * 1e38, "half": value.half(), "double": value.double() * 1e300,
        "float8": value.to(torch.float8_e4m3fn), "bool": value > 0, "int": value.long(), "complex": value * 1j,
        "scalar": torch.tensor(1.0), "empty": value[:0], "meta": value.to("meta"),
        "expanded": torch.ones(1).expand(10**6, 10**6), "list": [1, 2], "text": "x", "number": 10**400, "none": None,
        "table": {"a": value}, "parameter": torch.nn.Parameter(value), "strided": value.flatten().flip(0)[::1],
    }  # fmt: skip
    kind = rng.choice(list(others))
    state[name] = others[kind]
    if rng.random() < 0.3:
        state[rng.choice([3, None, ("a", 1), "a.b", "head.weight", "module.x", "\x1b[31m"])] = torch.ones(2)
    held: object = state
    for _level in range(rng.choice([0, 0, 1, 2])):
        held = {rng.choice(["teacher", "model", "state_dict", "module", "net", "student"]): held, "epoch": 1}
    torch.save(held, place / "a.pth")
    return f"{name} is {kind}", place / "a.pth", _NAME


def _dinov3(rng: random.Random, place: Path, whole: dict[str, bytes], other: State) -> tuple[str, Path, str]:
    """Save tensors of any shape under any mixture of DINOv3's names."""
    some = rng.sample(sorted(other), rng.randrange(1, len(other) + 1))
    shapes = [(), (0,), (3,), (1, 4, 384), (384, 3, 16, 16), (1152, 384), (1152,), (16,), (2, 2, 2, 2, 2)]
    state = {rng.choice(["", "", "backbone.", "module."]) + name: torch.ones(rng.choice(shapes)) for name in some}
    path = place / rng.choice(["a.pth", "dinov3_vits16_pretrain_lvd1689m.pth", "x_sat493m.pth", "a.safetensors"])
    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    if rng.random() < 0.1:
        path.write_bytes(pickle.dumps({name: 1 for name in some}))
    backbone = rng.choice(
        ["dinov3-vits16", "dinov3-vit7b16", "timm:vit_small_patch16_dinov3", "timm:vit_small_patch16_224"]
    )
    return f"DINOv3's {', '.join(some[:3])}", path, backbone
