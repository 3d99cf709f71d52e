"""Order and times of frames from regular and irregular timestamps."""

from fractions import Fraction
from itertools import pairwise

import pytest

from insid3.video.order import Packet, by_time, is_plain, lost, may_be_none, parts, times, with_lost

BASE, RATE = Fraction(1, 10), Fraction(10)
ORDERED = [Packet(0, -2, 1, True), Packet(3, -1, 1), Packet(1, 0, 1), Packet(2, 1, 1)]  # as they are decoded


def test_plain_timestamps_tell_the_order() -> None:
    assert is_plain(ORDERED)
    assert by_time(ORDERED) == [0, 2, 3, 1]
    assert by_time([Packet(0, 0, is_hidden=True), Packet(1, 1)]) == [1]


@pytest.mark.parametrize(
    "packets",
    [
        [Packet(0, 0), Packet(0, 1)],
        [Packet(0, 0), Packet(None, 1)],
        [Packet(0, 1), Packet(1, 0)],
        [Packet(0, 0), Packet(1, 0)],
    ],
    ids=["twice", "missing", "back", "still"],
)
def test_timestamps_that_are_not_plain(packets: list[Packet]) -> None:
    assert not is_plain(packets)


def test_time_that_begins_anew_is_another_part() -> None:
    again = [*ORDERED, *ORDERED]
    assert parts(again, None) == [0] * 4 + [1] * 4
    assert times([0, 2, 3, 1, 4, 6, 7, 5], again, parts(again, None), BASE, RATE) == pytest.approx(
        [i / 10 for i in range(8)]
    )
    later = [Packet(0, 0, 1, True), Packet(1000, 1000, 1, True), Packet(2000, 2000, 1)]
    assert parts(later, None) == [0, 0, 0]
    assert parts(later, 100) == [0, 1, 1]  # a broadcast


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([None, None, None], [0, 0.1, 0.2]),
        ([5, 5, 5], [0, 0.1, 0.2]),
        ([0, 1, 1, 3], [0, 0.1, 0.2, 0.3]),
        ([None, 4, None, 8], [0, 0.1, 0.3, 0.5]),
        ([-7, -6, 20], [0, 0.1, 2.7]),
        ([3, 1, 2], [0, 0.1, 0.2]),
        ([-(2**63) + 5, -(2**63) + 6], [0, 0.1]),
    ],
)
def test_times_ascend_whatever_the_stamps_are(stamps: list[int | None], expected: list[float]) -> None:
    packets = [Packet(stamp, None) for stamp in stamps]
    assert times(range(len(stamps)), packets, [0] * len(stamps), BASE, RATE) == pytest.approx(expected)


def test_times_that_no_number_can_tell_apart_are_even() -> None:
    packets = [Packet(stamp, None) for stamp in (0, 2**62, 2**62 + 1, 2**62 + 2)]
    found = times(range(4), packets, [0] * 4, BASE, RATE)
    assert all(after > before for before, after in pairwise(found))


def test_lost_frames_stand_where_they_would_have_been() -> None:
    assert with_lost([0, 3, 1], [2], ORDERED, [0] * 4) == [0, 2, 3, 1]
    unknown = [Packet(None, None)] * 4
    assert with_lost([0, 3], [1, 2], unknown, [0] * 4) == [0, 1, 2, 3]
    assert with_lost([0, 1], [2, 3], unknown, [0] * 4) == [0, 1, 2, 3]


def test_silence_is_a_loss_but_for_what_is_made_so() -> None:
    packets = [Packet(pts, pts) for pts in (1, 0, 2, 3, 4, 5, 6, 7)]

    def found(given: list[int], failed: tuple[int, ...] = (), of: list[Packet] = packets, **more: bool) -> list[int]:
        return lost(given, failed, of, **{"one_each": True, "in_fields": False, **more})

    assert found([0, 2, 3, 5, 6, 7]) == [4]  # 1 would be shown before there is a key frame
    assert found([2, 3, 4, 5, 6, 7]) == []
    assert found([2, 3, 5], (0,)) == [0, 4, 6, 7]
    assert found([0, 2, 3, 5, 6, 7], one_each=False) == []
    assert found([0, 2, 3, 5, 6], (7,), one_each=False) == [7]
    assert found([0, 2, 4, 6], in_fields=True) == []  # the second fields
    assert found([0, 2, 3, 5, 6, 7], in_fields=True) == [4]
    made = [*packets[:4], Packet(4, 4, may_be_none=True), Packet(5, 5, is_hidden=True), *packets[6:]]
    assert found([0, 2, 3, 6], of=made) == [7]


@pytest.mark.parametrize(
    ("codec", "data", "expected"),
    [
        ("vp8", b"\x10\0", False),
        ("vp8", b"\x01\0", True),
        ("vp9", b"\x82\0", False),
        ("vp9", b"\x84\0", True),
        ("vp9", b"\x84\xc1", False),  # several in one packet, the last is shown
        ("vp9", b"\x88\0", False),  # an earlier one is shown
        ("vp9", b"\xb1\0", False),
        ("vp9", b"\xb2\0", True),
        ("mpeg4", bytes(19), True),
        ("mpeg4", bytes(20), False),
        ("h264", bytes(5), False),
    ],
)
def test_packets_that_may_be_none(codec: str, data: bytes, expected: bool) -> None:
    assert may_be_none(codec, memoryview(data)) == expected
