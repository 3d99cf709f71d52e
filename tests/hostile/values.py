"""Wrong values and bytes, for the modules of this package."""

import copy
import json
import math
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any


class Raw(float):
    """A number as JSON or XML has it, however long."""

    def __init__(self, digits: str) -> None:
        self.digits = digits

    def __new__(cls, digits: str) -> "Raw":
        return super().__new__(cls, 0.0)

    def __repr__(self) -> str:
        return self.digits


def value(rng: random.Random) -> Any:
    """Return a replacement for a value: of another type, too large, too long, too deep, or nothing."""
    return rng.choice(
        (
            None, True, -1, 0, 1, 2.5, 7, 255, 65536, 2**31, 2**63, -(10**9), 10**30, 1e9, 1e308, -1e308, 1e-320,
            math.nan, math.inf, -math.inf, Raw("9" * 5000), Raw("1e999999"), "", "1", "x", " ", "nan", "é\u2028",
            "\x00", "../../x.png", "/dev/zero", "..", "a" * 300, "%s%n", "\ud800", "9" * 5000, [], {}, [[]], [[[]]],
            [None], [1], [1, 2], [0.5] * 4, [[1, 2], [3, 4]], {"": ""}, {"counts": [1], "size": [1, 1]},
            {"counts": [], "size": []}, nested(60), "data:image/png;base64,AAAA", "http://x/y.png",
            "0,0;1e9,0;1e9,1e9", "0 0 1 1 0 1", "\x1b[31mred", "[red]x[/red]", "[/]", "a\nb", "#", "background",
        )
    )  # fmt: skip


def nested(depth: int) -> Any:
    """Return lists within lists."""
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


def json_changed(text: str, rng: random.Random) -> str:
    """Return a JSON document in which values are replaced, dropped, doubled, moved or scaled."""
    data = json.loads(text)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = [path for path in _places(data) if path]
        if not places:
            break
        *way, last = rng.choice(places)
        holder = data
        for key in way:
            holder = holder[key]
        what = rng.random()
        if what < 0.2:
            del holder[last]
        elif what < 0.35:
            other = copy.deepcopy(holder[last])
            if isinstance(holder, list):
                holder.insert(last, other)
            else:
                holder[rng.choice((str(last) + "2", *holder))] = other
        elif what < 0.45:
            *there, key = rng.choice(places)
            with suppress(LookupError, TypeError):
                found = data
                for step in (*there, key):
                    found = found[step]
                holder[last] = copy.deepcopy(found)
        elif what < 0.6 and isinstance(holder[last], int | float):
            holder[last] = holder[last] * rng.choice((-1, 0, 0.5, 2, 1000, 1e9, 1e300))
        elif what < 0.65:
            holder[last] = str(holder[last])
        else:
            holder[last] = value(rng)
    return json.dumps(data, default=str)


def bytes_changed(data: bytes, rng: random.Random) -> bytes:
    """Return a file of any kind with bits turned, pieces cut, doubled or put in, or something else in its place."""
    changed, what = bytearray(data), rng.random()
    if what < 0.35:
        for _ in range(rng.choice((1, 3, 20))):
            if changed:
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif what < 0.5:
        del changed[rng.randrange(len(changed) + 1) :]
    elif what < 0.65:
        start = rng.randrange(len(changed) + 1)
        del changed[start : start + rng.choice((1, 2, 8, 100))]
    elif what < 0.75:
        start, end = sorted(rng.randrange(len(changed) + 1) for _ in range(2))
        changed[end:end] = changed[start:end] * rng.choice((1, 2, 10))
    elif what < 0.95:
        at = rng.randrange(len(changed) + 1)
        changed[at:at] = rng.choice(
            (b"\0", b"\xff", b"\xef\xbb\xbf", b"[" * 20_000, b"<a>" * 20_000, b"9" * 5000, b"\r", b"NaN", b"\x1b[31m")
        )
    else:
        changed = bytearray(rng.choice((b"", b"null", b"[]", b"{}", b"\xff\xfe", b"<annotations/>", rng.randbytes(50))))
    return bytes(changed)


def _places(found: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the places of all values in a JSON document."""
    yield path
    children = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, child in children:
        yield from _places(child, (*path, key))
