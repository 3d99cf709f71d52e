"""Data sets of pictures and mask files in folders: ISIC, Chest X-ray, SUIM, iSAID-5i, PerMIS."""

import re
from collections.abc import Iterator

from insid3.checks.parsing import Flaw, parsing, read_text, shown
from insid3.errors import DataError
from insid3.eval.datasets.base import DataSet, Draw, Fold, Part, UnnamedEpisode, listed, visible
from insid3.eval.episodes import View
from insid3.eval.reader import Reader
from insid3.imaging.read import SUFFIXES, read_values

_ISIC, _ISIC_MASKS = "ISIC/ISIC2018_Task1-2_Training_Input", "ISIC/ISIC2018_Task1_Training_GroundTruth"
ISAID_CLASSES = (
    "ship", "storage tank", "baseball diamond", "tennis court", "basketball court", "ground track field", "bridge",
    "large vehicle", "small vehicle", "helicopter", "swimming pool", "roundabout", "soccer ball field", "plane",
    "harbor",
)  # fmt: skip


def _in_turn(views: dict[str, list[View]], shots: int, draw: Draw, what: str) -> Iterator[UnnamedEpisode]:
    """Draw an episode of each class in turn, without end: the target, then the references."""
    while True:
        for cls, mine in views.items():
            target = draw.pick(mine)
            yield UnnamedEpisode(cls, target, tuple(draw.others(mine, target, shots, f"{what} {cls}")))


def draw_isic(reader: Reader, fold: int, shots: int, draw: Draw) -> Fold:
    """Draw episodes of the three classes in turn; each class is a folder."""

    def view(name: str, cls: str) -> View:
        return View(f"{_ISIC}/{cls}/{name}.jpg", ("grey", f"{_ISIC_MASKS}/{name}_segmentation.png"))

    views = {}
    for index, cls in enumerate("123"):
        where = reader.root / _ISIC / cls
        names = listed([path.stem for path in visible(where, "*.jpg")], f"pictures (.jpg) in {where}")
        views[str(index)] = [view(name, cls) for name in names]
    return Fold({str(index): cls for index, cls in enumerate("123")}, 600, _in_turn(views, shots, draw, "ISIC class"))


def draw_lung(reader: Reader, fold: int, shots: int, draw: Draw) -> Fold:
    """Draw episodes of one class from the X-rays that have a mask."""

    def view(mask: str) -> View:
        name = mask if "MCUCXR" in mask else mask.replace("_mask.png", ".png")
        return View(f"LungSegmentation/CXR_png/{name}", ("grey", f"LungSegmentation/masks/{mask}"))

    where = reader.root / "LungSegmentation" / "masks"
    masks = listed([path.name for path in visible(where, "*.png")], f"masks (.png) in {where}")
    return Fold({"0": "lung"}, 600, _in_turn({"0": [view(mask) for mask in masks]}, shots, draw, "Chest X-ray class"))


def draw_suim(reader: Reader, fold: int, shots: int, draw: Draw) -> Fold:
    """Draw episodes of the seven classes in turn, as many as there are masks that are not empty."""
    classes, views = ("FV", "HD", "PF", "RI", "RO", "SR", "WR"), {}
    for index, cls in enumerate(classes):
        folder = f"SUIM/masks/{cls}"
        paths = [path for path in visible(reader.root / folder, "*") if path.suffix.lower() in SUFFIXES]
        views[str(index)] = [
            View(f"SUIM/images/{path.name.split('.')[0]}.jpg", ("grey", f"{folder}/{path.name}"))
            for path in listed(paths, f"masks in {reader.root / folder}")
            if (read_values(path, reader.max_pixels, grey=True) >= 128).any()
        ]
    names = {str(index): cls for index, cls in enumerate(classes)}
    return Fold(names, sum(map(len, views.values())), _in_turn(views, shots, draw, "SUIM class"))


