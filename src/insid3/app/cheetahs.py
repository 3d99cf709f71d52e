"""The example that page and demo begin with: a cheetah, marked by hand, in the pictures that gradio's wheel ships."""

from importlib.util import find_spec
from pathlib import Path

from insid3.errors import MissingExtraError

POLYGON = Path(__file__).with_name("cheetah1.json")  #: labelme; of the first picture


def cheetah_pictures() -> list[Path]:
    """The example's picture, then two more of cheetahs, a lion and a tower.

    Raises:
        MissingExtraError: gradio is not installed.
    """
    found = find_spec("gradio")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("the example with the cheetahs", "app")
    gradio = Path(found.submodule_search_locations[0])
    images = gradio / "media_assets" / "images"
    return [
        images / "cheetah1.jpg",
        images / "cheetah.jpg",
        gradio / "test_data" / "cheetah2.jpg",
        images / "lion.jpg",
        images / "tower.jpg",
    ]
