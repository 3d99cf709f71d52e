"""CVAT for video 1.1: tracks with keyframes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotation_files.cvat import DISC, LABELS, PLACED, mask, points
from annotation_files.table import Entry, Mask, Ring, corners, inside, text, whole


def video(
    name: str,
    objects: int,
    tracks: str,
    frames: Mapping[int, Sequence[tuple[str, Mask]]],
    *,
    meta: str = f"<task><size>6</size><mode>interpolation</mode>{LABELS}<original_size><width>80</width>"
    "<height>60</height></original_size></task>",
    **more: Any,
) -> Entry:
    """frames: what is to be seen in each; pictures are called by the number of the frame, whatever is around it."""

    def write(folder: Path) -> Path:
        return text(folder / "annotations.xml", f"<annotations><meta>{meta}</meta>{tracks}</annotations>")

    masks = {f"frame_{number:06}": shown for number, shown in frames.items()}
    return Entry(name, "cvat", write, objects, masks, **more)


def track(*shapes: str, label: str = "cat") -> str:
    return f'<track id="0" label="{label}" source="manual">{"".join(shapes)}</track>'


def frame(number: int, edges: tuple[float, float, float, float], **more: Any) -> str:
    named = {"frame": number, "keyframe": 1, "outside": 0, "occluded": 0} | more
    attributes = " ".join(f'{key}="{value}"' for key, value in named.items())
    x0, y0, x1, y1 = edges
    return f'<box {attributes} xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}" z_order="0"/>'


def outline(number: int, ring: Ring, **more: Any) -> str:
    attributes = "".join(f' {key}="{value}"' for key, value in more.items())
    return f'<polygon frame="{number}" keyframe="1" outside="0" points="{points(ring)}"{attributes}/>'


def masked(number: int, **more: Any) -> str:
    return mask(DISC, 10, 8, frame=number, keyframe=1, **({"outside": 0} | more)).replace('label="cat" ', "")


def moved(by: float) -> tuple[float, float, float, float]:
    return (4 + by, 8, 24 + by, 40)


def seen(by: int) -> list[tuple[str, Mask]]:
    return [("cat", whole((4 + by, 8, 24 + by, 40)))]


ENTRIES = [
    video(
        "track of boxes",
        1,
        track(frame(0, moved(0)), frame(4, moved(40), outside=1)),
        {0: seen(0), 1: seen(10), 2: seen(20), 3: seen(30), 4: [], 5: []},
        repeated=3,
    ),
    video(
        "track that holds to the end",
        1,
        track(frame(2, moved(0)), frame(3, moved(8))),
        {0: [], 1: [], 2: seen(0), 3: seen(8), 4: seen(8), 5: seen(8)},
        repeated=3,
    ),
    video(
        "track of frames that are all listed",
        1,
        track(*(frame(i, moved(4 * i), keyframe=int(i in (0, 4))) for i in range(5)), frame(5, moved(20), outside=1)),
        {**{i: seen(4 * i) for i in range(5)}, 5: []},
        repeated=4,
    ),
    video(
        "track of one mask, as CVAT writes one",
        1,
        track(masked(1), masked(2, outside=1)),
        {0: [], 1: [("cat", PLACED)], 2: []},
    ),
    video(
        "track that leaves and comes back",
        1,
        track(frame(0, moved(0)), frame(1, moved(0), outside=1), frame(4, moved(12)), frame(5, moved(12), outside=1)),
        {0: seen(0), 1: [], 2: [], 3: [], 4: seen(12), 5: []},
        repeated=1,
    ),
    video(
        "track of polygons",
        1,
        track(outline(0, corners(moved(0))), outline(4, corners(moved(8)))),
        {i: seen(2 * min(i, 4)) for i in range(6)},
        repeated=5,
    ),
    video(
        "track of polygons with other numbers of points",
        1,
        track(outline(0, corners(moved(0))), outline(2, [*corners(moved(8)), (12, 20)])),
        {0: seen(0), 1: seen(0)}
        | {number: [("cat", inside([*corners(moved(8)), (12, 20)]))] for number in (2, 3, 4, 5)},
        repeated=5,
        notes=["track|frame"],
    ),
    video(
        "two tracks, a line, and the frames of a job",
        3,
        track(frame(0, moved(0)), frame(1, moved(0), outside=1))
        + track(frame(0, moved(40)), frame(1, moved(0), outside=1), label="dog")
        + track('<polyline frame="0" keyframe="1" outside="0" points="1,1;9,9"/>'),
        {0: [*seen(0), ("dog", whole((44, 8, 64, 40)))]},
        repeated=1,
        left_out={"line": 2},
        meta=f"<job><size>2</size>{LABELS}</job><original_size><width>80</width><height>60</height></original_size>",
    ),
]
