"""Options that several commands share."""

import inspect
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insid3.cli.terminal import printable
from insid3.config import PLUS, Aggregation, Basis, Config, Fit, Preset, Refine, Rule, Solver, Upsample, flag
from insid3.errors import ConceptError, ConfigError
from insid3.on_ray import Pool

if TYPE_CHECKING:
    from insid3.annotations import Example
    from insid3.concept import Concept
    from insid3.pipeline import INSID3

_SETTINGS: dict[str, tuple[Any, str]] = {
    "size": (int, "Side in pixels of the square that the encoder sees; a multiple of the patch size."),
    "rank": (int, "Dimensions of the positional subspace that debiasing removes; 0 removes nothing."),
    "tau": (float, "Clusters merge while their mean similarity is above this."),
    "threshold": (float, "Clusters (of the field: pixels) that score above this belong to the mask."),
    "rule": (Rule, "What decides: clusters (published), or one soft field (preset plus), which has the next six."),
    "background": (float, "Field: weight of the similarity to the example's most similar background."),
    "votes": (float, "Field: weight of the backward matching."),
    "regions": (float, "Field: weight of the clusters' evidence."),
    "discriminant": (float, "Field: share of what tells the example's concept from all else in it, 0 to 1."),
    "smoothing": (float, "Field: how much alike patches that look alike become; 0 leaves them as they are."),
    "closer": (bool, "Field: look again, closer, at what is small; a second encoding."),
    "basis": (Basis, "Picture that shows the positional subspace: black (published code) or noise (paper)."),
    "aggregation": (Aggregation, "Ablation: what makes clusters join the seed; seed: nothing does."),
    "kmeans": (int, "Ablation: k of k-means in the place of average linkage."),
    "keep_seed": (bool, "The seed cluster always stays in the mask (paper); the published code may drop it."),
    "fit": (Fit, "How a picture becomes a square: stretch (published), or pad to keep its aspect ratio."),
    "tile": (int, "Side in pixels of the target's tiles, for small objects in large pictures; whole if not given."),
    "overlap": (float, "Share of its side that a tile has in common with the next."),
    "upsample": (Upsample, "What is enlarged to pixels and then cut: the patches' mask (published) or their score."),
    "refine": (Refine, "Move the edge to where the picture has one: crf (the paper's results), guided (faster), none."),
    "solver": (Solver, "Of the CRF; frank-wolfe is what the published code iterates."),
    "crf_size": (int, "Side in pixels of the square, or tile, on which the edge is refined."),
    "min_score": (float, "Empty masks that score below this, from 0 to 1: the concept is taken to be absent there."),
    "max_pixels": (int, "Refuse pictures with more pixels than this."),
    "stretch": (str, "LOW,HIGH: the numbers that become black and white, 0,4095 of 12 bits; also of 8-bit pictures."),
}


_SHOWN = dict.fromkeys(("size", "rank", "tau", "threshold"), "the backbone's") | {"crf_size": "size, at most 640"}
_SHOWN |= {name: f"{getattr(Config, name)}; plus: {value}" for name, value in PLUS.items() if name != "threshold"}
_SHOWN |= {"min_score": "0.0; plus: the backbone's"}


def _setting(name: str) -> inspect.Parameter:
    kind, text = _SETTINGS[name]
    default = next(field.default for field in fields(Config) if field.name == name)
    shown = _SHOWN.get(name, str(default))
    both = flag(name) + (f"/--no-{name.replace('_', '-')}" if kind is bool else "")
    option = typer.Option(both, help=text, show_default=shown, rich_help_panel="Settings of the method")
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _model_option(name: str, kind: Any, default: Any, text: str, *flags: str) -> inspect.Parameter:
    option = typer.Option(*(flags or (f"--{name}",)), help=text, rich_help_panel="Model")
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


_MODEL = [
    _model_option("backbone", str, "dinov2-vits14", "Name from 'insid3 backbones'; dinov3-vitl16 is the paper's."),
    _model_option(
        "preset",
        Preset | None,
        None,
        "published, equal to the authors' code, or plus: better masks, see docs/accuracy.md. [default: published]",
    ),
    _model_option(
        "weights",
        Path | None,
        None,
        "Weights file (.pth, .safetensors), or folder of transformers, instead of the hub.",
    ),
    _model_option("device", str, "auto", "auto, cpu, cuda, cuda:1, mps."),
    _model_option("dtype", str, "auto", "auto (float32 on CPUs), float32, bfloat16, float16."),
    _model_option(
        "engine",
        str,
        "auto",
        "auto (openvino on CPUs where installed), torch, openvino; of segment and evaluate "
        "also ray: several processes, or the cluster at RAY_ADDRESS (ray:torch, ray:openvino).",
    ),
    _model_option("threads", int | None, None, "CPU threads, of each worker; all cores if not given (of workers, 4)."),
    _model_option("workers", int | None, None, "Processes of --engine ray; as many as there is room for if not given."),
    *(_setting(field.name) for field in fields(Config)),
    _model_option("quiet", bool, False, "Errors only.", "--quiet", "-q"),
    _model_option("verbose", bool, False, "One line for every target, and Python warnings.", "--verbose", "-v"),
]


