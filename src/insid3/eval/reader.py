"""Pictures and masks of episodes, read as arrays."""

from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from insid3.checks.parsing import Flaw, as_list, parsing, read_json, shown
from insid3.errors import DataError, ImageError
from insid3.eval.episodes import Recipe, View
from insid3.eval.outlines import Pointless, Size, rasterised
from insid3.eval.pickles import load_array, load_pickle
from insid3.imaging.masks import one_channel, read_mask
from insid3.imaging.opening import MAX_PIXELS
from insid3.imaging.read import picture_size, read_image, read_values


class Reader:
    """A reader of the files below a folder, which keeps the annotation files last used in memory.

    Args:
        upright: whether to apply the EXIF orientation to pictures; the published evaluations do not.
        max_pixels: limit of height x width; larger pictures are refused.

    Attributes:
        left_out: flaws of polygons that the masks read so far were made without.
    """

    def __init__(self, root: Path, *, upright: bool = False, max_pixels: int = MAX_PIXELS) -> None:
        self.root, self.upright, self.max_pixels = root, upright, max_pixels
        self.left_out: list[str] = []
        self._texts = lru_cache(4096)(self._annotations)
        self._arrays = lru_cache(2)(self._annotations)  # few, because each takes ten megabytes
        self.size: Callable[[str], Size] = cache(lambda file: picture_size(root / file, upright=upright))

    def annotations(self, file: str) -> Any:
        """Read a .json, .pkl or .npy file.

        Raises:
            DataError: the file is missing or damaged, or is a pickle with code.
        """
        return (self._arrays if file.endswith(".npy") else self._texts)(file)

    def picture(self, view: View) -> UInt8[np.ndarray, "h w 3"]:
        """Read the picture of a view, cut to the view's box."""
        return self._cut(read_image(self.root / view.picture, self.max_pixels, upright=self.upright), view)

    def mask(self, view: View, recipe: Recipe | None = None) -> Bool[np.ndarray, "h w"]:
        """Read the mask of a view, or of another recipe for the same picture; the mask may be empty.

        Raises:
            DataError: the file does not hold a mask as the recipe asks for.
            ImageError: the file cannot be read.
        """
        kind, file, *arguments = recipe or view.mask
        (height, width), path = self.size(view.picture), self.root / file
        if height * width > self.max_pixels:
            raise ImageError(
                f"{self.root / view.picture} has {width} x {height} pixels, the limit is {self.max_pixels:,} in all: "
                "raise it with max_pixels= (--max-pixels) if you trust the file"
            )
        with parsing(path, "annotation"):
            try:
                mask = MASKS[kind](self, (height, width), file, *arguments)
            except Flaw as flaw:
                raise Flaw(f"has no mask of {', '.join(map(shown, arguments))}: it {flaw}") from flaw
        if mask.shape != (height, width):
            raise DataError(
                f"{path} is a mask of {mask.shape[1]} x {mask.shape[0]} pixels, its picture {view.picture} has "
                f"{width} x {height}"
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
        with parsing(path, "JSON"):
            return read_json(path)


class Readers:
    """The readers of an evaluation: one for the published data sets, and one for each folder of a user's own.

    Args:
        data_root: folder that holds the published data sets.
        max_pixels: limit of height x width; larger pictures are refused.
    """

    def __init__(self, data_root: Path | None = None, max_pixels: int = MAX_PIXELS) -> None:
        self._data_root, self._max_pixels = data_root, max_pixels
        self._kept: dict[str | None, Reader] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the files in memory: other processes read for themselves."""
        return Readers, (self._data_root, self._max_pixels)

    def __call__(self, root: str | None, what: str = "this") -> Reader:
        """Return the reader of an `EpisodeList.root`; DataError if the data root is needed and not known."""
        if root is None and self._data_root is None:
            raise DataError(f"{what} needs the folder that holds the data sets: --data-root DIR")
        if root not in self._kept:
            folder = Path(root) if root is not None else self._data_root
            assert folder is not None
            self._kept[root] = Reader(folder, upright=root is not None, max_pixels=self._max_pixels)
        return self._kept[root]


def lookup(data: Any, *keys: Any) -> Any:
    """Return `data[key][key]...` of an annotation file; Flaw if there is no such entry."""
    for key in keys:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError) as error:
            raise Flaw(f"has no entry {' / '.join(map(str, keys))}: is it the published file?") from error
    return data


def _union(reader: Reader, segmentations: list[Any], size: Size, file: str) -> Bool[np.ndarray, "H W"]:
    """Return the union of all annotations with a polygon of three points or a run-length code; Flaw if none has one."""
    mask, left_out, pointless = np.zeros(size, bool), list[str](), list[Pointless]()
    for segmentation in segmentations:
        try:
            mask |= rasterised(segmentation, size, left_out)
        except Pointless as flaw:
            pointless.append(flaw)
    if pointless and len(pointless) == len(segmentations):
        raise pointless[0]
    reader.left_out += [f"{file} {flaw}" for flaw in left_out]
    return mask


def _value(reader: Reader, size: Size, file: str, value: int) -> np.ndarray:
    values = one_channel(read_values(reader.root / file, reader.max_pixels))
    if values is None:
        raise Flaw("is in colours, not in numbers of labels")
    return values == value


def _grey(reader: Reader, size: Size, file: str) -> np.ndarray:
    return read_values(reader.root / file, reader.max_pixels, grey=True) >= 128


def _any(reader: Reader, size: Size, file: str, void: int | None = None) -> np.ndarray:
    return read_mask(reader.root / file, size, "any", reader.max_pixels, may_be_empty=True, void=void)


def _label(reader: Reader, size: Size, file: str, value: int) -> np.ndarray:
    return read_mask(reader.root / file, size, value, reader.max_pixels, may_be_empty=True)


def _lvis(reader: Reader, size: Size, file: str, category: int, image: str) -> np.ndarray:
    found = lookup(reader.annotations(file), category, image, "annotations")
    segmentations = [lookup(annotation, "segmentation") for annotation in as_list(found, "annotations")]
    return _union(reader, segmentations, size, file)


def _paco(reader: Reader, size: Size, file: str, image: int, category: int, thing: int) -> np.ndarray:
    found = as_list(lookup(reader.annotations(file), "img2anno", image), "annotations")
    mine = [a for a in found if (lookup(a, "category_id"), lookup(a, "obj_ann_id")) == (category, thing)]
    return _union(reader, [lookup(annotation, "segmentation") for annotation in mine], size, file)


def _pascal(reader: Reader, size: Size, file: str, thing: int, part: str) -> np.ndarray:
    parts = as_list(lookup(reader.annotations(file), "object", thing, "parts"), "parts")
    pieces = [as_list(lookup(each, "mask"), "masks") for each in parts if lookup(each, "name") == part]
    return _union(reader, [mask for piece in pieces for mask in piece], size, file)


def _track(reader: Reader, size: Size, file: str, frame: int) -> np.ndarray:
    tracks = lookup(reader.annotations(file), frame)
    mask = next(iter(tracks.values()), None) if isinstance(tracks, dict) else None
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype.kind not in "biuf":
        raise Flaw("has no masks as tracks of a frame")
    return np.asarray(mask > 0)


MASKS: dict[str, Callable[..., Bool[np.ndarray, "H W"]]] = {
    "value": _value,  # file, value: pixels of one value
    "label": _label,  # file, value: pixels of one value in a user's mask, which may have another size or be turned
    "grey": _grey,  # file: grey levels of 128 and more
    "any": _any,  # file, void: pixels that `read_mask` marks in a user's mask, without those of the value `void`
    "lvis": _lvis,  # file, category, image: union of the category's annotations in the image
    "paco": _paco,  # file, image, category, object: union of the annotations of the object's part
    "pascal": _pascal,  # file, index of the object, part: union of the part's pieces
    "track": _track,  # file, frame: the frame's first track
}
