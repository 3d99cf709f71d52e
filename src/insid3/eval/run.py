"""Episodes one by one, each with its line on disk before the next; a second run continues."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from insid3.batch.writers import write_mask
from insid3.errors import ConceptError, ConfigError, DataError, ImageError, OutputError, SizeError
from insid3.eval import episodes as episode_lists
from insid3.eval.episodes import Episode, EpisodeList, Pair, files_of
from insid3.eval.metrics import Counts, Tally, boundary_counts, correct, counts
from insid3.eval.outcome import Outcome, read_outcomes
from insid3.eval.predict import Material, Predictor
from insid3.eval.reader import Readers
from insid3.images import nearest
from insid3.parsing import as_dict, clipped, parsing, read_json
from insid3.storage import append_line, differences, flat, saying, sweep, write_lines, write_text, writing

_NAMED = 10  # missing files that the message names
_MADE = ("results.json", "report.md", "report.html")  # from the outcomes, at the end


class Record:
    """A folder of results of one predictor: run.json, results.jsonl, masks/.

    Raises:
        OutputError: it holds results of other settings, or files of somebody else.
    """

    def __init__(self, folder: Path, predictor: Predictor, *, overwrite: bool = False) -> None:
        self.folder, self.predictor = folder, predictor
        self._settings_file, self._lines_file = folder / "run.json", folder / "results.jsonl"
        if overwrite:
            self._remove("results.jsonl", "run.json", *_MADE)
        self.outcomes = {outcome.id: outcome for outcome in self._outcomes() if outcome.error is None}
        if self._lines_file.exists():  # without a last line that was cut off, and what is to be tried again
            write_lines(self._lines_file, map(asdict, self.outcomes.values()))
        write_text(self._settings_file, json.dumps(predictor.settings, indent=1))

    def has(self, episode: Episode | Pair, fingerprint: str, files: str) -> bool:
        found = self.outcomes.get(episode.id)
        return found is not None and (found.fingerprint, found.files) == (fingerprint, files)

    def add(self, outcome: Outcome) -> None:
        self._remove(*_MADE)  # of an earlier end
        append_line(self._lines_file, asdict(outcome))
        self.outcomes[outcome.id] = outcome

    def _remove(self, *names: str) -> None:
        for name in names:
            with saying(self.folder / name):
                (self.folder / name).unlink(missing_ok=True)

    def _outcomes(self) -> list[Outcome]:
        if not self._settings_file.exists():
            if self._lines_file.exists():
                raise OutputError(
                    f"{self._lines_file} is not from insid3 evaluate: use another output folder, or --overwrite"
                )
            return []
        try:
            with parsing(self._settings_file, "settings"):
                before = {"transductive": False} | flat(as_dict(read_json(self._settings_file), "content"))
            outcomes = read_outcomes(self._lines_file)
        except DataError as error:
            raise OutputError(
                f"{self.folder} holds run.json or results.jsonl that cannot be read: use another output folder, or "
                f"--overwrite ({error})"
            ) from error
        ignored = ("insid3", "config.max_pixels", "match_config.max_pixels")
        different = differences(before, flat(self.predictor.settings), ignored)
        if outcomes and different:
            raise OutputError(
                f"{self.folder} holds results of another run ({clipped(', '.join(different))}): "
                "use another output folder, or --overwrite"
            )
        return outcomes


class Running:
    """What a progress bar shows of a list: mIoU over the classes seen so far, or the mean PCK at 0.10."""

    def __init__(self, episodes: EpisodeList) -> None:
        self._tally, self._points = Tally(episodes.classes), list[float]()

    def add(self, outcome: Outcome) -> None:
        if outcome.intersection is not None and outcome.union is not None:
            self._tally.add(outcome.cls, Counts(outcome.intersection, outcome.union))
        elif outcome.iou is not None:
            self._points.append(outcome.iou)

    def __str__(self) -> str:
        if self._points:
            return f"PCK {np.mean(self._points):.1f}"
        return f"mIoU {self._tally.miou_seen:.1f}"


@dataclass
class Told:
    """Count what a run did, of all predictors together.

    Attributes:
        scored, empty, doubtful: of those, masks with nothing in them, and with a low score.
        failed: there is an error in the place of a result.
        done_before: there was a result, so that nothing was done.
    """

    scored: int = 0
    empty: int = 0
    doubtful: int = 0
    failed: int = 0
    done_before: int = 0

    def add(self, outcome: Outcome) -> None:
        self.failed += outcome.error is not None
        self.scored += outcome.error is None
        self.empty += outcome.is_empty
        self.doubtful += outcome.is_doubtful


Done = tuple[EpisodeList, list[Outcome]]
Elsewhere = Callable[[list[dict[str, Any]]], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class _Todo:
    """An episode of a list, and which records lack it, with the state of the files from which each is made."""

    list: EpisodeList
    index: int
    files: dict[str, str]


class Evaluation:
    """Every predictor on every episode of the lists.

    Args:
        predictors: by the folder below `output` that its results go to; "." is `output` itself.
        output: locked while this lives; close with `with`.
        masks: keep the predicted masks.

    Attributes:
        told: what `run` did.

    Raises:
        OutputError: another run writes there, or wrote there with other settings.
        DataError: files of the episodes are missing.
    """

    def __init__(
        self,
        predictors: dict[str, Predictor],
        lists: Sequence[EpisodeList],
        output: Path,
        readers: Readers | None = None,
        *,
        masks: bool = True,
        overwrite: bool = False,
    ) -> None:
        self.lists, self.readers, self.masks = list(lists), readers or Readers(), masks
        self.told = Told()
        check_files(self.lists, self.readers, list(predictors.values()))
        for each in self.lists:
            if each.root is not None and Path(each.root).resolve() == output.resolve():
                raise OutputError(f"{output} holds the data of {each.set!r}: use another output folder")
        writing(lambda: output.mkdir(parents=True, exist_ok=True))
        self.output, self._lock = output, FileLock(output / "lock")
        with saying(output / "lock"):
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:  # an OSError too
                raise OutputError(
                    f"another insid3 evaluate is writing to {output}: wait for it, or use another output folder"
                ) from error
        try:
            sweep(output, deep=True)
            self._check_lists(output / "episodes.json")
            self.records = {
                name: Record(output / name, predictor, overwrite=overwrite) for name, predictor in predictors.items()
            }
            episode_lists.save(self.lists, output / "episodes.json")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Evaluation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._lock.release()

    def run(
        self, elsewhere: Callable[[list[dict[str, Any]]], Iterator[dict[str, Any]]] | None = None
    ) -> Iterator[Done]:
        """Every episode with each predictor's outcome once it is on disk; at once where it was there.

        Args:
            elsewhere: does the episodes in the place of this process (`eval.remote`), in an order of its own.

        Raises:
            OutputError: the folder cannot be written to; what is done is kept.
        """
        left: dict[tuple[int, int], _Todo] = {}
        for number, each in enumerate(self.lists):
            reader = self.readers(each.root)
            for i, episode in enumerate(each.episodes):
                todo = _Todo(each, i, self._missing(each, i, reader.root))
                self.told.done_before += len(self.records) - len(todo.files)
                if elsewhere and todo.files:
                    left[number, i] = todo
                    continue
                material = Material(episode, reader)
                found = {n: attempt(material, self.records[n].predictor, self.masks_of(n)) for n in todo.files}
                yield self._done(todo, found)
        if elsewhere and left:
            items = [{"list": n, "episode": i, "missing": list(todo.files)} for (n, i), todo in left.items()]
            for item in elsewhere(items):
                yield self._done(left[item["list"], item["episode"]], item["found"])

    def _missing(self, each: EpisodeList, index: int, root: Path) -> dict[str, str]:
        """Of the records without the episode: the state of the files from which it is made."""
        episode, fingerprint = each.episodes[index], each.fingerprints[index]
        its = [root / file for file in files_of(episode)]
        states = {name: _state([*its, *record.predictor.files(episode)]) for name, record in self.records.items()}
        return {n: state for n, state in states.items() if not self.records[n].has(episode, fingerprint, state)}

    def _done(self, todo: _Todo, found: dict[str, dict[str, Any]]) -> Done:
        each, episode = todo.list, todo.list.episodes[todo.index]
        for name, values in found.items():
            own = Outcome(
                episode.id, each.fingerprints[todo.index], each.set, each.fold, episode.cls, files=todo.files[name]
            )
            outcome = Outcome.of({**asdict(own), **values})
            self.records[name].add(outcome)
            self.told.add(outcome)
        return each, [record.outcomes[episode.id] for record in self.records.values()]

    def masks_of(self, name: str) -> Path | None:
        """Where a record's masks go, None: nowhere."""
        return self.output / name / "masks" if self.masks else None

    @staticmethod
    def _check_lists(file: Path) -> None:
        try:
            if file.exists():
                episode_lists.load(file)
        except DataError as error:
            raise OutputError(f"{file} is not from insid3 evaluate: use another output folder") from error


