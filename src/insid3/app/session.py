"""One visitor's work: an example being marked, concepts, targets, and what is asked of them. No page, no gradio."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from insid3.app.features import Features, Reference
from insid3.app.files import Files
from insid3.app.sessions import Kept, Turns
from insid3.app.show import Matched, Shown, Stages, marked, placeholder
from insid3.batch.sources import Target, find_targets
from insid3.batch.worker import slugs
from insid3.batch.writers import write_picture
from insid3.concept import Concept
from insid3.config import Config
from insid3.errors import ConceptError, ConfigError, Insid3Error, MaskError
from insid3.explain import look_inside
from insid3.imaging import draw
from insid3.imaging.colours import PALETTE, Colour
from insid3.imaging.masks import read_mask
from insid3.imaging.read import read_image, read_values
from insid3.imaging.resizing import resize_nearest, thumbnail
from insid3.label_map import LabelMap, numbered
from insid3.model import INSID3
from insid3.region_picker import parse_picks
from insid3.storage import writing

CANVAS = 1024  #: pixels of the longer side of what is painted on
MOST_TARGETS = 200  #: at once; more are work for the command line
MOST_BYTES = 256 * 2**20  #: of a session's concepts


@dataclass(frozen=True)
class Settings:
    """What can be changed after pictures are encoded; by the names of `Config`."""

    threshold: float
    tau: float
    rank: int
    min_score: float = 0.0
    refine: str = "none"

    @classmethod
    def of(cls, config: Config) -> "Settings":
        return cls(config.threshold, config.tau, config.rank, config.min_score, config.refine)


@dataclass(frozen=True, eq=False)
class Example:
    """A reference picture whose mask is being made.

    Attributes:
        whole: the concept that the whole picture would be; others follow by another mask.
        preview: the picture to paint on.
        mask: at the picture's size; None before anything is marked.
        painted: whether the mask was painted.
    """

    path: Path
    whole: Concept
    preview: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "H W"] | None = None
    painted: bool = False


class Session:
    """All of one visitor. Whoever has the `lock` has the model."""

    def __init__(
        self,
        model: INSID3,
        folder: Path,
        kept: Kept,
        lock: Turns,
        pictures: Path | None = None,
    ) -> None:
        """
        Args:
            folder: for files of this session; a new one.
            kept: of all sessions.
            pictures: a folder of the server whose pictures may be targets.
        """
        self.model, self.folder, self.pictures = model, folder, pictures
        self.example: Example | None = None
        self.concepts: dict[str, Concept] = {}
        self.targets: tuple[Target, ...] = ()
        self.more: tuple[Path, ...] = ()  #: pictures that are only matched
        self.marked = False  #: whether there are results to be kept up to date
        self.looking = False  #: whether the stages are
        self.files = Files(folder)
        self.features = Features(model, folder, kept, lock)
        self._merged: tuple[Any, tuple[Concept, ...]] = ((), ())
        self._run: object = None  # the latest; others stop

    def close(self) -> None:
        """Forget all pictures."""
        self.stop()
        self.features.close()

    # The example

    def open(self, path: Path) -> Example:
        """Begin with a reference picture.

        Raises:
            ImageError: it cannot be used.
        """
        path = self.files.own(path)
        with self.features.using(path):
            whole = self.features.whole(path)
            self.example = Example(path, whole, thumbnail(read_image(path, self.model.config.max_pixels), CANVAS))
        return self.example

    def paint(self, layers: Sequence[Path]) -> Example:
        """Mark what is painted: where one of the layers is not transparent. Nothing painted marks nothing.

        Raises:
            ImageError: a layer cannot be read.
        """
        example = self._example()
        size, painted = example.whole.image_sizes[0], np.zeros(example.whole.image_sizes[0], bool)
        for layer in layers:
            values = read_values(layer, 4 * CANVAS**2)
            if values.ndim != 3 or values.shape[2] != 4:
                raise MaskError(f"a painted layer is RGBA, got shape {values.shape}")
            painted |= resize_nearest(values[..., 3] > 127, size)
        if not painted.any() and not example.painted:
            return example  # the canvas was only opened
        self.example = replace(self._marked(painted if painted.any() else None), painted=True)
        return self.example

    def pick(self, text: str, tau: float) -> Example:
        """Mark the regions at points ("+417,180 -300,220", in pixels of the reference).

        Raises:
            ConfigError: a text of another form, or points outside the picture.
        """
        mask = self.features.regions(self._example().whole, tau).mask(parse_picks(text))
        return self._marked(mask if mask.any() else None)

    def take_mask_of(self, mask: Bool[np.ndarray, "H W"]) -> Example:
        """Mark what is True, at the reference's size."""
        return self._marked(mask)

    def take_mask(self, path: Path) -> Example:
        """Mark what a mask file marks.

        Raises:
            MaskError: it cannot be used.
        """
        size, path = self._example().whole.image_sizes[0], self.files.own(path)
        with self.features.using(path):
            return self._marked(read_mask(path, size, "any", self.model.config.max_pixels))

    def place(self, index: Sequence[float], name: str | None = None) -> tuple[int, int]:
        """Where a click on a preview is in the picture itself: of the example, or of the one to match by that name."""
        if name is None:
            preview, (height, width) = self._example().preview, self._example().whole.image_sizes[0]
        else:
            reference = self.to_match(name)
            preview, (height, width) = reference.preview, reference.concept.image_sizes[0]
        x, y = (index[0] + 0.5) * width / preview.shape[1], (index[1] + 0.5) * height / preview.shape[0]
        return min(int(x), width - 1), min(int(y), height - 1)

    def example_shown(self, colour: Colour, tau: float | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """The reference with its mask; with `tau` also the borders of its regions."""
        example = self._example()
        picture, size = example.preview, example.preview.shape[:2]
        if tau is not None:
            picture = draw.borders(
                picture, resize_nearest(self.features.regions(self._example().whole, tau).labels, size)
            )
        return picture if example.mask is None else draw.overlay(picture, resize_nearest(example.mask, size), colour)

    def _example(self) -> Example:
        if self.example is None:
            raise ConceptError("choose a reference picture first")
        return self.example

    def _marked(self, mask: Bool[np.ndarray, "H W"] | None) -> Example:
        self.example = replace(self._example(), mask=mask, painted=False)
        return self.example

    # Concepts

    def all_concepts(self, name: str, colour: Colour) -> tuple[Concept, ...]:
        """The concepts that are kept, the example among them: alone, or as a further shot of one of its name.

        Raises:
            ConceptError: nothing is marked.
        """
        name, example = name.strip() or "concept", self.example
        key = (*self.concepts.values(), example, name, colour)
        if self._merged[0] != key:  # the same objects again, so that what follows from them is kept
            found = dict(self.concepts)
            if example is not None and example.mask is not None:
                shot = self.model.redraw(example.whole, example.mask)
                known = found.get(name)
                found[name] = known.with_shots(shot) if known else replace(shot, name=name, colour=colour)
            self._merged = key, tuple(found.values())
        if not self._merged[1]:
            raise ConceptError("there is no example yet: choose a reference picture and mark the concept in it")
        return self._merged[1]

    def colour_for(self, name: str, colour: Colour) -> Colour:
        """Of a concept that is kept its own; of a new one this colour, or the next that no other has."""
        known, taken = self.concepts.get(name.strip()), [concept.colour for concept in self.concepts.values()]
        if known is not None and known.colour is not None:
            return known.colour
        return next((free for free in (colour, *PALETTE) if free not in taken), colour)

    def keep(self, name: str, colour: Colour) -> None:
        """Make the example one of the concepts and begin a new one.

        Raises:
            ConceptError: nothing is marked, or there are too many.
        """
        if self.example is None or self.example.mask is None:
            raise ConceptError("mark the concept in the reference picture first")
        made = self.all_concepts(name, colour)
        self._room(made)
        self.concepts = {concept.name: concept for concept in made}
        self.example = None

    def load(self, path: Path) -> Concept:
        """Add a concept from a .insid3 file.

        Raises:
            ConceptError: damaged, or made with another backbone, weights or size.
        """
        with self.features.using(path):
            concept = Concept.load(path)
            self.model.check(concept)
        self._room((*self.concepts.values(), concept))
        self.concepts = {**self.concepts, concept.name: concept}
        return concept

    def save(self, name: str, colour: Colour, folder: Path | None = None) -> list[Path]:
        """All concepts as .insid3 files, in a folder of their own if not told where.

        Raises:
            ConceptError: there are none.
        """
        concepts, folder = self.all_concepts(name, colour), folder or self.files.fresh("concepts")
        files = [folder / f"{slug}.insid3" for slug in slugs(numbered(concepts))]
        for concept, file in zip(concepts, files, strict=True):
            writing(partial(concept.save, file))
        return files

    def drop(self, name: str) -> None:
        """Forget a concept."""
        self.concepts = {key: concept for key, concept in self.concepts.items() if key != name}

    def cards(self) -> list[tuple[UInt8[np.ndarray, "h w 3"], str]]:
        """Each shot of each concept to look at, and what it is."""
        if not self.concepts:
            return []
        return [
            (draw.overlay(small, resize_nearest(mask, small.shape[:2]), label.colour), f"{concept.name}: {source}")
            for concept, label in zip(self.concepts.values(), numbered([*self.concepts.values()]), strict=True)
            for small, mask, source in zip(concept.thumbnails, concept.masks, concept.sources, strict=True)
        ]

    # Targets

    def choose(self, paths: Sequence[Path], folder: bool = False) -> str | None:
        """What to mark: these pictures, and with `folder` those of the server's own; what was left out."""
        found = [Target(self.files.own(path), path.stem) for path in paths]
        if folder and self.pictures is not None:
            found += find_targets([self.pictures], self.folder)
        taken: dict[str, Target] = {}
        for target in found:
            name, i = target.name, 1
            while name.casefold() in taken:
                name, i = f"{target.name}_{i + 1}", i + 1
            taken[name.casefold()] = replace(target, name=name)
        self.marked, self.targets = False, tuple(taken.values())[:MOST_TARGETS]
        if len(taken) > MOST_TARGETS:
            return f"only the first {MOST_TARGETS} of {len(taken)} pictures: the command line marks them all"
        return None

    def mark(self, settings: Settings, name: str, colour: Colour) -> Iterator[Shown]:
        """Mark every target, one by one; a picture that cannot be used is told of and the rest goes on.

        Ends early when it is called again, or stopped.

        Raises:
            ConceptError: no example.
            ConfigError: no targets.
        """
        concepts, targets = self.all_concepts(name, colour), self.targets
        if not targets:
            raise ConfigError("there are no targets yet: choose the pictures to mark")
        mine = self._run = object()
        self.marked, folder, model = True, self.files.fresh("overlays"), self._at(settings)
        for i, target in enumerate(targets):
            shown = self._mark(target, model, concepts, folder / f"{i:03d}.jpg")
            if self._run is not mine:
                return
            yield shown

    def stop(self) -> None:
        """End marking after the picture in hand."""
        self._run = None

    def _mark(self, target: Target, model: INSID3, concepts: Sequence[Concept], overlay: Path) -> Shown:
        try:
            with self.features.using(target.path):
                seen = self.features.seen(target.path)
                found = model.label(seen.encoded, concepts)
            writing(partial(write_picture, overlay, marked(seen.preview, found)))
            return Shown.of(target.name, overlay, found)
        except Insid3Error as error:
            writing(partial(write_picture, overlay, placeholder()))
            return Shown(target.name, overlay, f"{target.name} · cannot be used", error=str(error))

    def label_maps(self, settings: Settings, name: str, colour: Colour) -> Iterator[tuple[Target, LabelMap | str]]:
        """Of every target, or why there is none."""
        concepts, model = self.all_concepts(name, colour), self._at(settings)
        for target in self.targets:
            try:
                with self.features.using(target.path):
                    found: LabelMap | str = model.label(self.features.seen(target.path).encoded, concepts)
                yield target, found
            except Insid3Error as error:
                yield target, str(error)

    def stages(self, target: str | None, concept: str | None, settings: Settings, name: str, colour: Colour) -> Stages:
        """How the mask of a target came about.

        Raises:
            ConfigError: no such target.
            Insid3Error: as `mark`.
        """
        concepts = self.all_concepts(name, colour)
        wanted = next((known for known in concepts if known.name == concept), concepts[0])
        path, model = self.path_of(target), self._at(settings)
        with self.features.using(path):
            seen = self.features.seen(path)
            inside = look_inside(model, seen.encoded, wanted)
        return Stages.of(seen.preview, inside, model.config)

    # Points

    def match(
        self, reference: str | None, target: str | None, points: Sequence[Sequence[float]], shown: int = -1
    ) -> Matched:
        """Find points of one picture in another.

        Args:
            points: (x, y) in pixels of the reference.
            shown: the point whose similarities are drawn.

        Raises:
            ConfigError: no such pictures, or points outside the reference.
            ImageError: a picture cannot be used.
        """
        theirs, known = self.path_of(target), np.reshape(np.asarray(points, float), (-1, 2))
        left = self.to_match(reference)
        with self.features.using(theirs):
            right = self.features.seen_to_match(theirs)
            raw, debiased = (
                self.model.match(right.encoded, left.concept, known, debias=debias) for debias in (False, True)
            )
        size, theirs_size = left.concept.image_sizes[0], right.encoded.grid.size
        return Matched.of(left.preview, size, known, right.preview, theirs_size, raw, debiased, shown)

    def to_match(self, name: str | None) -> Reference:
        """A picture whose points are to be found; errors as `match`."""
        path = self.path_of(name)
        with self.features.using(path):
            return self.features.reference(path)

    def names(self) -> list[str]:
        """Of all pictures that are there: the example, the targets, and more."""
        return [*self._paths()]

    def path_of(self, name: str | None) -> Path:
        """ConfigError: there is no such picture."""
        if (path := self._paths().get(name or "")) is None:
            raise ConfigError(f"there is no picture called {name!r} any more" if name else "choose a picture first")
        return path

    def _paths(self) -> dict[str, Path]:
        others = {path.name: path for path in (*self.more, *([self.example.path] if self.example else []))}
        return {**others, **{target.name: target.path for target in self.targets}}

    def _at(self, settings: Settings) -> INSID3:
        if self.features.at_rank(settings.rank):
            self.concepts = {name: replace(concept) for name, concept in self.concepts.items()}  # and what they keep
            self._merged = (), ()
        return self.model.but(**asdict(settings))

    def _room(self, concepts: Sequence[Concept]) -> None:
        numbered(concepts)  # says what is wrong with their names
        size = sum(t.nbytes for c in concepts for t in (*c.tokens, c.negatives)) + sum(
            m.size for c in concepts for m in c.masks
        )
        if size > MOST_BYTES:
            raise ConceptError("that is more than one page may keep: forget a concept, or use the command line")
