"""The origin of weights: which pictures they were trained on, and with which mean and deviation.

DINOv3 was published in two kinds: LVD-1689M, trained on pictures of the web (S, S+, B, L, H+, 7B), and SAT-493M,
trained on satellite pictures (L, 7B). Their tensors have the same shapes. Pictures must be normalised with the mean and
deviation of the same kind: with those of the other, tokens look right and are wrong.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from insid3.backbones.checkpoint import State
from insid3.backbones.layouts import SIZES, layout, size_of
from insid3.backbones.registry import Kind
from insid3.checks.numbers import is_number
from insid3.checks.parsing import parsing, read_json
from insid3.errors import WeightsError

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of RGB values in [0, 1]."""

    mean: Three
    std: Three

    def is_near(self, other: "Statistics") -> bool:
        """Tell whether two statistics are the same but for rounding."""
        pairs = zip(self.mean + self.std, other.mean + other.std, strict=True)
        return all(abs(one - another) < 1e-3 for one, another in pairs)

    def __str__(self) -> str:
        return f"mean {_numbers(self.mean)}, deviation {_numbers(self.std)}"


IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SATELLITE = Statistics((0.430, 0.411, 0.296), (0.213, 0.156, 0.143))
STATISTICS: dict[Kind, Statistics] = {"LVD-1689M": IMAGENET, "SAT-493M": SATELLITE}
_SETTINGS = ("preprocessor_config.json", "config.json")  # files of transformers and of timm, beside the weights
_SIGNS: dict[Kind, re.Pattern[str]] = {
    "LVD-1689M": re.compile(r"lvd[-_]?1689m"),
    "SAT-493M": re.compile(r"sat[-_]?493m|eadcf0ff|a6675841"),  # the hexadecimal ones are hashes in Meta's file names
}
_PUBLISHED = re.compile(r"(?:dinov3[-_]vit\w+[-_]pretrain[-_]|patch16_dinov3(?:_qkvb)?\.)[\w-]+")  # folders of the hub
_GENERIC = re.compile(r"(?:model|pytorch_model)[\w.-]*\.(?:safetensors|bin|json)$")  # names that say nothing


@dataclass(frozen=True)
class Origin:
    """The origin of the weights of an encoder.

    Attributes:
        weights: the file or folder that was read.
        kind: of DINOv3's weights; None for others.
        statistics: mean and deviation with which pictures are normalised.
        why: the evidence for `kind` and `statistics`.
        unused: the tensors of the file that are not used, in words; "" if all are used.
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


def dinov3_origin(state: State, path: Path, backbone: str, asked: Kind | None, unused: str) -> Origin:
    """Return the origin of DINOv3's weights, told by their tensors, by the files beside them, and by names.

    Args:
        state: tensors of the file, under the names that `unwrapped` returns.
        path: file or folder of the weights.
        backbone: name of the backbone.
        asked: the kind that the backbone's name says, None if it says none.
        unused: see `Origin`.

    Raises:
        WeightsError: tensors, files and names contradict each other.
    """
    statistics, settings = _beside(path)
    # Both kinds of the 7B model have these tensors.
    by_tensors = "local_cls_norm.weight" in state and size_of(state) != SIZES["dinov3-vit7b16"]
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
    why, kind = ", ".join(found), next((kind for kind in STATISTICS if kind in found.values()), None)
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
            "under its published name is recognised",
            stacklevel=5,
        )
    kind = kind or "LVD-1689M"
    return Origin(str(path), kind, STATISTICS[kind], why or lacks or "assumed, since nothing tells", unused)


def timm_origin(path: Path, published: Statistics, asked: bool, others: bool, unused: str) -> Origin:
    """Return the origin of the weights of one of timm's other ViTs.

    Args:
        path: file or folder of the weights.
        published: mean and deviation that timm holds for the model.
        asked: the backbone's name says which of the model's weights are meant.
        others: timm holds weights of the model with another mean or deviation.
        unused: see `Origin`.

    Raises:
        WeightsError: a file beside the weights contradicts the backbone's name.
    """
    beside, why = _beside(path)
    if beside is not None and not beside.is_near(published):
        if asked:
            raise WeightsError(
                f"weights {path} contradict the backbone's name: {beside} {why}, but {published} by the name. "
                "Use the backbone of these weights, as timm:NAME.ENDING"
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
    """Return the evidence for LVD-1689M in what is missing; None where both kinds look the same."""
    size = size_of(state)
    if size not in (SIZES["dinov3-vitl16"], SIZES["dinov3-vit7b16"]):
        return "the only kind of this size"
    return (
        "the kind without tensors local_cls_norm"
        if size == SIZES["dinov3-vitl16"] and layout(state) == "Meta"
        else None
    )


def _by_name(path: Path) -> dict[str, Kind | str | None]:
    """Return the kind that the file's name says; for a name that says nothing, the kind by the folders around it."""
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
    return next((kind for kind, own in STATISTICS.items() if own.is_near(statistics)), None)


def _beside(path: Path) -> tuple[Statistics | None, str]:
    """Return mean and deviation from the settings that programs save beside weights, and the file that says so."""
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
    """Return the numbers for red, green and blue; None for other values, of which the meaning is not known."""
    if not isinstance(values, list) or len(values) != 3 or not all(map(is_number, values)):
        return None
    red, green, blue = map(float, values)
    return red, green, blue


def _shared(values: Three) -> Three:
    red, green, blue = values
    return red / 255, green / 255, blue / 255


def _numbers(values: Three) -> str:
    return "(" + ", ".join(f"{value:.3f}" for value in values) + ")"
