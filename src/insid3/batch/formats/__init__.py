"""Annotation formats, by name."""

from insid3.batch.formats.base import Format
from insid3.batch.formats.coco import Coco
from insid3.batch.formats.cvat import Cvat
from insid3.batch.formats.label_studio import LabelStudio
from insid3.batch.formats.labelme import Labelme
from insid3.batch.formats.png import Png
from insid3.batch.formats.voc import Voc
from insid3.batch.formats.yolo import Yolo

FORMATS: dict[str, Format] = {
    "png": Png(),
    "yolo": Yolo(),
    "voc": Voc(),
    "cvat": Cvat(),
    "label-studio": LabelStudio(),
    "labelme": Labelme(),
    "coco": Coco(),
    "coco-polygon": Coco(polygons=True),
}
