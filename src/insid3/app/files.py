"""Files of one session, which live as long as it."""

import shutil
from pathlib import Path
from uuid import uuid4

from insid3.errors import ImageError
from insid3.storage import link_or_copy, writing


class Files:
    """Below a folder of the session's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[str, list[Path]] = {}

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

    def fresh(self, kind: str, keep: int = 4) -> Path:
        """A new folder for results of a kind; the newest of that kind are kept, which may still be loading."""
        folder = self.folder / uuid4().hex
        writing(folder.mkdir)  # not its parents: a session that is over stays deleted
        made = self._made.setdefault(kind, [])
        made.append(folder)
        while len(made) > keep:
            shutil.rmtree(made.pop(0), ignore_errors=True)
        return folder
