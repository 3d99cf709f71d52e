"""Files of one session, which live as long as it."""

import shutil
from pathlib import Path
from uuid import uuid4

from insid3.errors import ImageError
from insid3.storage import link_or_copy, writing

_GENERATIONS = 4  # of results that a browser may still be loading


class Files:
    """Below a folder of the session's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[Path] = []

    def own(self, path: Path) -> Path:
        """A file that was uploaded, where nobody else deletes it; the same place for the same content.

        Raises:
            ImageError: it is not there.
        """
        place = self.folder / "uploads" / path.parent.name / path.name  # uploads are in folders named by their content
        if not place.exists():
            if not path.is_file():
                raise ImageError(f"{path.name} is not there any more: choose it again")
            link_or_copy(path, place)
        return place

    def fresh(self) -> Path:
        """A new folder for results; the oldest are deleted."""
        folder = self.folder / uuid4().hex
        writing(lambda: folder.mkdir(parents=True))
        self._made.append(folder)
        for old in self._made[:-_GENERATIONS]:
            shutil.rmtree(old, ignore_errors=True)
        del self._made[:-_GENERATIONS]
        return folder
