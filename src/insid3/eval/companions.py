"""Transductive evaluation: the targets of a class as helper targets of each other."""

from collections.abc import Sequence
from pathlib import Path

from insid3.eval.episodes import Episode, EpisodeList, Pair, View
from insid3.eval.reader import Readers
from insid3.transductive import pooled


class Companions:
    """The helper targets of every episode: the other targets of the same list and class.

    The choice depends on the lists alone, not on the episodes that were run so far.
    """

    def __init__(self, lists: Sequence[EpisodeList], readers: Readers) -> None:
        self._readers, self._places = readers, dict[str, tuple[int, str | None]]()
        folders: dict[tuple[int, str], set[View]] = {}
        for number, each in enumerate(lists):
            for episode in each.episodes:
                if isinstance(episode, Episode):
                    self._places[episode.id] = number, each.root
                    folders.setdefault((number, episode.cls), set()).add(_unmarked(episode.target))
        self._folders = {
            key: sorted(views, key=lambda view: (view.picture, view.box or ())) for key, views in folders.items()
        }

    def list_helpers(self, episode: Episode | Pair) -> list[View]:
        """Return the helper targets, without the episode's own target and its references' pictures; none for points."""
        if not isinstance(episode, Episode):
            return []
        number, _ = self._places[episode.id]
        known, own = {view.picture for view in episode.references}, _unmarked(episode.target)
        pool = pooled([view for view in self._folders[number, episode.cls] if view.picture not in known])
        return [view for view in pool if view != own]

    def files(self, episode: Episode | Pair) -> list[Path]:
        """Return the picture files of the helper targets."""
        views = self.list_helpers(episode)
        return [self._readers(self._places[episode.id][1]).root / view.picture for view in views]


def _unmarked(view: View) -> View:
    return View(view.picture, (), view.box)
