"""CVAT's tracks: one object over the frames of a video, drawn at key frames."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from insid3.batch.formats.reading import Reading
from insid3.checks.parsing import Flaw, as_number, as_whole

_NUMBERS = ("xtl", "ytl", "xbr", "ybr", "cx", "cy", "rx", "ry", "rotation")  # interpolated between key frames
_MOST = 300_000  # frames of a video


@dataclass(frozen=True, eq=False)
class Track:
    """Hold the shapes of one object at its key frames, in order of time."""

    place: str
    frames: list[int]
    shapes: list[Element]

    def at(self, frame: int) -> Element | None:
        """Return the object's shape in a frame as CVAT shows it; None if the object is not visible.

        Between two key frames, boxes, ellipses and polygons with equal numbers of points are interpolated linearly;
        other shapes stay as at the earlier key frame. The last shape holds to the end. `outside` hides the object
        until the next key frame.

        Raises:
            Flaw: a coordinate at a key frame is no number.
        """
        before = bisect_right(self.frames, frame) - 1
        if before < 0 or self.shapes[before].get("outside") == "1":
            return None
        first = self.shapes[before]
        if self.frames[before] == frame:
            return first
        if before + 1 == len(self.frames):
            return Element(first.tag, first.attrib | {"between": "1"})
        share = (frame - self.frames[before]) / (self.frames[before + 1] - self.frames[before])
        return _between(first, self.shapes[before + 1], share)


def tracks_of(elements: Sequence[Element], reading: Reading, file: Path) -> list[Track]:
    """Return the tracks of a file, each shape with the label and group of its track."""
    found = []
    for number, element in enumerate(elements):
        place = f"track {element.get('id', number)} of {file.name}"
        keys: dict[int, Element] = {}
        for entry in element:
            with reading.entry(entry.tag, place):
                frame = as_whole(entry.get("frame"), "frame")
                if not 0 <= frame < _MOST:
                    raise Flaw(f"has a shape at frame {frame}; films have up to {_MOST:,}")
                for name in ("label", "group_id"):
                    if value := element.get(name):
                        entry.set(name, value)
                keys[frame] = entry
        found.append(Track(place, sorted(keys), [keys[frame] for frame in sorted(keys)]))
    return found


def frames_of(tracks: Sequence[Track], told: int) -> int:
    """Return the number of frames that a file declares, or more if the tracks need them; Flaw if there are too many."""
    if told > _MOST:
        raise Flaw(f"declares {told:,} frames; films have up to {_MOST:,}")
    return max([told, *(track.frames[-1] + 1 for track in tracks if track.frames)])


def shapes_at(tracks: Sequence[Track], frame: int, reading: Reading) -> Iterator[tuple[str, Element]]:
    """Yield the shapes of a frame, each after its place in the file."""
    for track in tracks:
        place = f"{track.place} at frame {frame}"
        with reading.entry("track", place):
            if (shape := track.at(frame)) is not None:
                if shape.get("between"):
                    reading.note("shape between key frames", place)
                yield place, shape


def _between(first: Element, second: Element, share: float) -> Element:
    made = Element(first.tag, first.attrib | {"between": "1"})
    if second.tag != first.tag:
        return made
    for name in _NUMBERS:
        if first.get(name) is not None and second.get(name) is not None:
            a, b = (as_number(one.get(name), name) for one in (first, second))
            made.set(name, str(a + share * (b - a)))
    a_points, b_points = ((one.get("points") or "").split(";") for one in (first, second))
    if first.tag == "polygon" and len(a_points) == len(b_points):
        ends = (zip(a.split(","), b.split(","), strict=False) for a, b in zip(a_points, b_points, strict=True))
        moved = [[as_number(a, "x or y") * (1 - share) + as_number(b, "x or y") * share for a, b in e] for e in ends]
        made.set("points", ";".join(",".join(map(str, point)) for point in moved))
    return made