def attempt(material: Material, predictor: Predictor, masks: Path | None) -> dict[str, Any]:
    """What came out of an episode, as `Outcome` has it.

    Args:
        masks: folder for the mask that was found.
    """
    start, episode = time.perf_counter(), material.episode
    try:
        if isinstance(episode, Pair):
            found = _points(material, episode, predictor)
        else:
            found = _mask(material, predictor, masks)
    except (ImageError, DataError, ConceptError, SizeError, ConfigError) as error:  # points that are no numbers
        found = {"error": str(error)}
    return {**found, "seconds": round(time.perf_counter() - start, 3)}


def _mask(material: Material, predictor: Predictor, masks: Path | None) -> dict[str, Any]:
    mask, score, reason = predictor.segment(material)
    truth, ignore = nearest(material.truth, mask.shape), material.ignore
    ignore = None if ignore is None else nearest(ignore, mask.shape)
    pixels, counted = counts(mask, truth, ignore), mask if ignore is None else mask & ~ignore
    if masks is not None:
        writing(lambda: write_mask(masks / f"{material.episode.id}.png", mask))
    return {
        "intersection": pixels.intersection,
        "union": pixels.union,
        "boundary": boundary_counts(mask, truth, ignore),
        "iou": 100 * pixels.intersection[1] / max(pixels.union[1], 1),
        "score": score,
        "reason": reason,
        "marked": int(np.count_nonzero(counted)),
        "ignored": 0 if ignore is None else int(np.count_nonzero(ignore)),
        "left_out": len(material.left_out),
    }


