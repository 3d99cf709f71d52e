"""Masks of any shape survive every format."""

from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import ndimage

from annotation_files.drawn import any_masks
from annotation_files.table import SIZE, photo
from insid3.batch.formats import FORMATS
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.reading import Reading
from insid3.imaging.components import Instance
from shapes import LABELS, iou

EXACT = ("png", "coco", "voc", "label-studio")


@pytest.mark.parametrize("name", FORMATS)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=20)
def test_any_shapes_come_back(name: str, data: st.DataObject) -> None:
    masks = any_masks(lambda least, most: data.draw(st.integers(least, most)))
    with TemporaryDirectory() as place:
        folder = Path(place)
        objects = tuple(Instance.from_mask(mask, i % 2) for i, mask in enumerate(masks))
        picture = Marked(photo(folder / "photos" / "a.png"), "a", SIZE, objects)
        FORMATS[name].write(LABELS, [picture], folder / "out")
        reading = Reading(images=folder / "photos", strict=True)
        labels, pictures = FORMATS[name].read(folder / "out", reading)
        (found,) = pictures
        assert labels == LABELS
        assert (found.name, found.size) == ("a", SIZE)
        assert not reading.left_out
        if name in ("png", "yolo"):  # objects that touch are one, those in parts are several
            for i in range(len(LABELS)):
                before, after = (whole([o for o in p.instances if o.concept == i]) for p in (picture, found))
                if name == "yolo":
                    parts = [filled(o) for o in picture.instances if o.concept == i]
                    before = np.logical_or.reduce(parts) if parts else before
                assert np.array_equal(before, after) if name in EXACT else close(before, after)
        else:
            assert [o.concept for o in found.instances] == [o.concept for o in objects]
            for a, b in zip(objects, found.instances, strict=True):
                before, after = a.whole(SIZE), b.whole(SIZE)
                assert np.array_equal(before, after) if name in EXACT else close(before, after)


def whole(objects: list[Instance]) -> np.ndarray:
    return np.logical_or.reduce([o.whole(SIZE) for o in objects]) if objects else np.zeros(SIZE, bool)


def filled(instance: Instance) -> np.ndarray:
    """YOLO keeps no holes."""
    return np.asarray(ndimage.binary_fill_holes(instance.whole(SIZE)))


def close(before: np.ndarray, after: np.ndarray) -> bool:
    return not (before.any() or after.any()) or iou(before, after) >= 0.95
