"""Commands in process, with the colour encoder."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

BOX = (16, 16, 48, 48)
Invoke = Callable[..., Result]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    """Run a command in tmp_path; models come with the colour encoder and keep their settings."""
    from insid3 import INSID3  # not before the shape checks are in place
    from insid3.cli import COMMANDS, app
    from stubs import box_mask, colour_model, scene

    for commands in COMMANDS:
        import_module(f"insid3.cli.{commands}")

    def from_pretrained(backbone: str, **options: object) -> "INSID3":
        for name in ("weights", "device", "dtype", "engine"):
            options.pop(name)
        return colour_model(**options)

    monkeypatch.setattr(INSID3, "from_pretrained", from_pretrained)
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(scene(BOX)).save("ref.png")
    Image.fromarray(box_mask(*BOX)).save("mask.png")
    Image.fromarray(scene((0, 0, 32, 32))).save("photos/a.png")
    Image.fromarray(scene((32, 0, 64, 64))).save("photos/b.png")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