class Model:
    """What the options say about the model; loading waits until `load`."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.quiet, self.verbose = options.pop("quiet"), options.pop("verbose")
        if self.quiet and self.verbose:
            raise ConfigError("--quiet and --verbose exclude each other")
        self._threads = options.pop("threads")
        if self._threads is not None and self._threads < 1:
            raise ConfigError(f"--threads must be 1 or more, got {self._threads}")
        self.pool: Pool | None = None
        where, _, within = options["engine"].partition(":")
        if where == "ray":
            self.pool = Pool(options.pop("workers"), self._threads, options["device"])
            options["engine"] = within or "auto"
        elif options.pop("workers") is not None:
            raise ConfigError("--workers goes with --engine ray")
        self._options = options

    def given(self, name: str) -> Any:
        """The value of an option; None where the user left it out."""
        return self._options[name]

    def loader(self) -> "Callable[[], INSID3]":
        """What `load` does, for other processes."""
        from insid3.pipeline import INSID3

        return partial(INSID3.from_pretrained, **self._options)

    def load(self, *, spreads: bool = False) -> "INSID3":
        """The model.

        Args:
            spreads: the command can give its work to other processes.
        """
        from insid3.backbones import find

        if self.pool and not spreads:
            raise ConfigError("--engine ray goes with segment and evaluate")
        found = find(self._options["backbone"])
        if found.defaults is not None:
            given = {name: self._options[name] for name in ("preset", *_SETTINGS)}
            found.defaults.configs(**given)  # a typo need not wait for torch
        if self._threads:
            import torch

            torch.set_num_threads(self._threads)
        if self.quiet:
            warnings.simplefilter("ignore")
        elif not self.verbose:
            warnings.formatwarning = lambda message, *_: f"insid3: {printable(message)}\n"
        model = self.loader()()
        origin = getattr(model.encoder, "origin", None)
        if self._options["weights"] and origin is not None and not self.quiet:
            typer.echo(printable(f"insid3: {origin}"), err=True)
        return model


def with_model(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all options of a model; it receives them as `model`."""

    def wrapper(**options: Any) -> None:
        mine = {parameter.name: options.pop(parameter.name) for parameter in _MODEL}
        command(**options, model=Model(mine))

    own = [p for p in inspect.signature(command).parameters.values() if p.name != "model"]
    parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *_MODEL]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
    return wrapper


_PANEL = "The example"
References = Annotated[
    list[Path] | None,
    typer.Option(
        "--reference", "-r", help="Picture that shows the concept; repeat for more shots.", rich_help_panel=_PANEL
    ),
]
Masks = Annotated[
    list[Path] | None,
    typer.Option(
        "--mask",
        "-m",
        help="Its mask: a picture, or a labelme .json file; as many as references.",
        rich_help_panel=_PANEL,
    ),
]
ConceptFile = Annotated[
    Path | None, typer.Option("--concept", "-c", help="A .insid3 file instead of pictures.", rich_help_panel=_PANEL)
]
ConceptFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--concept",
        "-c",
        help="Instead of pictures: a .insid3 file, a folder of examples (cat/1.jpg + 1.png), or a list of concepts "
        "(.json); repeat for more.",
        rich_help_panel=_PANEL,
    ),
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        "--label",
        help="Value of the concept in masks with several values; 'any' for all above 0.",
        rich_help_panel=_PANEL,
    ),
]
CocoFile = Annotated[
    Path | None,
    typer.Option("--from-coco", help="Take the example from a COCO instances file.", rich_help_panel=_PANEL),
]
CocoImage = Annotated[str | None, typer.Option("--image", help="Its image: id or file name.", rich_help_panel=_PANEL)]
Category = Annotated[
    str | None, typer.Option("--category", help="Its category, or the label of a labelme file.", rich_help_panel=_PANEL)
]
BoxesAsMasks = Annotated[
    bool,
    typer.Option(
        "--boxes-as-masks",
        help="Take a box of an annotation file that has no outline as the mask.",
        rich_help_panel=_PANEL,
    ),
]
Negatives = Annotated[
    list[Path] | None,
    typer.Option(
        "--negative",
        help="Picture without the concept: more background to compare with; repeatable.",
        rich_help_panel=_PANEL,
    ),
]
Name = Annotated[str | None, typer.Option("--name", help="What to call the concept.", rich_help_panel=_PANEL)]


