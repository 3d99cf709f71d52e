"""An encoder that needs no weights: a patch's token says which colour it has."""

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insid3 import INSID3
from insid3.config import Defaults


class ColourEncoder:
    """Tokens are the patch's mean colour, centred and lifted to 8 channels, plus a trace of position."""

    name, weights_hash, patch_size, channels = "colours", "0" * 16, 4, 8
    device, dtype = torch.device("cpu"), torch.float32
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        self.calls = 0
        self._lift = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0))).Q

    def __call__(self, images: Tensor, layers: Sequence[int] = (-1,), *, float32: bool = False) -> tuple[Tensor, ...]:
        self.calls += 1
        colours = torch.nn.functional.avg_pool2d(images, self.patch_size).permute(0, 2, 3, 1)
        ramp = torch.linspace(-0.1, 0.1, colours.shape[1])
        where = torch.stack(torch.meshgrid(ramp, ramp, indexing="ij"), -1).expand(len(images), -1, -1, -1)
        tokens = torch.cat([colours, where, colours.new_full((*colours.shape[:3], 3), 0.05)], -1) @ self._lift
        return tuple(tokens for _ in layers)


def colour_model(preset: Any = None, **config: Any) -> INSID3:
    return INSID3(ColourEncoder(), *Defaults(32, 2, 0.9).configs(preset, **config))


class SlowEncoder(ColourEncoder):
    """Takes its time, so that there is some to be killed in."""

    def __call__(self, images: Tensor, layers: Sequence[int] = (-1,), *, float32: bool = False) -> tuple[Tensor, ...]:
        time.sleep(0.1)
        return super().__call__(images, layers, float32=float32)


def slow_model() -> INSID3:
    return INSID3(SlowEncoder(), colour_model().config)


class OtherEncoder(ColourEncoder):
    weights_hash = "f" * 16


def other_model() -> INSID3:
    return INSID3(OtherEncoder(), colour_model().config)


def scene(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (64, 64), colour: int = 0) -> np.ndarray:
    """A blue picture with boxes (top, left, bottom, right) of red (0), green (1) or white (2)."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[..., 2] = 200
    for top, left, bottom, right in boxes:
        picture[top:bottom, left:right] = [(230, 20, 20), (20, 230, 20), (240, 240, 240)][colour]
    return picture


def box_mask(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def ray_workers() -> list[int]:
    """Processes that Ray calls by what they do: `insid3.on_ray`'s."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::MapWorker"):
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def free_port() -> int:
    """Of this machine, a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
