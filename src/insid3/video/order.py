"""Order and times of a video's frames: a frame is known by its place, timestamps are only hints."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

_GAP = 10  # seconds; a larger jump in a broadcast begins a new stretch of time
_LIKE_H263 = {"mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "flv", "h263"}
_PLACEHOLDER = 19  # bytes at most of a packet of these codecs that only repeats the frame before


@dataclass(frozen=True, slots=True)
class Packet:
    """The entry of one coded picture in a file, in the stream's unit of time.

    Attributes:
        pts, dts: times at which the picture is shown, and decoded; None if the file has none.
        duration: 0 if the file has none.
        is_key: whether the picture can be decoded without others.
        is_hidden: whether an edit list cuts the picture out.
        is_corrupt: whether a part of the packet is missing.
        may_be_none: result of the function `may_be_none`.
    """

    pts: int | None
    dts: int | None
    duration: int = 0
    is_key: bool = False
    is_hidden: bool = False
    is_corrupt: bool = False
    may_be_none: bool = False


def may_be_none(codec: str, data: memoryview) -> bool:
    """Tell whether a packet may give no frame: its picture is never shown, or it is a mere placeholder.

    Args:
        codec: FFmpeg's name for the codec.
        data: content of the packet.
    """
    if codec in _LIKE_H263:
        return len(data) <= _PLACEHOLDER
    if codec == "vp8":
        return not data[0] & 16
    if codec == "vp9":
        several, again, shown = data[-1] >> 5 == 6, data[0] & 8, data[0] & 2
        if data[0] & 48 == 48:  # one more bit of the profile
            again, shown = data[0] & 4, data[0] & 1
        return not (several or again or shown)
    return False


def lost(
    given: Sequence[int], failed: Sequence[int], packets: Sequence[Packet], *, one_each: bool, in_fields: bool
) -> list[int]:
    """Return the numbers of the packets whose frame is missing, ascending: packets that failed, or gave no frame.

    A packet that gave no frame before the first one has no key frame before it, and does not count as a frame.

    Args:
        given: packets that gave a frame, in the order in which the frames are shown.
        failed: packets at which the decoder failed.
        one_each: whether the codec makes one frame of each packet, so that a packet without a frame is a loss.
        in_fields: whether a picture may lie in two packets, one for each field.
    """
    first, missing = packets[given[0]], {*failed} - {*given}
    silent = {*range(min(given), len(packets))} - {*given} - missing if one_each else set[int]()
    silent = {i for i in silent if not packets[i].may_be_none and not _is_before(packets[i], first)}
    if not in_fields or 3 * len(silent) < len(given):
        missing |= silent
    return sorted(i for i in missing if i < len(packets) and not packets[i].is_hidden)


def _is_before(one: Packet, other: Packet) -> bool:
    return one.pts is not None and other.pts is not None and one.pts < other.pts


def parts(packets: Sequence[Packet], gap: int | None) -> list[int]:
    """Return the number of each packet's stretch of time; a file that was joined of several has several stretches.

    A new stretch begins at a key picture whose time is not later than that of the picture before it.

    Args:
        gap: jump in the stream's unit of time that also begins a new stretch; None: no jump does.
    """
    numbers, number, last = list[int](), 0, None
    for packet in packets:
        if packet.dts is not None and last is not None:
            step = packet.dts - last
            if (packet.is_key and step <= 0) or (gap is not None and (step < -gap or (packet.is_key and step > gap))):
                number += 1
        last = last if packet.dts is None else packet.dts
        numbers.append(number)
    return numbers


def gap_of(base: Fraction, is_broadcast: bool) -> int | None:
    """Return the `gap` for `parts`; None for a file that is no broadcast."""
    return int(_GAP / base) if is_broadcast else None


def is_plain(packets: Sequence[Packet]) -> bool:
    """Tell whether the timestamps are reliable: all are there, no two are equal, and time never goes back."""
    decoded = [packet.dts for packet in packets if packet.dts is not None]
    shown = [packet.pts for packet in packets if not packet.is_hidden]
    return (
        None not in shown
        and len(set(shown)) == len(shown)
        and all(before < after for before, after in pairwise(decoded))
    )


def by_time(packets: Sequence[Packet]) -> list[int]:
    """Return the numbers of the packets that are shown, by their timestamps, which must be plain (`is_plain`)."""
    shown = [i for i, packet in enumerate(packets) if not packet.is_hidden]
    return sorted(shown, key=lambda i: packets[i].pts or 0)


def with_lost(order: Sequence[int], lost: Sequence[int], packets: Sequence[Packet], part: Sequence[int]) -> list[int]:
    """Return all packets in the order in which they are shown, with lost packets where their frames would be.

    Args:
        order: packets that gave a frame, in the order in which the frames are shown.
        lost: packets that gave no frame, ascending.
        part: result of `parts`.
    """
    knows = all(packets[i].pts is not None for i in (*order, *lost))

    def place(i: int) -> tuple[int, int]:
        return (part[i], packets[i].pts or 0) if knows else (0, i)

    result, left = list[int](), sorted(lost, key=place)
    for i in order:
        while left and place(left[0]) < place(i):
            result.append(left.pop(0))
        result.append(i)
    return result + left


def times(
    order: Sequence[int], packets: Sequence[Packet], part: Sequence[int], base: Fraction, rate: Fraction
) -> list[float]:
    """Return the times of the frames in seconds from the first, strictly ascending, whatever the timestamps are.

    In each stretch of time the frames get the stretch's timestamps in ascending order. Frames whose timestamps are
    missing or repeated are distributed evenly. A new stretch goes on where the one before ended.

    Args:
        order: packet of each frame, in the order in which the frames are shown; -1: not known.
        part: result of `parts`.
        base: unit of the timestamps in seconds.
        rate: frames per second where timestamps are missing.
    """
    known = [packets[i] for i in order if i >= 0]
    missing = [sum(stamp is None for stamp in stamps) for stamps in zip(*((p.pts, p.dts) for p in known), strict=True)]
    by_pts = not missing or missing[0] <= missing[1]
    found, begin, step = list[float](), 0.0, float(1 / rate)
    where = [part[i] if i >= 0 else 0 for i in order]
    for each in sorted(set(where)):
        here = [i for i, stretch in zip(order, where, strict=True) if stretch == each]
        stamps = [_stamp(packets[i], by_pts) if i >= 0 else None for i in here]
        ascending = sorted(stamp for stamp in stamps if stamp is not None)
        left = iter(ascending)
        seconds = [None if stamp is None else float((next(left) - ascending[0]) * base) for stamp in stamps]
        filled = _filled(seconds, step)
        found += [begin + time - filled[0] for time in filled]
        last = packets[here[-1]].duration if here[-1] >= 0 else 0
        begin = found[-1] + (float(last * base) or step)
    if any(after <= before for before, after in pairwise(found)):  # float64 cannot tell the times apart
        return [i * step for i in range(len(found))]
    return found


def _stamp(packet: Packet, by_pts: bool) -> int | None:
    return packet.pts if by_pts else packet.dts


def _filled(seconds: Sequence[float | None], step: float) -> list[float]:
    """Return ascending times, with missing and repeated ones interpolated."""
    known, last = list[tuple[int, float]](), None
    for i, time in enumerate(seconds):
        if time is not None and (last is None or time > last):
            known.append((i, time))
            last = time
    if not known:
        return [i * step for i in range(len(seconds))]
    (first, begin), (final, end) = known[0], known[-1]
    places, values = zip(*known, strict=True)
    inner = np.interp(range(first, final + 1), places, values).tolist()
    before = [begin - (first - i) * step for i in range(first)]
    return [*before, *inner, *(end + (i - final) * step for i in range(final + 1, len(seconds)))]
