"""The options of `segment`, `video` and `concept` that give an example."""

import warnings
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from insid3.cli.options import OptionGroup, option
from insid3.config import flag
from insid3.errors import ConceptError, ConfigError

if TYPE_CHECKING:
    from insid3.batch.annotations import Example
    from insid3.concept import Concept
    from insid3.model import INSID3

PANEL = "The example"


@dataclass(frozen=True)
class ExampleOptions(OptionGroup):
    """Hold what the options say about the example: pictures and masks, an annotation file, or files of concepts."""

    reference: Annotated[
        list[Path] | None,
        option(PANEL, "--reference", "-r", help="Picture that shows the concept; repeat for more shots."),
    ] = None
    mask: Annotated[
        list[Path] | None,
        option(PANEL, "--mask", "-m", help="Mask of a reference, one each: a picture, or a labelme .json file."),
    ] = None
    concept: Annotated[
        list[Path] | None,
        option(
            PANEL,
            "--concept",
            "-c",
            help="Instead of pictures: an .insid3 file, a folder of examples (cat/1.jpg + 1.png), or a list of "
            "concepts (.json); repeat for more.",
        ),
    ] = None
    label: Annotated[
        str | None,
        option(PANEL, "--label", help="Value of the concept in a mask of several values; any: all values above 0."),
    ] = None
    from_coco: Annotated[
        Path | None, option(PANEL, "--from-coco", help="COCO instances file to take the example from.")
    ] = None
    image: Annotated[
        str | None, option(PANEL, "--image", help="The example's picture in that file: id or file name.")
    ] = None
    category: Annotated[
        str | None, option(PANEL, "--category", help="The concept's category in that file, or label in a labelme file.")
    ] = None
    boxes_as_masks: Annotated[
        bool,
        option(PANEL, "--boxes-as-masks", help="Take a box of an annotation file that has no outline as the mask."),
    ] = False
    negative: Annotated[
        list[Path] | None,
        option(PANEL, "--negative", help="Picture without the concept: more background to compare with; repeatable."),
    ] = None
    name: Annotated[str | None, option(PANEL, "--name", help="Name of the concept.")] = None

    def concepts(self, model: "INSID3") -> "list[Concept]":
        """Make the concepts; those from --concept get the negatives too.

        Raises:
            ConceptError: the options contradict each other, or `INSID3.concept` raises it.
        """
        if not self.concept:
            return [self.drawn(model)]
        from insid3.batch.concept_files import find_concepts

        others = [own.name for own in fields(self) if own.name not in ("concept", "negative", "boxes_as_masks")]
        if given := [flag(name) for name in others if getattr(self, name)]:
            raise ConceptError(f"--concept already holds the example: leave out {', '.join(given)}")
        made = [example.make(model) for file in self.concept for example in find_concepts(file)]
        return [model.extend(concept, negatives=list(self.negative or [])) for concept in made]

    def drawn(self, model: "INSID3") -> "Concept":
        """Encode the concept that pictures and masks show, named by --name, its category, or its first picture.

        Raises:
            ConceptError: the options contradict each other, or `INSID3.concept` raises it.
        """
        pictures: list[Any] = list(self.reference or [])
        masks: list[Any] = list(self.mask or [])
        category = self.category
        if self.from_coco is not None:
            if self.image is None or masks or len(pictures) > 1:
                raise ConceptError("--from-coco goes with --image, --category and at most one --reference")
            shot = self._shot(self.from_coco, "coco", pictures[0] if pictures else None, self.image)
            pictures, masks, category = [shot.picture], [shot.mask], shot.category
        elif self.image is not None:
            raise ConceptError("--image goes with --from-coco")
        in_files = [isinstance(mask, Path) and mask.suffix.lower() == ".json" for mask in masks]
        if not pictures and masks and all(in_files):
            pictures = [None] * len(masks)  # the files name them
        if not pictures:
            raise ConceptError("no example: give --reference IMG --mask IMG, --from-coco FILE, or --concept FILE")
        if len(pictures) != len(masks):
            raise ConceptError(
                "every --reference needs its --mask (a picture or a labelme file): "
                f"got {len(pictures)} and {len(masks)}"
            )
        if self.label is not None and (self.from_coco is not None or any(in_files)):
            raise ConceptError("--label chooses a value of a mask; annotation files have --category")
        for i, in_file in enumerate(in_files):
            if in_file:
                shot = self._shot(masks[i], "labelme", pictures[i])
                pictures[i], masks[i], category = shot.picture, shot.mask, category or shot.category
        label = self.label
        if label is not None and label != "any" and not label.lstrip("-").isdigit():
            raise ConceptError(f"--label must be a whole number or 'any', got {label!r}")
        return model.concept(
            pictures,
            masks,
            name=self.name or category,
            negatives=self.negative or [],
            label=label if label in (None, "any") else int(label),  # type: ignore[arg-type]
        )

    def _shot(self, file: Path, format: str, picture: Any, image: str | None = None) -> "Example":
        """Read a shot from an annotation file, and warn of what was left out of it."""
        from insid3.batch.annotations import example_from
        from insid3.batch.convert import detect

        with suppress(ConfigError):  # the file's own format is read, whatever the option is called
            format = detect(file)
        found = example_from(file, image, self.category, picture, format=format, boxes_as_masks=self.boxes_as_masks)
        for note in found.left_out:
            warnings.warn(f"{file}: {note}", stacklevel=3)
        return found