def _points(material: Material, pair: Pair, predictor: Predictor) -> dict[str, Any]:
    if not pair.source_points:
        raise DataError(f"{pair.id} has no points in common")
    found = predictor.match(material)
    right = correct(found, np.array(pair.target_points, np.float32), pair.threshold)
    return {
        "found": [[round(float(x), 2), round(float(y), 2)] for x, y in found],
        "correct": tuple(int(count) for count in right.sum(0)),
        "iou": float(100 * right[:, 1].mean()),
    }


def check_files(lists: Sequence[EpisodeList], readers: Readers, predictors: Sequence[Predictor] = ()) -> None:
    """Name what is missing before anything runs.

    Raises:
        DataError: files of the episodes, or of the predictors, are not there.
    """
    files: dict[Path, None] = {}  # in order, each once
    for each in lists:
        root = readers(each.root, each.dataset).root
        for episode in each.episodes:
            files |= dict.fromkeys(root / file for file in files_of(episode))
            files |= dict.fromkeys(file for predictor in predictors for file in predictor.files(episode))
    missing = [file for file in files if not file.is_file()]
    if missing:
        named = "\n  ".join(map(str, missing[:_NAMED]))
        more = f"\n  and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise DataError(f"{len(missing)} files are missing:\n  {named}{more}")


def _state(files: Sequence[Path]) -> str:
    """16 hex digits that change when a file does."""
    stats = [file.stat() if file.exists() else None for file in files]
    return sha256(repr([stat and (stat.st_size, stat.st_mtime_ns) for stat in stats]).encode()).hexdigest()[:16]
