"""Annotation formats, by name; a format's module is imported when somebody uses the format."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from insid3.batch.formats.base import Format


class Entry(NamedTuple):
    """The place of a format.

    Attributes:
        title: the format in a line of `insid3 convert --help`.
        module, name: the class that reads and writes the format.
        options: arguments of the class.
        needs_extra: the extra "export" must be installed.
    """

    title: str
    module: str
    name: str
    options: Mapping[str, Any] = {}
    needs_extra: bool = True


ENTRIES = {
    "png": Entry("PNG masks, as insid3 segment writes them", "png", "Png", needs_extra=False),
    "yolo": Entry("YOLO segmentation: labels/, images/, data.yaml", "yolo", "Yolo"),
    "voc": Entry("Pascal VOC: SegmentationClass, SegmentationObject, Annotations", "voc", "Voc", needs_extra=False),
    "cvat": Entry("CVAT for images 1.1, masks for what has holes", "cvat", "Cvat"),
    "label-studio": Entry("tasks with brush masks, and config.xml", "label_studio", "LabelStudio", needs_extra=False),
    "labelme": Entry("a JSON file for each picture, masks for what has holes", "labelme", "Labelme"),
    "coco": Entry("COCO instances.json, compressed RLE", "coco", "Coco"),
    "coco-polygon": Entry("the same with polygons, RLE for what has holes", "coco", "Coco", {"polygons": True}),
}


@cache
def _made(name: str) -> "Format":
    entry = ENTRIES[name]
    made: Format = getattr(import_module(f"insid3.batch.formats.{entry.module}"), entry.name)(**entry.options)
    return made


class _Formats(Mapping[str, "Format"]):
    def __getitem__(self, name: str) -> "Format":
        return _made(name)

    def __iter__(self) -> Iterator[str]:
        return iter(ENTRIES)

    def __len__(self) -> int:
        return len(ENTRIES)


FORMATS: Mapping[str, "Format"] = _Formats()
