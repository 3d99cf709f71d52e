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
    from insid3.batch.annotations import from_coco as from_coco
    from insid3.batch.annotations import from_labelme as from_labelme
    from insid3.concept import Concept as Concept
    from insid3.config import Config as Config
    from insid3.errors import ConceptError as ConceptError
    from insid3.errors import ConfigError as ConfigError
    from insid3.errors import ImageError as ImageError
    from insid3.errors import Insid3Error as Insid3Error
    from insid3.errors import MaskError as MaskError
    from insid3.errors import MissingExtraError as MissingExtraError
    from insid3.errors import SizeError as SizeError
    from insid3.errors import WeightsError as WeightsError
    from insid3.explain import look_inside as look_inside
    from insid3.features.encoded import Encoded as Encoded
    from insid3.label_map import LabelMap as LabelMap
    from insid3.model import INSID3 as INSID3
    from insid3.results import Keypoints as Keypoints
    from insid3.results import Segmentation as Segmentation
    from insid3.video.memory import Memory as Memory
    from insid3.video.memory import MemoryConfig as MemoryConfig

# Loaded at first use, so that `import insid3` does not wait for torch.
_HOME = {
    "INSID3": "model",
    "Concept": "concept",
    "Config": "config",
    "Encoded": "features.encoded",
    "Segmentation": "results",
    "Keypoints": "results",
    "LabelMap": "label_map",
    "Memory": "video.memory",
    "MemoryConfig": "video.memory",
    "from_coco": "batch.annotations",
    "from_labelme": "batch.annotations",
    "look_inside": "explain",
    "Insid3Error": "errors",
}
__all__ = [*_HOME]
# Importable from here too, as from version 0.1.0 on; `insid3.errors` is their place.
_ERRORS = ("ConceptError", "ConfigError", "ImageError", "MaskError", "MissingExtraError", "SizeError", "WeightsError")


def __getattr__(name: str) -> object:
    home = "errors" if name in _ERRORS else _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'insid3' has no attribute {name!r}")
    return getattr(import_module(f"insid3.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
