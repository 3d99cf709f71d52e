"""Transductive evaluation: the targets of a class as a folder that helps itself."""

from collections.abc import Sequence
from pathlib import Path

from insid3.eval.episodes import Episode, EpisodeList, Pair, View
from insid3.eval.reader import Readers
from insid3.together import pooled


class Companions:
    """Of every episode of some lists, the other targets of its list and class that may help to find its own.

    Which they are depends on the lists alone, not on what is done.
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

    def of(self, episode: Episode | Pair) -> list[View]:
        """Neither its own target, nor parts of its references' pictures; none for points."""
        if not isinstance(episode, Episode):
            return []
        number, _ = self._places[episode.id]
        known, own = {view.picture for view in episode.references}, _unmarked(episode.target)
        pool = pooled([view for view in self._folders[number, episode.cls] if view.picture not in known])
        return [view for view in pool if view != own]

    def files(self, episode: Episode | Pair) -> list[Path]:
        """Their pictures."""
        views = self.of(episode)
        return [self._readers(self._places[episode.id][1]).root / view.picture for view in views]


def _unmarked(view: View) -> View:
    return View(view.picture, (), view.box)
