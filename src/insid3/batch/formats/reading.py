"""Reading annotations: from what a file says of pictures and shapes to masks, and an account of what was left out.

Every format only finds out what its file says (`Parsed`). What results are called, which size they have, what a bad
entry costs and what is reported is decided here, once for all formats.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from insid3.batch.formats.base import Marked, distinct
from insid3.batch.formats.geometry import Drawn, Geometry, Scale, Size, joined
from insid3.batch.formats.pictures import Finder, PictureName, result_names
from insid3.batch.formats.values import as_colour, as_size
from insid3.errors import DataError, ImageError, Insid3Error
from insid3.images import MAX_PIXELS, picture_size
from insid3.instances import Instance
from insid3.labels import PALETTE, Label
from insid3.parsing import Flaw, clipped

_SHOWN = 3  # places of each kind in the account
_ROOM = 10 * MAX_PIXELS  # pixels of the masks of one picture, each in its own box
_NO_OBJECTS = ("picture", "task that nobody")  # how kinds begin that are none


@dataclass(frozen=True, eq=False)
class Shape:
    """Hold one object, or a part of one, as a file describes it.

    Attributes:
        concept: index of its label.
        geometry: in pixels of the file.
        place: where it stands, for messages.
        kind: what people call it: "polygon", "box", ...
        group: shapes of one group and label are parts of one object.
        crowd: several objects that were not told apart.
        layer: of two shapes that overlap the one of the higher layer lies on top; in one layer the later one.
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
        place: where it stands in the file, for messages.
        size: (height, width) that the file declares; None if it declares none.
        shapes: reads its objects; bad ones are left out there.
        path: the picture, where the format itself says where it is.
        id: a number or text by which the file knows the picture.
        inside: gives the picture that the file carries inside, if any.
        own_size: (height, width) of the picture, where it is known without opening `path`.
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
    """Hold what a file says.

    Attributes:
        source: the file or folder, for messages.
        root: folder from which paths in it begin.
        names: of all pictures.
        drafts: the pictures in the same order, one at a time.
    """

    source: Path
    root: Path
    labels: list[Label]
    names: Sequence[PictureName]
    drafts: Iterable[Draft]


@dataclass(eq=False)
class Reading:
    """Say how annotations are to be read, and keep account of what was not read as it stands.

    Attributes:
        images: folder of the pictures, where the file only names them.
        boxes_as_masks: a box that stands in the place of an outline is the mask of all its pixels.
        strict: whatever would be left out is an error.
        left_out: kind of entry -> where each stood that was left out, and why.
        notes: the same for what was decided or changed, and nothing lost.
    """

    images: Path | None = None
    boxes_as_masks: bool = False
    strict: bool = False
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    objects: int = 0  #: that were read

    def leave_out(self, kind: str, place: str) -> None:
        """Count an entry that is not read.

        Raises:
            DataError: with `strict`.
        """
        if self.strict:
            raise DataError(f"{clipped(place)}: left out as {clipped(kind, 120)}, which strict reading forbids")
        self.left_out.setdefault(clipped(kind, 120), []).append(clipped(place))

    def note(self, kind: str, place: str) -> None:
        """Count an entry that is read in a way that should be known."""
        self.notes.setdefault(clipped(kind, 120), []).append(clipped(place))

    def declared(self, height: object, width: object, place: str) -> Size | None:
        """Return the size that a file declares; None without one. A size that no picture has is noted, not used."""
        try:
            return as_size(height, width, MAX_PIXELS)
        except Flaw as flaw:
            self.note("size that no picture has", f"{place} {flaw}")
            return None

    def takes_box(self, place: str) -> bool:
        """Tell whether a box in the place of an outline becomes a mask; count it in either case.

        Raises:
            DataError: it does not, with `strict`.
        """
        if self.boxes_as_masks:
            self.note("box read as a mask", place)
        else:
            self.leave_out("box", place)
        return self.boxes_as_masks

    @contextmanager
    def entry(self, kind: str, place: str) -> Iterator[None]:
        """Let whatever is wrong with one entry cost this entry only.

        Raises:
            DataError: something is wrong, with `strict`.
        """
        try:
            yield
        except Insid3Error as error:
            if not isinstance(error, ImageError):
                raise
            self.leave_out(kind, f"{place}: {error}")
        except Flaw as flaw:
            self.leave_out(kind, f"{place} {flaw}")
        except Exception:  # what is in the file decides what goes wrong
            self.leave_out(kind, f"{place} cannot be read")

    def labels(self, told: Iterable[tuple[str, int | None, object]]) -> list[Label]:
        """Return the labels of a file, from name, id and colour of each as far as it tells them.

        Names that repeat are told apart by a number, ids that repeat or lack become the next free ones.
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
        """Read the pictures one after the other; none comes before the first object is found.

        Raises:
            DataError: there are objects, but none that can be read; or something is left out, with `strict`.
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
        """Return the account, in lines: kinds and counts first, then the places of each kind."""
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
        """The picture's own size, which decides where the picture can be opened, and the scale of what is drawn."""
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
        objects: dict[Hashable, tuple[Shape, list[Drawn]]] = {}
        room = _ROOM
        for i, shape in enumerate(sorted(shapes, key=lambda shape: shape.layer)):
            with self.entry(shape.kind, shape.place):
                drawn = shape.geometry.drawn(size, scale).cropped()
                if drawn.mask.size > room:
                    raise Flaw(f"is too much: the boxes of a picture's objects may have {_ROOM:,} pixels together")
                room -= drawn.mask.size
                key = ("alone", i) if shape.group is None else (shape.group, shape.concept)
                objects.setdefault(key, (shape, []))[1].append(drawn)
        while objects:
            shape, parts = objects.pop(next(iter(objects)))
            whole = joined(parts)
            yield Instance.at(whole.left, whole.top, whole.mask, shape.concept, shape.score, shape.crowd)


class Readable(ABC):
    """Give every format that says what its file says (`parse`) the same way to read it."""

    @abstractmethod
    def parse(self, source: Path, reading: Reading) -> Parsed:
        """Find out what the file or folder says.

        Raises:
            DataError: it is missing, damaged or of another layout; the message names the file.
        """

    def read(self, source: Path, reading: Reading | None = None) -> tuple[list[Label], Iterator[Marked]]:
        """Read what `write`, or the format's own tool, wrote; `source` is the folder, or its one file.

        Raises:
            DataError: as `parse`, and while pictures are read as `Reading.pictures`.
        """
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
    """Tell whether two sizes differ in nothing but scale and the rounding of sides to whole pixels."""
    scale = max(b) / max(a)
    return max(abs(have * scale - want) for have, want in zip(a, b, strict=True)) <= max(1, scale / 2)
