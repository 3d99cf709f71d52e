"""One run: concepts marked in many targets. Results are written one by one, and a second run continues the first."""

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import insid3
from insid3.batch.corrections import Correction
from insid3.batch.formats.base import write_labels
from insid3.batch.names import exists
from insid3.batch.options import Options
from insid3.batch.resume import earlier_lines, keep_min_area
from insid3.batch.run_folder import RunFolder
from insid3.batch.sources import Shard, Target
from insid3.batch.worker import Result, Work, Worker, local
from insid3.concept import Concept
from insid3.errors import OutputError
from insid3.label_map import numbered
from insid3.model import INSID3
from insid3.storage import append_line, write_text, writing
from insid3.transductive import check_together, pooled

Engine = Callable[[Work, Sequence[Target]], Generator[Result, None, None]]


class Run:
    """Mark concepts in many targets and write the results to one output folder."""

    def __init__(
        self,
        model: INSID3,
        concepts: Concept | Sequence[Concept],
        targets: Sequence[Target],
        output: Path,
        options: Options | None = None,
        *,
        overwrite: bool = False,
        shard: Shard | None = None,
        corrections: Mapping[str, Correction] | None = None,
        learned: Sequence[Concept] | None = None,
        engine: Engine | None = None,
        **settings: Any,
    ) -> None:
        """Check the concepts and the folder before anything runs, and lock the folder until the last target or `close`.

        Args:
            targets: the targets of all shards.
            corrections: corrected masks by target name; each becomes the result of its target.
            learned: the concepts with the corrections as further shots, with which the other targets are marked.
            engine: the function that does the work; `local` with the model if not given.
            settings: further settings on which the results depend.

        Raises:
            ConceptError: the model cannot use a concept.
            ConfigError: two concepts have the same name or id, or `tile` is set and targets are to help each other.
            OutputError: the folder holds results of other settings or concepts, or files of another program; or
                another run is at work on the folder.
        """
        given = [concepts] if isinstance(concepts, Concept) else list(concepts)
        used = list(learned or given)
        for concept in (*given, *used):
            model.check(concept)
        self.model, self.output, self.engine = model, output, engine or partial(local, model)
        self.targets = targets
        self.helper_targets: list[Target] = []  #: encoded first; the same in every shard
        if options and options.together:
            check_together(model.config)
            self.helper_targets = pooled([target for target in targets if target.name not in (corrections or {})])
        made_with = _digest(used, self.helper_targets)
        options = options or Options()
        options = (options if overwrite else keep_min_area(options, output)).with_min_area(model.config.rule)
        self.work = Work(used, numbered(given), options, output, corrections or {}, made_with)
        self.stop = False  #: set it to end after the target in hand
        mine = shard.select(targets) if shard else targets
        if shard:  # shards may run in different folders
            mine = [Target(Path(os.path.abspath(target.path)), target.name) for target in mine]
        self._check_names(targets)
        self._before_learning = _digest(given)
        settings = {**self._settings_of(given), **settings}
        self.folder = RunFolder(output, shard)
        try:
            if overwrite:
                writing(partial(self.folder.results.unlink, missing_ok=True))
            lines = [] if overwrite else earlier_lines(self.folder, settings, targets, self.work.files)
            done = {os.path.abspath(line["target"]) for line in lines if self._is_done(line)}
            self.todo = [t for t in mine if os.path.abspath(t.path) not in done or not self._whole(t)]
            self.done_before = len(mine) - len(self.todo)
            again = {os.path.abspath(target.path) for target in self.todo}
            if shard is None and self.folder.results.exists():  # drops failures and a line that was cut off
                self.folder.replace_lines(line for line in lines if os.path.abspath(line["target"]) not in again)
            write_text(self.folder.settings, json.dumps(settings, indent=1))
            write_labels(output, self.work.labels)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Unlock the folder."""
        self.folder.close()

    def __iter__(self) -> Iterator[Result]:
        """Yield each result as soon as it is on disk; OutputError if the folder cannot be written to."""
        try:
            if self.helper_targets and self.todo:
                helpers = takewhile(lambda _: not self.stop, self.helper_targets)
                self.work = replace(self.work, together=Worker(self.model, self.work).find_helpers(helpers))
            with closing(self.engine(self.work, self.todo)) as results:
                while not self.stop and (result := next(results, None)) is not None:
                    append_line(self.folder.results, result.line())
                    yield result
        finally:
            self.close()

    def _whole(self, target: Target) -> bool:
        return all(exists(file) for file in self.work.files(target))

    def _is_done(self, line: Mapping[str, Any]) -> bool:
        if line["error"] is not None:
            return False
        correction = self.work.corrections.get(self._names.get(os.path.abspath(line["target"]), ""))
        if correction is not None or line.get("corrected"):
            return correction is not None and line.get("corrected") == correction.digest
        return line.get("made_with", self._before_learning) == self.work.made_with  # older versions could not learn

    def _check_names(self, targets: Sequence[Target]) -> None:
        self._names = {os.path.abspath(target.path): target.name for target in targets}
        names = set(self._names.values())
        if len(self.work.labels) == 1 and self.work.options.scores != "png":
            return  # only masks end in .png
        for target in targets:
            for file in self.work.files(target):
                other = file.relative_to(self.output).with_suffix("").as_posix()
                if file.suffix == ".png" and other != target.name and other in names:
                    told = f"{file} would be a result of {target.path} and the mask of the target {other!r}"
                    raise OutputError(f"{told}: rename one of them")

    def _settings_of(self, given: Sequence[Concept]) -> dict[str, Any]:
        encoder, one = self.model.encoder, len(given) == 1
        told = [{"name": c.name, "digest": c.digest, "sources": c.sources} for c in given]
        return {
            "insid3": insid3.__version__,
            "concept": told[0] if one else {key: [entry[key] for entry in told] for key in told[0]},
            "backbone": encoder.name,
            "weights_hash": encoder.weights_hash,
            "engine": getattr(encoder, "engine", ""),
            "dtype": str(getattr(encoder, "dtype", "")).removeprefix("torch."),
            "patch_size": encoder.patch_size,
            "config": self.model.config.as_dict(),
            "options": self.work.options.as_settings(),
            "scores": self.work.options.scores,
            "corrections": len(self.work.corrections),
            "folder": os.getcwd(),  # relative paths of targets begin there
        }


def _digest(concepts: Sequence[Concept], helper_targets: Sequence[Target] = ()) -> str:
    """Return a digest of the concepts, and of the names and sizes of the helper targets, which are not read."""
    sizes = (target.path.stat().st_size if target.path.is_file() else 0 for target in helper_targets)
    helpers = [f"{target.name} {size}\n" for target, size in zip(helper_targets, sizes, strict=True)]
    return hashlib.sha256("".join([*(concept.digest for concept in concepts), *helpers]).encode()).hexdigest()[:16]
