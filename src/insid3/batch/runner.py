"""Concepts over many targets; results appear one by one and a second run continues."""

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
from insid3.batch.folder import Folder
from insid3.batch.formats.base import write_labels
from insid3.batch.learn import Correction
from insid3.batch.names import exists
from insid3.batch.options import Options
from insid3.batch.resume import as_before, earlier_lines
from insid3.batch.sources import Shard, Target
from insid3.batch.work import Result, Work, Worker, local
from insid3.concept import Concept
from insid3.errors import OutputError
from insid3.labels import numbered
from insid3.pipeline import INSID3
from insid3.storage import append_line, write_text, writing
from insid3.together import check_together, pooled

Engine = Callable[[Work, Sequence[Target]], Generator[Result, None, None]]


class Run:
    """An output folder: the settings it was made with, what is done, and what is still to do."""

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
        """Check concepts and folder before anything runs, and lock the folder until the last target or `close`.

        Args:
            targets: of all shards.
            corrections: by the targets' names; they become their targets' results.
            learned: the concepts with the corrections as further shots; the others' targets are marked with these.
            engine: what does the work; `local` with the model if not given.
            settings: what else the results depend on.

        Raises:
            ConceptError: the model cannot use a concept.
            ConfigError: two concepts have the same name or id; targets cannot help each other with these settings.
            OutputError: it holds results of other settings, other concepts, or files of somebody else; or another run
                is at work on it.
        """
        given = [concepts] if isinstance(concepts, Concept) else list(concepts)
        used = list(learned or given)
        for concept in (*given, *used):
            model.check(concept)
        self.model, self.output, self.engine = model, output, engine or partial(local, model)
        self.targets = targets
        self.pool: list[Target] = []  #: targets that are looked at first and help the others, whatever the shard
        if options and options.together:
            check_together(model.config)
            self.pool = pooled([target for target in targets if target.name not in (corrections or {})])
        made_with = _digest(used, self.pool)
        options = options or Options()
        options = (options if overwrite else as_before(options, output)).decided(model.config.rule)
        self.work = Work(used, numbered(given), options, output, corrections or {}, made_with)
        self.stop = False  #: set it to end after the target in hand
        mine = shard.of(targets) if shard else targets
        if shard:  # they may begin in different folders
            mine = [Target(Path(os.path.abspath(target.path)), target.name) for target in mine]
        self._check_names(targets)
        self._untaught = _digest(given)
        settings = {**self._settings_of(given), **settings}
        self.folder = Folder(output, shard)
        try:
            if overwrite:
                writing(partial(self.folder.results.unlink, missing_ok=True))
            lines = [] if overwrite else earlier_lines(self.folder, settings, targets, self.work.files)
            done = {os.path.abspath(line["target"]) for line in lines if self._is_done(line)}
            self.todo = [t for t in mine if os.path.abspath(t.path) not in done or not self._whole(t)]
            self.done_before = len(mine) - len(self.todo)
            again = {os.path.abspath(target.path) for target in self.todo}
            if shard is None and self.folder.results.exists():  # without failures, and a line that was cut off
                self.folder.keep(line for line in lines if os.path.abspath(line["target"]) not in again)
            write_text(self.folder.settings, json.dumps(settings, indent=1))
            write_labels(output, self.work.labels)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others at the folder."""
        self.folder.close()

    def __iter__(self) -> Iterator[Result]:
        """Work through `todo`, yielding each result after its files and its line are on disk.

        Raises:
            OutputError: the folder cannot be written to; what is done is kept.
        """
        try:
            if self.pool and self.todo:
                pool = takewhile(lambda _: not self.stop, self.pool)
                self.work = replace(self.work, together=Worker(self.model, self.work).meet(pool))
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
        return line.get("made_with", self._untaught) == self.work.made_with  # older versions could not learn

    def _check_names(self, targets: Sequence[Target]) -> None:
        self._names = {os.path.abspath(target.path): target.name for target in targets}
        names = set(self._names.values())
        if len(self.work.labels) == 1 and self.work.options.scores != "png":
            return  # nothing but the masks is called .png
        for target in targets:
            for file in self.work.files(target):
                other = file.relative_to(self.output).with_suffix("").as_posix()
                if file.suffix == ".png" and other != target.name and other in names:
                    raise OutputError(f"{file} would be a result of {target.path} and the mask of the target {other!r}")

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
            "folder": os.getcwd(),  # where relative targets in the results begin
        }


def _digest(concepts: Sequence[Concept], pool: Sequence[Target] = ()) -> str:
    """Of what targets are marked with; of the pool's files only names and sizes, so that none is read for it."""
    sizes = (target.path.stat().st_size if target.path.is_file() else 0 for target in pool)
    helpers = [f"{target.name} {size}\n" for target, size in zip(pool, sizes, strict=True)]
    return hashlib.sha256("".join([*(concept.digest for concept in concepts), *helpers]).encode()).hexdigest()[:16]
