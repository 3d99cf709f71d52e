"""Pictures that are encoded once, whatever is asked of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from insid3.app.sessions import Kept, Turns
from insid3.concept import Concept
from insid3.errors import ImageError, Insid3Error
from insid3.features.encoded import Encoded, encode_all
from insid3.imaging.read import read_image
from insid3.imaging.resizing import thumbnail
from insid3.model import INSID3
from insid3.region_picker import Regions
from insid3.stages.cluster import cluster_windows

SHOWN = 900  #: pixels of the longer side of results on the page


@dataclass(frozen=True, eq=False)
class Seen:
    """A target in memory: encoded, and small enough to be shown."""

    encoded: Encoded
    preview: UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, eq=False)
class Reference:
    """A picture whose points are to be found."""

    concept: Concept
    preview: UInt8[np.ndarray, "h w 3"]


class Features:
    """Of one session. Whoever is in `using` has the model, whatever other sessions want of it."""

    def __init__(self, model: INSID3, owner: Path, kept: Kept, lock: Turns) -> None:
        """
        Args:
            owner: the session's own folder, whose files do not change.
        """
        self.model, self._owner, self._kept, self._lock = model, owner, kept, lock
        self._rank: int | None = None

    @contextmanager
    def using(self, path: Path) -> Iterator[None]:
        """Errors call a file by its own name, not by where the server has it."""
        try:
            with self._lock:
                yield
        except Insid3Error as error:
            told = str(error).replace(str(path), path.name)
            raise (error if told == str(error) else type(error)(told)) from error

    def seen(self, path: Path) -> Seen:
        """A target, to be segmented.

        Raises:
            ImageError: it cannot be used.
        """
        return self._encoded(path, "segment", lambda picture: self.model.but(refine="guided").encode(picture))

    def seen_to_match(self, path: Path) -> Seen:
        """A target, to find points in; errors as `seen`."""
        if self._as_segmented():
            return self.seen(path)
        config, encoder = self.model.match_config, self.model.encoder
        return self._encoded(path, "match", lambda one: encode_all(encoder, [one], config, to_segment=False)[0])

    def reference(self, path: Path) -> Reference:
        """A picture whose points are to be found; errors as `seen`."""

        def make() -> tuple[Reference, int]:
            picture = read_image(path, self.model.config.max_pixels)
            concept = self.whole(path) if self._as_segmented() else self.model.concept(picture)
            reference = Reference(concept, thumbnail(picture, SHOWN))
            return reference, 2 * reference.concept.tokens[0].nbytes + reference.preview.nbytes

        found: Reference = self._kept.get(self._owner, ("reference", *self._stamp(path)), make)
        return found

    def whole(self, path: Path) -> Concept:
        """The concept that a whole picture would be; others follow by another mask. Errors as `seen`."""

        def make() -> tuple[Concept, int]:
            picture = read_image(path, self.model.config.max_pixels)
            concept = replace(self.model.concept(picture, np.ones(picture.shape[:2], bool)), sources=(path.name,))
            return concept, concept.tokens[0].nbytes + concept.masks[0].nbytes

        found: Concept = self._kept.get(self._owner, ("whole", *self._stamp(path)), make)
        return found

    def regions(self, concept: Concept, tau: float) -> Regions:
        """Of a concept's first picture."""

        def make() -> tuple[Regions, int]:
            regions = Regions.from_concept(self.model.but(tau=tau), concept)
            return regions, regions.labels.nbytes

        with self._lock:
            found: Regions = self._kept.get(self._owner, ("regions", concept, tau), make)
        return found

    def at_rank(self, rank: int) -> bool:
        """Whether another rank was asked for before. What follows from a rank is large, so it goes; clusters stay."""
        changed, self._rank = self._rank not in (None, rank), rank
        if changed:
            with self._lock:
                for value in self._kept.of(self._owner):
                    if isinstance(value, Seen):
                        self.model.cache.forget(value.encoded.tokens, but=cluster_windows)
        return changed

    def _as_segmented(self) -> bool:
        """Whether points are found in the tokens that pictures are segmented by."""
        return self.model.match_config.size == self.model.config.size and self.model.match_config.tile is None

    def close(self) -> None:
        """Forget all pictures."""
        self._kept.forget(self._owner)

    def _encoded(self, path: Path, kind: str, encode: Callable[[UInt8[np.ndarray, "H W 3"]], Encoded]) -> Seen:
        def make() -> tuple[Seen, int]:
            picture = read_image(path, self.model.config.max_pixels)
            seen = Seen(encode(picture), thumbnail(picture, SHOWN))
            refined = 0 if seen.encoded.picture is None else seen.encoded.picture.nbytes
            return seen, 2 * seen.encoded.tokens.nbytes + refined + seen.preview.nbytes

        found: Seen = self._kept.get(self._owner, (kind, *self._stamp(path)), make)
        return found

    def _stamp(self, path: Path) -> tuple[str, int, int]:
        try:
            stat = path.stat()
        except OSError as error:
            raise ImageError(f"{path} is not there any more: choose it again") from error
        return str(path), 0 if self._owner in path.parents else stat.st_mtime_ns, stat.st_size
