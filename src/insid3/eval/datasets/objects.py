"""COCO-20i and LVIS-92i: whole objects in photographs."""

from collections.abc import Iterator
from typing import Any

from insid3.checks.parsing import as_dict, parsing
from insid3.errors import DataError
from insid3.eval.datasets.base import DataSet, Draw, Fold, Part, UnnamedEpisode, entry, names
from insid3.eval.episodes import View
from insid3.eval.reader import Reader

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip


def draw_coco(reader: Reader, fold: int, shots: int, draw: Draw) -> Fold:
    """Draw a class, a target and references for each episode; fold -1 holds all 80 classes."""
    classes = range(80) if fold == -1 else range(fold, 80, 4)
    pictures = {}
    for cls in classes:
        file = f"COCO2014/splits/val/fold{cls % 4}.pkl"
        pictures[cls] = names(entry(reader.annotations(file), cls, file=file), file)
        if not pictures[cls]:
            raise DataError(f"{file} lists no pictures of class {cls}: is it the published file?")

    def view(name: str, cls: int) -> View:
        mask = f"COCO2014/annotations/{name.removesuffix('.jpg')}.png"
        return View(f"COCO2014/{name}", ("value", mask, cls + 1))

    def draws() -> Iterator[UnnamedEpisode]:
        while True:
            cls = draw.pick(classes)
            target = draw.pick(pictures[cls])
            others = draw.others(pictures[cls], target, shots, f"COCO class {cls}")
            yield UnnamedEpisode(str(cls), view(target, cls), tuple(view(name, cls) for name in others))

    return Fold({str(cls): COCO_CLASSES[cls] for cls in classes}, 1000, draws())


def draw_lvis(reader: Reader, fold: int, shots: int, draw: Draw) -> Fold:
    """Draw episodes of the classes in turn; the classes of a fold depend on the number of shots."""
    file = "LVIS/lvis_val.pkl"
    data = reader.annotations(file)
    with parsing(file, "annotation"):
        kept = [c for c, images in as_dict(data, "content").items() if len(as_dict(images, f"category {c}")) > shots]
    classes = kept[fold : len(kept) // 10 * 10 : 10]
    if not classes:
        raise DataError(f"{file} has {len(kept)} classes of more than {shots} pictures, ten folds need ten at least")
    pictures = [names(data[category], file) for category in classes]

    def view(name: str, category: Any) -> View:
        return View(f"LVIS/coco/{name}", ("lvis", file, category, name))

    def draws() -> Iterator[UnnamedEpisode]:
        while True:
            for cls, category in enumerate(classes):
                target = draw.pick(pictures[cls])
                others = draw.others(pictures[cls], target, shots, f"LVIS category {category}")
                yield UnnamedEpisode(str(cls), view(target, category), tuple(view(name, category) for name in others))

    return Fold({str(cls): f"category {category}" for cls, category in enumerate(classes)}, 2300, draws())


COCO = DataSet(
    "coco", "COCO-20i", 4, draw_coco,
    (
        Part("COCO2014/splits/val/fold[0-3].pkl", "lists of each fold", 4),
        Part("COCO2014/val2014/*.jpg", "photographs", 40504),
        Part("COCO2014/annotations/val2014/*.png", "class index masks"),
    ),
    every=True,
)  # fmt: skip
LVIS = DataSet(
    "lvis", "LVIS-92i", 10, draw_lvis,
    (
        Part("LVIS/lvis_val.pkl", "annotations by category", 1),
        Part("LVIS/coco/val2017/*.jpg", "photographs", 5000),
        Part("LVIS/coco/train2017/*.jpg", "photographs", 118287),
    ),
)  # fmt: skip
