"""Which pictures weights were trained on, and so with which mean and deviation pictures must be normalised.

DINOv3 was published in two kinds: LVD-1689M, of pictures of the web (S, S+, B, L, H+, 7B), and SAT-493M, of satellite
pictures (L, 7B). Their tensors have the same shapes; tokens of one kind's weights with the other's mean and deviation
look right and are wrong.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from insid3.backbones.checkpoint import State
from insid3.backbones.layouts import SIZES, layout, size_of
from insid3.backbones.registry import Kind
from insid3.errors import WeightsError
from insid3.numbers import is_number
from insid3.parsing import parsing, read_json

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Statistics:
    """Mean and deviation of RGB values in [0, 1]."""

    mean: Three
    std: Three

    def is_near(self, other: "Statistics") -> bool:
        """Return whether both are the same but for rounding."""
        pairs = zip(self.mean + self.std, other.mean + other.std, strict=True)
        return all(abs(one - another) < 1e-3 for one, another in pairs)

    def __str__(self) -> str:
        return f"mean {_numbers(self.mean)}, deviation {_numbers(self.std)}"


IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SATELLITE = Statistics((0.430, 0.411, 0.296), (0.213, 0.156, 0.143))
OF_KIND: dict[Kind, Statistics] = {"LVD-1689M": IMAGENET, "SAT-493M": SATELLITE}
_SETTINGS = ("preprocessor_config.json", "config.json")  # of transformers and of timm, beside the weights
_SIGNS: dict[Kind, re.Pattern[str]] = {
    "LVD-1689M": re.compile(r"lvd[-_]?1689m"),
    "SAT-493M": re.compile(r"sat[-_]?493m|eadcf0ff|a6675841"),  # or the hash in the names of Meta's files
}
_PUBLISHED = re.compile(r"(?:dinov3[-_]vit\w+[-_]pretrain[-_]|patch16_dinov3(?:_qkvb)?\.)[\w-]+")  # folders of the hub
_GENERIC = re.compile(r"(?:model|pytorch_model)[\w.-]*\.(?:safetensors|bin|json)$")  # names that say nothing


@dataclass(frozen=True)
class Origin:
    """What weights are, by what is known of them.

    Attributes:
        weights: the file or folder that they were read from.
        kind: of DINOv3's weights; None for others.
        statistics: the mean and deviation that pictures are normalised with.
        why: what tells `kind` and `statistics`.
        unused: tensors of the file that are not used, in words; "" if all are.
    """

    weights: str
    kind: Kind | None
    statistics: Statistics
    why: str
    unused: str = ""

    def __str__(self) -> str:
        kind = f"DINOv3, {self.kind}" if self.kind else "no published DINOv3"
        left = f"; not used: {self.unused}" if self.unused else ""
        return f"weights {self.weights}: {kind} ({self.why}); {self.statistics}{left}"


def of_dinov3(state: State, path: Path, backbone: str, asked: Kind | None, unused: str) -> Origin:
    """Tell the kind of DINOv3's weights by tensors, files beside them, and names.

    Args:
        state: as in the file, by `unwrapped` names.
        asked: the kind that the backbone's name says.

    Raises:
        WeightsError: these contradict each other.
    """
    statistics, settings = _beside(path)
    by_tensors = "local_cls_norm.weight" in state and size_of(state) != SIZES["dinov3-vit7b16"]  # all 7B have these
    told: dict[str, Kind | str | None] = {
        f"by the backbone's name {backbone}": asked,
        "by its tensors local_cls_norm": "SAT-493M" if by_tensors else None,
        settings: (_kind(statistics) or str(statistics)) if statistics else None,
        **_by_name(path),
    }
    found = {why: kind for why, kind in told.items() if kind}
    if len({*found.values()}) > 1:
        each = ", ".join(f"{kind} {why}" for why, kind in found.items())
        raise WeightsError(
            f"weights {path} contradict what is said of them: {each}. Give the file the name that it was published "
            "under, and load it with the backbone that it belongs to (--backbone)"
        )
    why, kind = ", ".join(found), next((kind for kind in OF_KIND if kind in found.values()), None)
    if statistics is not None and kind is None:
        return Origin(str(path), None, statistics, settings, unused)
    lacks = _lacks(state)
    if kind == "SAT-493M":
        doubt = f", though LVD-1689M is {lacks}" if lacks and not by_tensors else ""
        if doubt or not asked:
            warnings.warn(
                f"weights {path} are SAT-493M's ({why}){doubt}: pictures are normalised with their {SATELLITE}. The "
                "settings of this backbone were published for LVD-1689M",
                stacklevel=5,
            )
    elif kind is None and lacks is None:
        large = "dinov3-vitl16" if size_of(state) == SIZES["dinov3-vitl16"] else "dinov3-vit7b16"
        warnings.warn(
            f"weights {path} may be LVD-1689M's or SAT-493M's, which differ in mean and deviation, and nothing tells "
            f"which: LVD-1689M's {IMAGENET} are taken. If they are SAT-493M's, use --backbone {large}-sat493m; a file "
            "with its published name needs no telling",
            stacklevel=5,
        )
    kind = kind or "LVD-1689M"
    return Origin(str(path), kind, OF_KIND[kind], why or lacks or "assumed, since nothing tells", unused)


def of_timm(path: Path, published: Statistics, asked: bool, others: bool, unused: str) -> Origin:
    """Tell the mean and deviation of weights of timm's other ViTs.

    Args:
        published: those that timm knows for the model.
        asked: the name says which of the model's weights they are.
        others: timm knows weights of this model with other ones.

    Raises:
        WeightsError: files beside the weights contradict what the name says.
    """
    beside, why = _beside(path)
    if beside is not None and not beside.is_near(published):
        if asked:
            raise WeightsError(
                f"weights {path} contradict the backbone's name: {beside} {why}, but {published} by the name. "
                "Name the weights that they are"
            )
        return Origin(str(path), None, beside, why, unused)
    if others and not asked and beside is None:
        warnings.warn(
            f"weights {path}: this model was published with several means and deviations, and nothing tells which are "
            f"these weights': {published} are taken. Say which with the name's ending, as timm:NAME.ENDING",
            stacklevel=5,
        )
    return Origin(str(path), None, published, why or "by the backbone's name", unused)


def _lacks(state: State) -> str | None:
    """What tells LVD-1689M's weights by what they lack; None where both kinds look the same."""
    size = size_of(state)
    if size not in (SIZES["dinov3-vitl16"], SIZES["dinov3-vit7b16"]):
        return "the only kind of this size"
    return (
        "the kind without tensors local_cls_norm"
        if size == SIZES["dinov3-vitl16"] and layout(state) == "Meta"
        else None
    )


