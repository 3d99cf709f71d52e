"""Evaluation runs: the outcome of each episode is on disk before the next one starts, so that a run can continue."""

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
from insid3.checks.parsing import as_dict, clipped, parsing, read_json
from insid3.errors import ConceptError, ConfigError, DataError, ImageError, OutputError, SizeError
from insid3.eval import episodes as episode_lists
from insid3.eval.episodes import Episode, EpisodeList, Pair, files_of
from insid3.eval.metrics import Counts, Tally, boundary_counts, correct, counts
from insid3.eval.outcome import Outcome, read_outcomes
from insid3.eval.predict import Material, Predictor
from insid3.eval.reader import Readers
from insid3.imaging.resizing import resize_nearest
from insid3.storage import append_line, differences, flat, output_errors, sweep, write_lines, write_text, writing

_NAMED = 10  # missing files that a message names
_MADE = ("results.json", "report.md", "report.html")  # made from the outcomes when all are there


class Record:
    """The folder with the results of one predictor: run.json, results.jsonl, masks/.

    Raises:
        OutputError: the folder holds results of other settings, or files of another program.
    """

    def __init__(self, folder: Path, predictor: Predictor, *, overwrite: bool = False) -> None:
        self.folder, self.predictor = folder, predictor
        self._settings_file, self._lines_file = folder / "run.json", folder / "results.jsonl"
        if overwrite:
            self._remove("results.jsonl", "run.json", *_MADE)
        self.outcomes = {outcome.id: outcome for outcome in self._outcomes() if outcome.error is None}
        if self._lines_file.exists():  # drops a last line that was cut off, and episodes that failed
            write_lines(self._lines_file, map(asdict, self.outcomes.values()))
        write_text(self._settings_file, json.dumps(predictor.settings, indent=1))

    def has(self, episode: Episode | Pair, fingerprint: str, files: str) -> bool:
        """Tell whether the episode's outcome is there, made from the same episode and files."""
        found = self.outcomes.get(episode.id)
        return found is not None and (found.fingerprint, found.files) == (fingerprint, files)

    def add(self, outcome: Outcome) -> None:
        """Write the outcome, and remove the reports that lack it."""
        self._remove(*_MADE)
        append_line(self._lines_file, asdict(outcome))
        self.outcomes[outcome.id] = outcome

    def _remove(self, *names: str) -> None:
        for name in names:
            with output_errors(self.folder / name):
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


class RunningScore:
    """The score of a list so far: mIoU over the classes that occurred, or the mean PCK at 0.10."""

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
class Totals:
    """Numbers of outcomes in a run, over all predictors.

    Attributes:
        scored: outcomes with a result.
        empty, doubtful: scored masks that are empty, or have a low score.
        failed: outcomes with an error.
        done_before: outcomes that were there before the run.
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
    """An episode to run, with the hash of its files for each record that lacks the outcome."""

    list: EpisodeList
    index: int
    files: dict[str, str]


class Evaluation:
    """An evaluation of every predictor on every episode of the lists.

    Args:
        predictors: predictors by the folder of their results below `output`; "." is `output` itself.
        output: folder that stays locked until `close`, or the end of a `with` block.
        masks: whether to write the predicted masks.

    Attributes:
        totals: numbers of outcomes, which `run` updates.

    Raises:
        OutputError: another run writes to `output`, or wrote there with other settings.
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
        self.totals = Totals()
        check_files(self.lists, self.readers, list(predictors.values()))
        for each in self.lists:
            if each.root is not None and Path(each.root).resolve() == output.resolve():
                raise OutputError(f"{output} holds the data of {each.set!r}: use another output folder")
        writing(lambda: output.mkdir(parents=True, exist_ok=True))
        self.output, self._lock = output, FileLock(output / "lock")
        with output_errors(output / "lock"):
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

    def run(self, elsewhere: Elsewhere | None = None) -> Iterator[Done]:
        """Run all episodes; yield the list and each predictor's outcome of an episode, once the outcomes are on disk.

        Args:
            elsewhere: runs the episodes in other processes (`evaluate_on_ray`), in an order of its own.

        Raises:
            OutputError: the folder cannot be written to; earlier outcomes are kept.
        """
        left: dict[tuple[int, int], _Todo] = {}
        for number, each in enumerate(self.lists):
            reader = self.readers(each.root)
            for i, episode in enumerate(each.episodes):
                todo = _Todo(each, i, self._missing(each, i, reader.root))
                self.totals.done_before += len(self.records) - len(todo.files)
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
        """Return the hash of the episode's files for each record that lacks the episode's outcome."""
        episode, fingerprint = each.episodes[index], each.fingerprints[index]
        files = [root / file for file in files_of(episode)]
        states = {name: _state([*files, *record.predictor.files(episode)]) for name, record in self.records.items()}
        return {n: state for n, state in states.items() if not self.records[n].has(episode, fingerprint, state)}

    def _done(self, todo: _Todo, found: dict[str, dict[str, Any]]) -> Done:
        each, episode = todo.list, todo.list.episodes[todo.index]
        for name, values in found.items():
            own = Outcome(
                episode.id, each.fingerprints[todo.index], each.set, each.fold, episode.cls, files=todo.files[name]
            )
            outcome = Outcome.from_line({**asdict(own), **values})
            self.records[name].add(outcome)
            self.totals.add(outcome)
        return each, [record.outcomes[episode.id] for record in self.records.values()]

    def masks_of(self, name: str) -> Path | None:
        """Return the folder of a record's masks; None if masks are not written."""
        return self.output / name / "masks" if self.masks else None

    @staticmethod
    def _check_lists(file: Path) -> None:
        try:
            if file.exists():
                episode_lists.load(file)
        except DataError as error:
            raise OutputError(f"{file} is not from insid3 evaluate: use another output folder") from error


def attempt(material: Material, predictor: Predictor, masks: Path | None) -> dict[str, Any]:
    """Run one episode and return the fields of its `Outcome`.

    Args:
        masks: folder for the found mask; None: the mask is not written.
    """
    start, episode = time.perf_counter(), material.episode
    try:
        if isinstance(episode, Pair):
            found = _points(material, episode, predictor)
        else:
            found = _mask(material, predictor, masks)
    except (ImageError, DataError, ConceptError, SizeError, ConfigError) as error:  # ConfigError: points are not finite
        found = {"error": str(error)}
    return {**found, "seconds": round(time.perf_counter() - start, 3)}


def _mask(material: Material, predictor: Predictor, masks: Path | None) -> dict[str, Any]:
    mask, score, reason = predictor.segment(material)
    truth, ignore = resize_nearest(material.truth, mask.shape), material.ignore
    ignore = None if ignore is None else resize_nearest(ignore, mask.shape)
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
    """Check that all files are there before an evaluation starts.

    Raises:
        DataError: files of the episodes, or of the predictors, are missing.
    """
    files: dict[Path, None] = {}  # an ordered set
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
    """Return a hash of the files' sizes and times, 16 hex digits."""
    stats = [file.stat() if file.exists() else None for file in files]
    return sha256(repr([stat and (stat.st_size, stat.st_mtime_ns) for stat in stats]).encode()).hexdigest()[:16]