def make_concept(
    model: "INSID3",
    references: list[Path] | None,
    masks: list[Path] | None,
    file: Path | None,
    label: str | None,
    from_coco: Path | None,
    image: str | None,
    category: str | None,
    negatives: list[Path] | None,
    name: str | None,
    boxes_as_masks: bool = False,
) -> "Concept":
    """The concept that the options of "The example" describe; called by --name, its category, or its first picture.

    Raises:
        ConceptError: options that contradict each other, and all that `INSID3.concept` raises.
    """
    from insid3.concept import Concept

    if file is not None:
        _alone(
            reference=references, mask=masks, from_coco=from_coco, negative=negatives, label=label, image=image,
            category=category, name=name,
        )  # fmt: skip
        return Concept.load(file)
    pictures: list[Any] = list(references or [])
    drawn: list[Any] = list(masks or [])
    if from_coco is not None:
        if image is None or masks or len(pictures) > 1:
            raise ConceptError("--from-coco goes with --image, --category and at most one --reference")
        shot = _example(from_coco, image, category, pictures[0] if pictures else None, "coco", boxes_as_masks)
        pictures, drawn, category = [shot.picture], [shot.mask], shot.category
    elif image is not None:
        raise ConceptError("--image goes with --from-coco")
    in_files = [isinstance(mask, Path) and mask.suffix.lower() == ".json" for mask in drawn]
    if not pictures and drawn and all(in_files):
        pictures = [None] * len(drawn)  # the files name them
    if not pictures:
        raise ConceptError("no example: give --reference IMG --mask IMG, --from-coco FILE, or --concept FILE")
    if len(pictures) != len(drawn):
        raise ConceptError(
            f"every --reference needs its --mask (a picture or a labelme file): got {len(pictures)} and {len(drawn)}"
        )
    if label is not None and (from_coco is not None or any(in_files)):
        raise ConceptError("--label chooses a value of a mask; annotation files have --category")
    found = category
    for i, in_file in enumerate(in_files):
        if in_file:
            shot = _example(drawn[i], None, category, pictures[i], "labelme", boxes_as_masks)
            pictures[i], drawn[i], found = shot.picture, shot.mask, found or shot.category
    if label is not None and label != "any" and not label.lstrip("-").isdigit():
        raise ConceptError(f"--label must be a whole number or 'any', got {label!r}")
    return model.concept(
        pictures,
        drawn,
        name=name or found,
        negatives=negatives or [],
        label=label if label in (None, "any") else int(label),  # type: ignore[arg-type]
    )


def make_concepts(
    model: "INSID3",
    references: list[Path] | None,
    masks: list[Path] | None,
    files: list[Path] | None,
    label: str | None,
    from_coco: Path | None,
    image: str | None,
    category: str | None,
    negatives: list[Path] | None,
    name: str | None,
    boxes_as_masks: bool = False,
) -> "list[Concept]":
    """As `make_concept`, of several files, which may hold several concepts each and get the negatives too."""
    from insid3.batch.examples import find_examples

    if not files:
        options = (label, from_coco, image, category, negatives, name, boxes_as_masks)
        return [make_concept(model, references, masks, None, *options)]
    _alone(
        reference=references, mask=masks, from_coco=from_coco, label=label, image=image, category=category, name=name
    )
    made = [example.make(model) for file in files for example in find_examples(file)]
    return [model.extend(concept, negatives=list(negatives or [])) for concept in made]


def _example(
    file: Path, image: str | None, category: str | None, picture: Any, format: str, boxes_as_masks: bool
) -> "Example":
    """A shot from an annotation file, and word of what was left out of it."""
    from insid3.annotations import example_from
    from insid3.batch.convert import detect

    with suppress(ConfigError):  # whatever the option is called, the file's own format is read
        format = detect(file)
    found = example_from(file, image, category, picture, format=format, boxes_as_masks=boxes_as_masks)
    for note in found.left_out:
        warnings.warn(f"{file}: {note}", stacklevel=3)
    return found


def _alone(**others: Any) -> None:
    if given := [f"--{option.replace('_', '-')}" for option, value in others.items() if value]:
        raise ConceptError(f"--concept already holds the example: leave out {', '.join(given)}")


def check_writable(folder: Path) -> None:
    """Fail before hours of work if results cannot be written."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ConfigError(f"cannot write to {folder}: {existing} is not a folder that you may write to")
