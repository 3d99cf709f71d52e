"""Pictures and masks of episodes, as arrays."""

import json
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from insid3.errors import DataError, Insid3Error, MissingExtraError
from insid3.eval.episodes import Recipe, View
from insid3.eval.pickles import load_array, load_pickle
from insid3.images import MAX_PIXELS, picture_size, read_image, read_mask, read_values

Size = tuple[int, int]


class Reader:
    """Reads below a folder; the annotation files last used stay in memory.

    Args:
        upright: apply EXIF orientation to pictures. The published evaluations do not.
        max_pixels: larger pictures are refused.
    """

    def __init__(self, root: Path, *, upright: bool = False, max_pixels: int = MAX_PIXELS) -> None:
        self.root, self.upright, self.max_pixels = root, upright, max_pixels
        self._texts = lru_cache(4096)(self._annotations)
        self._arrays = lru_cache(2)(self._annotations)  # ten megabytes each
        self.size: Callable[[str], Size] = cache(lambda file: picture_size(root / file, upright=upright))

    def annotations(self, file: str) -> Any:
        """What is in a .json, .pkl or .npy file.

        Raises:
            DataError: missing, damaged, or a pickle with code in it.
        """
        return (self._arrays if file.endswith(".npy") else self._texts)(file)

    def picture(self, view: View) -> UInt8[np.ndarray, "h w 3"]:
        return self._cut(read_image(self.root / view.picture, self.max_pixels, upright=self.upright), view)

    def mask(self, view: View, recipe: Recipe | None = None) -> Bool[np.ndarray, "h w"]:
        """Of the view's concept, or of another recipe for the same picture; may be empty.

        Raises:
            DataError: a file that holds something else than the recipe asks for.
            ImageError: a file that cannot be read.
        """
        kind, *arguments = recipe or view.mask
        size = self.size(view.picture)
        try:
            mask = MASKS[kind](self, size, *arguments)
        except Insid3Error:
            raise
        except Exception as error:  # what is in the file decides what goes wrong, pycocotools' own included
            raise DataError(f"{self.root / arguments[0]} has no mask {arguments[1:]} ({error!r:.120})") from error
        if mask.shape != size:
            raise DataError(
                f"{self.root / arguments[0]} is a mask of {mask.shape[1]} x {mask.shape[0]} pixels, its picture "
                f"{view.picture} has {size[1]} x {size[0]}"
            )
        return self._cut(mask, view)

    def _cut(self, pixels: np.ndarray, view: View) -> np.ndarray:
        if view.box is None:
            return pixels
        x0, y0, x1, y1 = view.box
        part = pixels[y0:y1, x0:x1]
        if part.size == 0:
            raise DataError(
                f"{self.root / view.picture} has {pixels.shape[1]} x {pixels.shape[0]} pixels, nothing of it lies in "
                f"the box {view.box} of the episode"
            )
        return part

    def _annotations(self, file: str) -> Any:
        path = self.root / file
        if path.suffix == ".pkl":
            return load_pickle(path)
        if path.suffix == ".npy":
            return load_array(path)
        try:
            return json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
        except ValueError as error:
            raise DataError(f"{path} is not JSON ({error}): copy it again") from error


class Readers:
    """A reader for the published data sets, and one for each folder of a user's own; none reads a file twice.

    Args:
        data_root: folder that holds the published data sets.
        max_pixels: larger pictures are refused.
    """

    def __init__(self, data_root: Path | None = None, max_pixels: int = MAX_PIXELS) -> None:
        self._data_root, self._max_pixels = data_root, max_pixels
        self._kept: dict[str | None, Reader] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes read for themselves."""
        return Readers, (self._data_root, self._max_pixels)

    def __call__(self, root: str | None, what: str = "this") -> Reader:
        """For an `EpisodeList.root`; DataError: there is no data root."""
        if root is None and self._data_root is None:
            raise DataError(f"{what} needs the folder that holds the data sets: --data-root DIR")
        if root not in self._kept:
            folder = Path(root) if root is not None else self._data_root
            assert folder is not None
            self._kept[root] = Reader(folder, upright=root is not None, max_pixels=self._max_pixels)
        return self._kept[root]


def rasterised(segmentation: Any, size: Size) -> Bool[np.ndarray, "H W"]:
    """COCO's polygons or RLE."""
    try:
        from pycocotools import mask as rle
    except ImportError as error:
        raise MissingExtraError("reading this data set", "evaluate") from error
    if isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list):
        return rle.decode(segmentation).astype(bool)
    encoded = rle.frPyObjects(segmentation, *size)
    return rle.decode(rle.merge(encoded) if isinstance(encoded, list) else encoded).astype(bool)


def _union(segmentations: list[Any], size: Size) -> Bool[np.ndarray, "H W"]:
    mask = np.zeros(size, bool)
    for segmentation in segmentations:
        mask |= rasterised(segmentation, size)
    return mask


def _value(reader: Reader, size: Size, file: str, value: int) -> np.ndarray:
    return read_values(reader.root / file, reader.max_pixels) == value


def _grey(reader: Reader, size: Size, file: str) -> np.ndarray:
    return read_values(reader.root / file, reader.max_pixels, grey=True) >= 128


def _any(reader: Reader, size: Size, file: str) -> np.ndarray:
    return read_mask(reader.root / file, size, "any", reader.max_pixels, may_be_empty=True)


def _lvis(reader: Reader, size: Size, file: str, category: int, image: str) -> np.ndarray:
    entry = reader.annotations(file)[category][image]
    return _union([annotation["segmentation"] for annotation in entry["annotations"]], size)


def _paco(reader: Reader, size: Size, file: str, image: int, category: int, thing: int) -> np.ndarray:
    annotations = reader.annotations(file)["img2anno"][image]
    mine = [a for a in annotations if (a["category_id"], a["obj_ann_id"]) == (category, thing)]
    return _union([annotation["segmentation"] for annotation in mine], size)


def _pascal(reader: Reader, size: Size, file: str, thing: int, part: str) -> np.ndarray:
    parts = reader.annotations(file)["object"][thing]["parts"]
    return _union([mask for each in parts if each["name"] == part for mask in each["mask"]], size)


def _track(reader: Reader, size: Size, file: str, frame: int) -> np.ndarray:
    return np.asarray(next(iter(reader.annotations(file)[frame].values()))) > 0


MASKS: dict[str, Callable[..., Bool[np.ndarray, "H W"]]] = {
    "value": _value,  # file, value: pixels of one value
    "grey": _grey,  # file: grey levels of 128 and more
    "any": _any,  # file: all above 0, and what else `read_mask` knows about users' masks
    "lvis": _lvis,  # file, category, image: union of its annotations
    "paco": _paco,  # file, image, category, object: union of its annotations
    "pascal": _pascal,  # file, index of the object, part: union of its pieces
    "track": _track,  # file, frame: the first of its tracks
}
