"""Marked objects: connected parts of a mask, or a whole mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

_EIGHT = np.ones((3, 3), bool)  # neighbours


@dataclass(frozen=True, eq=False)
class Instance:
    """One marked object.

    Attributes:
        concept: index of its concept.
        box: (x0, y0, x1, y1) in pixels of the picture; x1 and y1 lie just outside.
        mask: (y1 - y0, x1 - x0) bool, touching all sides of the box.
        score: how far the mask can be trusted, in [0, 1].
        crowd: the mask shows several objects together (COCO's iscrowd).
    """

    concept: int
    box: tuple[int, int, int, int]
    mask: Bool[np.ndarray, "h w"]
    score: float
    crowd: bool = False

    @classmethod
    def from_mask(cls, mask: Bool[np.ndarray, "H W"], concept: int = 0, score: float = 1.0) -> "Instance":
        """Make one object of a picture's whole mask, however many parts it has.

        Raises:
            ValueError: the mask is empty.

        Example:
            >>> Instance.from_mask(np.eye(3, dtype=bool)).box
            (0, 0, 3, 3)
        """
        return cls.from_mask_at(0, 0, mask, concept, score)

    @classmethod
    def from_mask_at(
        cls, left: int, top: int, mask: Bool[np.ndarray, "h w"], concept: int, score: float, crowd: bool = False
    ) -> "Instance":
        """Make one object of a mask of which the first pixel lies at column `left` and row `top` of the picture.

        Raises:
            ValueError: the mask is empty.
        """
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            raise ValueError("an empty mask is no object")
        (y0, y1), (x0, x1) = ((int(used[0]), int(used[-1]) + 1) for used in (rows, columns))
        small = mask[y0:y1, x0:x1].copy()  # a view would keep the whole picture's mask in memory
        return cls(concept, (x0 + left, y0 + top, x1 + left, y1 + top), small, score, crowd)

    @property
    def area(self) -> int:
        """Number of the mask's pixels."""
        return int(np.count_nonzero(self.mask))

    def whole(self, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
        """Return the mask in a picture of (height, width) `size`."""
        full, (x0, y0, x1, y1) = np.zeros(size, bool), self.box
        full[y0:y1, x0:x1] = self.mask
        return full


def split(
    mask: Bool[np.ndarray, "H W"], similarity: Float[np.ndarray, "H W"] | None = None, concept: int = 0
) -> list[Instance]:
    """Return the connected parts of a mask (8 neighbours), in row-major order of their first pixels.

    Args:
        similarity: (H, W), of each pixel to the concept; the score of a part is its mean, cut to [0, 1]. Without it
            every score is 1.0.
        concept: index of the concept.

    Example:
        >>> [part.box for part in split(np.array([[True, False, True]]))]
        [(0, 0, 1, 1), (2, 0, 3, 1)]
    """
    labels, count = ndimage.label(mask, _EIGHT)
    means = np.ones(count) if similarity is None else ndimage.mean(similarity, labels, np.arange(1, count + 1))
    return [
        Instance(concept, _box(found), labels[found] == i + 1, float(np.clip(means[i], 0, 1)))
        for i, found in enumerate(ndimage.find_objects(labels))
    ]


def cleaned(mask: Bool[np.ndarray, "H W"], min_area: int = 0, fill_holes: bool = False) -> Bool[np.ndarray, "H W"]:
    """Return a mask without parts smaller than `min_area` pixels (8 neighbours); fill its holes first if asked to.

    Example:
        >>> cleaned(np.array([[True, False, True, True]]), min_area=2)
        array([[False, False,  True,  True]])
    """
    if fill_holes:
        mask = ndimage.binary_fill_holes(mask)
    if min_area > 1:
        labels, _ = ndimage.label(mask, _EIGHT)
        large = np.bincount(labels.ravel()) >= min_area
        large[0] = False
        mask = large[labels]
    return mask


def _box(slices: Sequence[slice]) -> tuple[int, int, int, int]:
    rows, columns = slices
    return columns.start, rows.start, columns.stop, rows.stop