def draw_isaid(reader: Reader, fold: int, shots: int, draw: Draw) -> Fold:
    """Draw references for the targets and classes in the fold's list; pixels of the value 255 do not count."""
    file = reader.root / f"iSAID/splits/val/fold{fold}.txt"
    with parsing(file, "list of patches and classes"):
        lines = [line.rsplit("__", 1) for line in read_text(file).split()]
        if odd := next((line for line in lines if len(line) != 2 or not re.fullmatch("[0-9]{1,4}", line[1])), None):
            raise Flaw(f"has the line {shown('__'.join(odd))}, expected lines like P0003_0_256_0_256__05")
        targets = [(name, int(number) - 1) for name, number in lines]
    classes = range(5 * fold, 5 * fold + 5)
    names = {cls: [name for name, its in targets if its == cls] for cls in classes}

    def labels(name: str) -> str:
        return f"iSAID/val/semantic_png/{name}_instance_color_RGB.png"

    def view(name: str, cls: int) -> View:
        return View(f"iSAID/val/images/{name}.png", ("value", labels(name), cls + 1))

    if other := sorted({cls for _, cls in targets} - {*classes}):
        raise DataError(f"{file} lists class {other[0] + 1}, its fold has {classes[0] + 1} to {classes[-1] + 1}")

    def draws() -> Iterator[UnnamedEpisode]:
        for target, cls in targets:
            others = draw.others(names[cls], target, shots, f"iSAID class {cls}")
            references = tuple(view(name, cls) for name in others)
            yield UnnamedEpisode(str(cls), view(target, cls), references, ("value", labels(target), 255))

    return Fold({str(cls): ISAID_CLASSES[cls] for cls in classes}, len(targets), draws())


def draw_permis(reader: Reader, fold: int, shots: int, draw: Draw) -> Fold:
    """Return two episodes of each video, without a draw: the first frame is the reference of the second and the third.

    The published order is that of the file system; here videos are sorted by name.
    """
    folder = reader.root / "PerMIRS"
    videos = listed([path.name for path in visible(folder, "*") if path.is_dir()], f"videos (folders) in {folder}")

    def view(video: str, frame: int) -> View:
        return View(f"PerMIRS/{video}/{frame}.jpg", ("track", f"PerMIRS/{video}/masks.npz.npy", frame))

    draws = (UnnamedEpisode("0", view(video, frame), (view(video, 0),)) for video in videos for frame in (1, 2))
    return Fold({"0": "the one thing"}, 2 * len(videos), draws)


ISIC = DataSet(
    "isic", "ISIC 2018", 1, draw_isic,
    (
        Part(f"{_ISIC}/1/*.jpg", "photographs of class 1", 208),
        Part(f"{_ISIC}/2/*.jpg", "photographs of class 2", 1867),
        Part(f"{_ISIC}/3/*.jpg", "photographs of class 3", 519),
        Part(f"{_ISIC_MASKS}/*_segmentation.png", "masks", 2594),
    ),
)  # fmt: skip
LUNG = DataSet(
    "lung", "Chest X-ray", 1, draw_lung,
    (
        Part("LungSegmentation/CXR_png/*.png", "X-rays", 800),
        Part("LungSegmentation/masks/*.png", "masks", 704),
    ),
)  # fmt: skip
SUIM = DataSet(
    "suim", "SUIM", 1, draw_suim,
    (
        Part("SUIM/images/*.jpg", "photographs", 1635),
        *(Part(f"SUIM/masks/{cls}/*", f"masks of {cls}") for cls in ("FV", "HD", "PF", "RI", "RO", "SR", "WR")),
    ),
)  # fmt: skip
ISAID = DataSet(
    "isaid", "iSAID-5i", 3, draw_isaid,
    (
        Part("iSAID/splits/val/fold[0-2].txt", "lists of each fold", 3),
        Part("iSAID/val/images/*.png", "patches", 6363),
        Part("iSAID/val/semantic_png/*_instance_color_RGB.png", "class index masks", 6363),
    ),
)  # fmt: skip
PERMIS = DataSet(
    "permis", "PerMIS", 1, draw_permis,
    (
        Part("PerMIRS/*/masks.npz.npy", "masks of a video", 216),
        Part("PerMIRS/*/[0-2].jpg", "frames", 648),
    ),
)  # fmt: skip
