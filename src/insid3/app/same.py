"""What was just done on the page, as a command and in Python."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from insid3.app.session import Settings
from insid3.config import Config, flag


@dataclass(frozen=True)
class Same:
    """How the server's model came about, so that others can have it too.

    Attributes:
        backbone, weights, preset: as given to `INSID3.from_pretrained`.
        defaults: the backbone's own settings with that preset; what differs from them is said.
        config: the model's settings.
    """

    backbone: str
    defaults: Config
    config: Config
    weights: str | None = None
    preset: str | None = None

    def differing(self, settings: Settings) -> dict[str, Any]:
        """Settings that are not the backbone's own."""
        now, before = replace(self.config, **asdict(settings)).as_dict(), self.defaults.as_dict()
        return {key: value for key, value in now.items() if value != before[key]}

    def command(self, slugs: Sequence[str], settings: Settings) -> str:
        """For a shell, with concepts saved under these names."""
        words = ["insid3", "segment"]
        for slug in slugs:
            words += ["--concept", f"{slug}.insid3"]
        words += ["photos/", "-o", "out/", *self._model()]
        for key, value in self.differing(settings).items():
            if isinstance(value, bool):
                words.append(flag(key) if value else flag(key).replace("--", "--no-", 1))
            else:
                words += [flag(key), f"{value:g}" if isinstance(value, float) else str(value)]
        return shlex.join(words)

    def python(self, slugs: Sequence[str], settings: Settings) -> str:
        """Three lines, after the import."""
        given = [repr(self.backbone)] + ([f"weights={self.weights!r}"] if self.weights else [])
        given += [f"preset={self.preset!r}"] if self.preset else []
        given += [f"{key}={value!r}" for key, value in self.differing(settings).items()]
        files = [f"{slug}.insid3" for slug in slugs]
        if len(files) == 1:
            lines = [f"concept = Concept.load({files[0]!r})", 'mask = model.segment("photo.jpg", concept).mask']
        else:
            lines = [
                f"concepts = [Concept.load(file) for file in {files!r}]",
                'masks = model.label("photo.jpg", concepts).masks',
            ]
        first = ["from insid3 import INSID3, Concept", "", f"model = INSID3.from_pretrained({', '.join(given)})"]
        return "\n".join([*first, *lines]) + "\n"

    def _model(self) -> list[str]:
        words = [] if self.backbone == "dinov2-vits14" else ["--backbone", self.backbone]
        words += ["--weights", self.weights] if self.weights else []
        return words + (["--preset", self.preset] if self.preset else [])
