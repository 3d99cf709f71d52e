"""Masks of any form, by whoever chooses the numbers: hypothesis, or a generator with a seed."""

from collections.abc import Callable

import numpy as np

from annotation_files.table import SIZE, Mask

Choose = Callable[[int, int], int]  #: (least, most), both inclusive


def any_mask(choose: Choose, size: tuple[int, int] = SIZE) -> Mask:
    """Up to three boxes, discs and strokes together, less a hole; at least a pixel."""
    mask = np.zeros(size, bool)
    for _ in range(choose(1, 3)):
        mask |= _part(choose, size)
    if choose(0, 2) == 0 and (left := mask & ~_part(choose, size)).any():
        mask = left
    return mask


def any_masks(choose: Choose, size: tuple[int, int] = SIZE) -> list[Mask]:
    """One to three that do not overlap."""
    found: list[Mask] = []
    for _ in range(choose(1, 3)):
        mask = any_mask(choose, size)
        for other in found:
            mask &= ~other
        if mask.any():
            found.append(mask)
    return found


def _part(choose: Choose, size: tuple[int, int]) -> Mask:
    y, x = np.mgrid[: size[0], : size[1]]
    cy, cx, kind = choose(0, size[0] - 1), choose(0, size[1] - 1), choose(0, 2)
    if kind == 0:
        return (abs(y - cy) <= choose(0, 15)) & (abs(x - cx) <= choose(0, 15))
    if kind == 1:
        return np.asarray(np.hypot(y - cy, x - cx) <= choose(0, 15))
    steps = np.linspace(0, 1, 2 * max(size))
    rows = np.rint(cy + steps * (choose(0, size[0] - 1) - cy)).astype(int)
    columns = np.rint(cx + steps * (choose(0, size[1] - 1) - cx)).astype(int)
    mask, width = np.zeros(size, bool), choose(0, 2)
    mask[rows, columns] = True
    for _ in range(width):
        mask[1:] |= mask[:-1]
        mask[:, 1:] |= mask[:, :-1]
    return mask
