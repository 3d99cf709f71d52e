"""PASCAL-Part and PACO-Part: parts of objects, in pictures cut to the object's box."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from insid3.checks.parsing import as_numbers, as_whole, parsing
from insid3.errors import DataError
from insid3.eval.datasets.base import DataSet, Draw, Fold, Part, UnnamedEpisode, entry, names, patiently
from insid3.eval.episodes import View
from insid3.eval.outlines import numbers
from insid3.eval.pickles import load_pickle
from insid3.eval.reader import Reader, lookup

_VOC = "Pascal-Part/VOCdevkit/VOC2010"
_GROUPS = ("animals", "indoor", "person", "vehicles")


def draw_pascal(reader: Reader, fold: int, shots: int, draw: Draw) -> Fold:
    """Draw episodes of the classes in turn, each from distinct pictures; a fold is a group of objects."""
    file = f"{_VOC}/all_obj_part_to_image.json"
    group = entry(reader.annotations(file), _GROUPS[fold], "object", file=file)
    parts = [(thing, part, images) for thing, found in group.items() for part, images in found["part"].items()]
    classes = [
        (thing, part, names(images["val"], file))
        for thing, part, images in parts
        if images["train"] and images["val"] and (thing, part) != ("aeroplane", "TAIL")
    ]
    if not classes:
        raise DataError(f"{file} has no part in group {_GROUPS[fold]} with pictures to train and to validate")

    def drawn_view(name: str, thing: str, part: str) -> View | None:
        """Draw an object of the image; None if the object lacks the part, so that another draw is needed."""
        where = f"{_VOC}/Annotations_Part_json_merged_part_classes/{name}.json"
        objects = entry(reader.annotations(where), "object", file=where)
        mine = [index for index, each in enumerate(objects) if each["name"] == thing]
        if not mine:
            return None
        index = draw.pick(mine)
        if not any(each["mask"] for each in objects[index]["parts"] if each["name"] == part):
            return None
        with parsing(where, "annotation"):
            box = as_numbers([*lookup(objects[index], "bndbox").values()], "side of a box")
        x0, y0, x1, y1 = (int(side) for side in box)  # in the order of the file, as published
        return View(f"{_VOC}/JPEGImages/{name}.jpg", ("pascal", where, index, part), (x0, y0, x1, y1))

    def draws() -> Iterator[UnnamedEpisode]:
        while True:
            for cls, (thing, part, listed) in enumerate(classes):
                found: dict[str, View] = {}  # the target, then the references
                for _ in patiently(f"PASCAL-Part, {thing} {part}"):
                    name = draw.pick(listed)
                    view = None if name in found else drawn_view(name, thing, part)
                    if view is not None:
                        found[name] = view
                    if len(found) == 1 + shots:
                        break
                target, *references = found.values()
                yield UnnamedEpisode(str(cls), target, tuple(references))

    length = min(sum(len(images["val"]) for _, _, images in parts), 2500)
    return Fold({str(cls): f"{thing} {part.lower()}" for cls, (thing, part, _) in enumerate(classes)}, length, draws())


def draw_paco(reader: Reader, fold: int, shots: int, draw: Draw) -> Fold:
    """Draw a class, and picture and object of the target and each reference; draw again if a box is empty."""
    file, train_file = "PACO-Part/paco/paco_part_val.pkl", "PACO-Part/paco/paco_part_train.pkl"
    data, train = reader.annotations(file), _categories(reader.root / train_file)
    if len(train) != 448:
        raise DataError(f"{train_file} has {len(train)} categories, the folds are those of 448")
    images: dict[Any, list[tuple[Any, str]]] = {}
    for category in train[fold::4]:
        listed = entry(data, "cid2img", file=file).get(category, [])
        found: dict[Any, str] = {}
        for image, path in ((image, path) for each in listed for image, path in each.items()):
            found.setdefault(image, "/".join(names([path], file)[0].split("/")[-2:]))
        if len(found) > shots:
            images[category] = list(found.items())
    if not images:
        raise DataError(f"{file}: no category of fold {fold} has more than {shots} pictures")
    classes = list(images)

    def view(image: Any, name: str, category: Any) -> View:
        objects: dict[int, list[float]] = {}  # box of each object's first annotation
        for annotation in entry(data, "img2anno", image, file=file):
            if annotation["category_id"] == category:
                with parsing(file, "annotation"):
                    sides = numbers(lookup(annotation, "obj_bbox"), "side of a box").tolist()
                    (thing,) = numbers([lookup(annotation, "obj_ann_id")], "obj_ann_id")
                    objects.setdefault(as_whole(float(thing), "obj_ann_id"), sides)
        thing = draw.pick(list(objects))
        x, y, w, h = objects[thing]
        box = (int(x), int(y), int(x + w), int(y + h))
        return View(f"PACO-Part/coco/{name}", ("paco", file, image, category, thing), box)

    def is_empty(view: View) -> bool:
        (height, width), (x0, y0, x1, y1) = reader.size(view.picture), view.box or (0, 0, 0, 0)
        return not (range(height)[y0:y1] and range(width)[x0:x1])

    def draws() -> Iterator[UnnamedEpisode]:
        while True:
            for _ in patiently("PACO-Part"):
                category = draw.pick(classes)
                target, target_name = draw.pick(images[category])
                views = [view(target, target_name, category)]
                while len(views) <= shots:
                    image, name = draw.others(images[category], (target, target_name), 1, f"PACO {category}")[0]
                    views.append(view(image, name, category))
                if not any(map(is_empty, views)):
                    break
            yield UnnamedEpisode(str(classes.index(category)), views[0], tuple(views[1:]))

    return Fold({str(cls): f"category {category}" for cls, category in enumerate(classes)}, 2500, draws())


@lru_cache(1)  # all folds need the categories, and nothing else of the large file
def _categories(file: Path) -> list[Any]:
    return list(entry(load_pickle(file), "cid2img", file=str(file)))


PASCAL_PART = DataSet(
    "pascal_part", "PASCAL-Part", 4, draw_pascal,
    (
        Part(f"{_VOC}/all_obj_part_to_image.json", "images of each part", 1),
        Part(f"{_VOC}/Annotations_Part_json_merged_part_classes/*.json", "annotations"),
        Part(f"{_VOC}/JPEGImages/*.jpg", "photographs", 11321),
    ),
)  # fmt: skip
PACO_PART = DataSet(
    "paco_part", "PACO-Part", 4, draw_paco,
    (
        Part("PACO-Part/paco/paco_part_train.pkl", "the 448 categories", 1),
        Part("PACO-Part/paco/paco_part_val.pkl", "annotations", 1),
        Part("PACO-Part/coco/val2017/*.jpg", "photographs (coco may be a link to LVIS/coco)", 5000),
        Part("PACO-Part/coco/train2017/*.jpg", "photographs", 118287),
    ),
)  # fmt: skip