def _by_name(path: Path) -> dict[str, Kind | str | None]:
    """The kind that the file's name says; where that name says nothing, that of the folders it lies in."""
    names = [path.name.lower()]
    if path.is_dir() or _GENERIC.match(path.name):
        published = (_PUBLISHED.search(place.name.lower()) for place in path.absolute().parents[:3])
        names += [found[0] for found in published if found]
    for name in names:
        kinds = [kind for kind, sign in _SIGNS.items() if sign.search(name)]
        if len(kinds) == 1:
            return {f"by the name {name}": kinds[0]}
    return {}


def _kind(statistics: Statistics) -> Kind | None:
    return next((kind for kind, own in OF_KIND.items() if own.is_near(statistics)), None)


def _beside(path: Path) -> tuple[Statistics | None, str]:
    """Mean and deviation in the settings that programs save beside weights, and which file says so."""
    if not (path.is_dir() or _GENERIC.match(path.name)):
        return None, ""
    folder = path if path.is_dir() else path.parent
    for name in _SETTINGS:
        file = folder / name
        if not file.is_file():
            continue
        with parsing(f"weights {file}", "settings of a model", WeightsError):
            content = read_json(file)
            nested = content.get("pretrained_cfg") if isinstance(content, dict) else None
            own = nested if isinstance(nested, dict) else content if isinstance(content, dict) else {}
            mean, std = (_three(own.get(f"image_{key}", own.get(key))) for key in ("mean", "std"))
            if mean and std and min(std) > 0:
                if max(mean) <= 1:
                    return Statistics(mean, std), f"by {name}"
                return Statistics(_shared(mean), _shared(std)), f"by {name}, of values from 0 to 255"
    return None, ""


def _three(values: object) -> Three | None:
    """Numbers of red, green and blue; None if these are others, which a program may have meant otherwise."""
    if not isinstance(values, list) or len(values) != 3 or not all(map(is_number, values)):
        return None
    red, green, blue = map(float, values)
    return red, green, blue


def _shared(values: Three) -> Three:
    red, green, blue = values
    return red / 255, green / 255, blue / 255


def _numbers(values: Three) -> str:
    return "(" + ", ".join(f"{value:.3f}" for value in values) + ")"
