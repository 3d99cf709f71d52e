"""The reading of annotations: from the pictures and shapes of a file to masks, with an account of what was left out.

Each format only parses its files (`Parsed`). The names and sizes of results, the handling of bad entries and the
report are decided here, once for all formats.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from insid3.batch.formats.geometry import Geometry, PlacedMask, Scale, Size, joined
from insid3.batch.formats.marked import Marked, distinct
from insid3.batch.formats.pictures import Finder, PictureName, result_names
from insid3.batch.formats.values import as_colour, as_size
from insid3.checks.parsing import Flaw, clipped
from insid3.errors import DataError, ImageError, Insid3Error
from insid3.imaging.colours import PALETTE
from insid3.imaging.components import Instance
from insid3.imaging.opening import MAX_PIXELS
from insid3.imaging.read import picture_size
from insid3.label_map import Label

_SHOWN = 3  # places of each kind in the account
_ROOM = 10 * MAX_PIXELS  # pixels of the masks of one picture, each in its own box
_NO_OBJECTS = ("picture", "task that nobody")  # beginnings of the kinds that are no objects


@dataclass(frozen=True, eq=False)
class Shape:
    """Hold one object, or a part of one, as a file describes it.

    Attributes:
        concept: index of the label.
        geometry: shape in pixels of the file.
        place: place in the file, for messages.
        kind: everyday name: "polygon", "box", ...
        group: key that the parts of one object with one label share; None: an object of its own.
        score: confidence of a detector, in [0, 1].
        crowd: several objects that were not told apart.
        layer: order of overlapping shapes: a higher layer lies on top, and in one layer the later shape.
    """

    concept: int
    geometry: Geometry
    place: str
    kind: str = "object"
    group: Hashable | None = None
    score: float = 1.0
    crowd: bool = False
    layer: int = 0


@dataclass(frozen=True, eq=False)
class Draft:
    """Hold a picture as a file describes it.

    Attributes:
        place: place in the file, for messages.
        size: (height, width) that the file declares; None if the file declares none.
        shapes: function that reads the objects of the picture and leaves out bad ones.
        path: path of the picture, if the format itself tells it.
        id: number or text by which the file knows the picture.
        inside: function that returns the picture that the file carries inside, if any.
        own_size: (height, width) of the picture, if it is known without opening `path`.
    """

    place: str
    size: Size | None
    shapes: Callable[[], Sequence[Shape]]
    path: Path | None = None
    id: str = ""
    inside: Callable[[], Image.Image | None] | None = None
    own_size: Size | None = None


@dataclass(frozen=True, eq=False)
class Parsed:
    """Hold the content of an annotation file or folder.

    Attributes:
        source: file or folder, for messages.
        root: folder at which relative paths in the file begin.
        labels: name, id and colour of each class.
        names: names of all pictures.
        drafts: the pictures in the same order, read one at a time.
    """

    source: Path
    root: Path
    labels: list[Label]
    names: Sequence[PictureName]
    drafts: Iterable[Draft]


@dataclass(eq=False)
class Reading:
    """Hold the options for reading annotations, and an account of the entries that were left out or changed.

    Attributes:
        images: folder of the pictures, if the file only names them.
        boxes_as_masks: turn a box without an outline into the mask of all its pixels.
        strict: raise an error for whatever would be left out.
        left_out: kind of entry -> place of each entry that was left out, and the reason.
        notes: kind of entry -> place of each entry that was changed or interpreted without a loss.
    """

    images: Path | None = None
    boxes_as_masks: bool = False
    strict: bool = False
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    objects: int = 0  #: number of objects that were read

    def leave_out(self, kind: str, place: str) -> None:
        """Record an entry that is left out; DataError if `strict` is set."""
        if self.strict:
            raise DataError(f"{clipped(place)}: left out as {clipped(kind, 120)}, which strict reading forbids")
        self.left_out.setdefault(clipped(kind, 120), []).append(clipped(place))

    def note(self, kind: str, place: str) -> None:
        """Record an entry that was read in a way that the user should know."""
        self.notes.setdefault(clipped(kind, 120), []).append(clipped(place))

    def declared(self, height: object, width: object, place: str) -> Size | None:
        """Return the size that a file declares; None if there is none, or, with a note, if no picture has that size."""
        try:
            return as_size(height, width, MAX_PIXELS)
        except Flaw as flaw:
            self.note("size that no picture has", f"{place} {flaw}")
            return None

    def takes_box(self, place: str) -> bool:
        """Tell whether a box without an outline becomes a mask, and record the box; raises as `leave_out`."""
        if self.boxes_as_masks:
            self.note("box read as a mask", place)
        else:
            self.leave_out("box", place)
        return self.boxes_as_masks

    @contextmanager
    def entry(self, kind: str, place: str) -> Iterator[None]:
        """Leave out an entry if anything is wrong with it; raises as `leave_out`."""
        try:
            yield
        except Insid3Error as error:
            if not isinstance(error, ImageError):
                raise
            self.leave_out(kind, f"{place}: {error}")
        except Flaw as flaw:
            self.leave_out(kind, f"{place} {flaw}")
        except Exception:  # the content of the file decides what goes wrong
            self.leave_out(kind, f"{place} cannot be read")

    def labels(self, told: Iterable[tuple[str, int | None, object]]) -> list[Label]:
        """Return the labels of a file, from the name, id and colour of each as far as the file tells them.

        Repeated names get a number. Repeated or missing ids become the next free ones.
        """
        found: list[Label] = []
        for name, number, colour in told:
            plain, unique = distinct(name, ()), distinct(name, {label.name for label in found})
            if plain != name:
                self.note("label with characters that cannot be shown", plain)
            if unique != plain:
                self.note("label of the same name as another", f"{plain!r}, called {unique!r} here")
            ids = {label.id for label in found}
            if number is None or number in ids:
                number = next(i for i in range(len(found) + 1, 2 * len(found) + 2) if i not in ids)
            found.append(Label(unique, number, as_colour(colour) or PALETTE[len(found) % len(PALETTE)]))
        return found

    def pictures(self, parsed: Parsed) -> Iterator[Marked]:
        """Read the pictures one after the other; the first comes once an object has been found.

        Raises:
            DataError: there are objects, but none can be read; or something is left out, and `strict` is set.
        """
        finder, waiting = Finder(parsed.root, self.images), list[Marked]()
        for draft, name, result in zip(parsed.drafts, parsed.names, result_names(parsed.names), strict=True):
            if (picture := self._picture(draft, name, result, finder)) is not None:
                waiting.append(picture)
            if self.objects:
                yield from waiting
                waiting.clear()
        if not self.objects and any(not kind.startswith(_NO_OBJECTS) for kind in self.left_out):
            advice = "; --boxes-as-masks reads boxes" if "box" in self.left_out else ""
            raise DataError(f"{parsed.source} has no object that can be read{advice}. {'; '.join(self.summary())}")
        yield from waiting

    def picture(self, draft: Draft, name: PictureName, root: Path) -> Marked | None:
        """Read one picture of a file; None if it is left out."""
        return self._picture(draft, name, result_names([name])[0], Finder(root, self.images))

    def summary(self) -> list[str]:
        """Return the account as lines: first the counts of all kinds, then the places of each kind."""
        if not (self.left_out or self.notes):
            return []
        lines = []
        if self.left_out:
            lines.append("left out: " + ", ".join(counted(len(p), kind) for kind, p in self.left_out.items()))
        for kinds, head in ((self.left_out, "left out"), (self.notes, "note")):
            for kind, places in kinds.items():
                more = f", and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
                lines.append(f"{head}, {counted(len(places), kind)}: {'; '.join(places[:_SHOWN])}{more}")
        return lines

    def _picture(self, draft: Draft, name: PictureName, result: str | None, finder: Finder) -> Marked | None:
        path = draft.path
        try:
            path = path or finder.find(name, draft.size)
            if path is None and self.images is not None:
                like = finder.like(name)
                self.note("picture that is not there", f"{name.text} in {self.images}{like and f' (there is {like})'}")
        except Flaw as flaw:
            self.note("picture that cannot be told", f"{name.text} {flaw}")
        try:
            if result is None:
                raise Flaw("is a picture that was there before")
            size, scale = self._size(draft, path)
        except Flaw as flaw:
            self.leave_out("picture", f"{draft.place} {flaw}")
            for shape in draft.shapes():
                self.leave_out("object of a picture that is left out", shape.place)
            return None
        instances = tuple(self._instances(draft.shapes(), size, scale))
        self.objects += len(instances)
        address = name.text if name.is_address else None
        return Marked(path or finder.absent(name), result, size, instances, address)

    def _size(self, draft: Draft, path: Path | None) -> tuple[Size, Scale]:
        """Return the size of the picture and the scale of its shapes; the file's size counts if no picture opens."""
        own = draft.own_size
        if own is None and path is not None:
            try:
                own = picture_size(path)
            except ImageError as error:
                self.note("picture that cannot be opened", str(error))
        if own is None and draft.size is None:
            raise Flaw("has no size, and its picture is not there to tell it: say where with --images")
        size, told = own or draft.size, draft.size or own
        assert size is not None
        assert told is not None
        if size[0] * size[1] > MAX_PIXELS:
            raise Flaw(f"is a picture of {size[1]} x {size[0]} pixels; the limit is {MAX_PIXELS:,} in all")
        if size == told:
            return size, (1, 1)
        differ = f"is {told[1]} x {told[0]} in the file, and its picture {size[1]} x {size[0]}"
        if not same_shape(told, size):
            why = "the sides are swapped" if told == size[::-1] else "the sides are in another proportion"
            raise Flaw(f"{differ}: {why}, so the annotations belong to another picture")
        self.note("picture annotated at another scale", f"{draft.place} {differ}: scaled")
        return size, (size[1] / told[1], size[0] / told[0])

    def _instances(self, shapes: Sequence[Shape], size: Size, scale: Scale) -> Iterator[Instance]:
        objects: dict[Hashable, tuple[Shape, list[PlacedMask]]] = {}
        room = _ROOM
        for i, shape in enumerate(sorted(shapes, key=lambda shape: shape.layer)):
            with self.entry(shape.kind, shape.place):
                drawn = shape.geometry.rasterise(size, scale).cropped()
                if drawn.mask.size > room:
                    raise Flaw(f"is too much: the boxes of a picture's objects may have {_ROOM:,} pixels together")
                room -= drawn.mask.size
                key = ("alone", i) if shape.group is None else (shape.group, shape.concept)
                objects.setdefault(key, (shape, []))[1].append(drawn)
        while objects:
            shape, parts = objects.pop(next(iter(objects)))
            whole = joined(parts)
            yield Instance.from_mask_at(whole.left, whole.top, whole.mask, shape.concept, shape.score, shape.crowd)


class Readable(ABC):
    """A format that can be parsed; all such formats are read in the same way."""

    @abstractmethod
    def parse(self, source: Path, reading: Reading) -> Parsed:
        """Parse an annotation file or folder; DataError if it is missing, damaged or of another layout."""

    def read(self, source: Path, reading: Reading | None = None) -> tuple[list[Label], Iterator[Marked]]:
        """Read labels and pictures as `Format.read`; pictures raise errors as `Reading.pictures`."""
        reading = reading or Reading()
        parsed = self.parse(source, reading)
        return parsed.labels, reading.pictures(parsed)


def counted(count: int, kind: str) -> str:
    """Return "3 boxes" for 3 and "box"; the first word is the noun."""
    noun, _, rest = kind.partition(" ")
    if count != 1:
        noun += "es" if noun.endswith(("x", "s")) else "s"
    return f"{count:,} {noun} {rest}".rstrip()


def same_shape(a: Size, b: Size) -> bool:
    """Tell whether two sizes differ only in scale and in the rounding of sides to whole pixels."""
    scale = max(b) / max(a)
    return max(abs(have * scale - want) for have, want in zip(a, b, strict=True)) <= max(1, scale / 2)
