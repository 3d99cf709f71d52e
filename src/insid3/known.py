"""Pictures of which the mask is known: those that a concept was made from, told by the bytes of their files."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG

import numpy as np

from insid3.concept import Concept
from insid3.images import Source
from insid3.types import Segmentation

DRAWN = "the picture is a reference: the mask is the one that was drawn"
ABSENT = "the picture is a negative: it was given as one without the concept"


def digest_of(source: Source) -> str:
    """Return what tells a picture's file from others: its size and a hash of its bytes; "" for what is no file."""
    if not isinstance(source, str | os.PathLike):
        return ""
    try:
        with Path(source).open("rb") as file:
            if not S_ISREG(os.fstat(file.fileno()).st_mode):
                return ""
            found = hashlib.file_digest(file, "sha256").hexdigest()
            return f"{file.tell()}-{found}"
    except (OSError, ValueError):
        return ""


def digest_among(path: Path, concepts: Sequence[Concept]) -> str:
    """Return `digest_of` a file; "" without reading it where no picture of the concepts has as many bytes."""
    try:
        start = f"{path.stat().st_size}-"
    except (OSError, ValueError):
        return ""
    files = (file for concept in concepts for file in (*concept.files, *concept.negative_files))
    return digest_of(path) if any(file.startswith(start) for file in files) else ""


def as_known(
    found: Segmentation,
    concept: Concept,
    digest: str,
    size: tuple[int, int] | None = None,
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> Segmentation:
    """Return what is known of a picture in the place of what was found in it; that itself if nothing is known.

    Of a reference it is all that was drawn in it, of a negative an empty mask. The heat map stays as it was found.

    Args:
        digest: of the picture's file, by `digest_of`.
        size: the picture's (height, width); that of the mask that was found if not given.
        window: rows and columns that were looked at.
    """
    if not digest:
        return found
    shots = zip(concept.files, concept.masks, strict=False)  # without masks it is good for matching only
    masks = [mask for file, mask in shots if file == digest and mask.shape == (size or found.mask.shape)]
    if not masks and digest not in concept.negative_files:
        return found
    mask = np.logical_or.reduce(masks)[window] if masks else np.zeros_like(found.mask)
    scores = np.where(mask, np.float32(1), np.float32(-1))
    return replace(
        found, mask=mask, score=float(mask.any()), seed=None, reason=DRAWN if masks else ABSENT, is_known=True,
        _scores=lambda: scores,
    )  # fmt: skip
