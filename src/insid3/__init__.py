"""INSID3: mark a concept in any picture from one example, with frozen ViT features and no training.

>>> from insid3 import INSID3
>>> model = INSID3.from_pretrained()
>>> cat = model.concept("cat.jpg", "cat_mask.png")
>>> model.segment("target.jpg", cat).mask
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from insid3.concept import Concept as Concept
    from insid3.config import Config as Config
    from insid3.encoded import Encoded as Encoded
    from insid3.errors import ConceptError as ConceptError
    from insid3.errors import ConfigError as ConfigError
    from insid3.errors import ImageError as ImageError
    from insid3.errors import Insid3Error as Insid3Error
    from insid3.errors import MaskError as MaskError
    from insid3.errors import MissingExtraError as MissingExtraError
    from insid3.errors import SizeError as SizeError
    from insid3.errors import WeightsError as WeightsError
    from insid3.labels import LabelMap as LabelMap
    from insid3.pipeline import INSID3 as INSID3
    from insid3.types import Keypoints as Keypoints
    from insid3.types import Segmentation as Segmentation

# Loaded at first use, so that `import insid3` does not wait for torch.
_HOME = {
    "INSID3": "pipeline",
    "Concept": "concept",
    "Config": "config",
    "Encoded": "encoded",
    "Segmentation": "types",
    "Keypoints": "types",
    "LabelMap": "labels",
    **dict.fromkeys(
        [
            "Insid3Error",
            "ConfigError",
            "ImageError",
            "MaskError",
            "WeightsError",
            "ConceptError",
            "SizeError",
            "MissingExtraError",
        ],
        "errors",
    ),
}
__all__ = [*_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'insid3' has no attribute {name!r}")
    return getattr(import_module(f"insid3.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
