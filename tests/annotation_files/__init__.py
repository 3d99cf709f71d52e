"""Annotation files as people have them, each with what is right: a table that tests go through (`ENTRIES`)."""

from annotation_files import coco, coco_pictures, cvat, cvat_video, label_studio, label_studio_tasks, labelme, voc, yolo
from annotation_files.table import Entry

ENTRIES: list[Entry] = [
    *labelme.ENTRIES,
    *coco.ENTRIES,
    *coco_pictures.ENTRIES,
    *yolo.ENTRIES,
    *voc.ENTRIES,
    *cvat.ENTRIES,
    *cvat_video.ENTRIES,
    *label_studio.ENTRIES,
    *label_studio_tasks.ENTRIES,
]

__all__ = ["ENTRIES", "Entry"]
