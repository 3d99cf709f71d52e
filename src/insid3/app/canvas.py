"""Where a reference is painted on."""

import threading
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import gradio as gr
from gradio.components.base import server

from insid3.storage import writing

_MOST_LAYERS = 8
_MOST_BYTES = 64 * 2**20  # of strokes that are on their way


class Strokes:
    """What browsers paint, until they say which example it belongs to; the newest, up to so many bytes.

    gradio's own store has no bounds, keeps the picture below and a composite too, and lets a browser choose how many
    layers there are.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def accept(self, kind: str, index: str | int | None, name: str, content: bytes) -> None:
        """A part of what is on a canvas; layers are kept."""
        if kind != "layer" or not str(index).isdecimal() or int(str(index)) >= _MOST_LAYERS:
            return
        with self._lock:
            self._waiting[name, int(str(index))] = content
            while sum(map(len, self._waiting.values())) > _MOST_BYTES:
                self._waiting.popitem(last=False)

    def take(self, sent: dict[str, Any] | None, folder: Path) -> list[Path]:
        """The layers of a canvas as it was sent, undecoded: in files, which may have been uploaded before."""
        if sent is None:
            return []
        files = [Path(layer["path"]) for layer in sent.get("layers") or [] if layer and layer.get("path")]
        if sent.get("id") is None:
            return files[:_MOST_LAYERS]
        files = []
        with self._lock:
            mine = [(key, self._waiting.pop(key)) for key in list(self._waiting) if key[0] == sent["id"]]
        for _, content in mine:
            files.append(folder / f"{uuid4().hex}.png")
            writing(partial(files[-1].write_bytes, content))
        return files


def make_canvas(strokes: Strokes, colour: str, height: int) -> gr.ImageEditor:
    """A picture to paint on with one brush; what is painted goes to `strokes`."""
    canvas = gr.ImageEditor(
        label="Paint the concept",
        placeholder="choose a reference picture first",
        sources=[],
        transforms=[],
        layers=False,
        buttons=[],
        brush=gr.Brush(default_size=24, colors=[colour], color_mode="fixed"),
        canvas_size=(800, 600),
        height=height,
    )

    def accept(data: Any) -> None:
        told = data.data
        strokes.accept(str(told.get("type")), told.get("index"), str(told.get("id")), data.files[0][1])

    canvas.accept_blobs = server(accept)
    return canvas
