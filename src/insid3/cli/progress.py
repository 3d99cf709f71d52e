"""The progress and the summary of a run on a terminal."""

import signal
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from insid3.cli.options import ModelOptions
from insid3.cli.terminal import printable

if TYPE_CHECKING:
    from insid3.batch.passed import Passed
    from insid3.batch.result import Result
    from insid3.batch.runner import Run
    from insid3.batch.sources import Target

_REMEDIES = {"stretched": "--stretch LOW,HIGH fixes the range for all"}  # by kind of remark
_ROUTINE = ("repaired",)  # kinds that only --verbose tells
_DETAILS = 3  # shown for a kind of remark


@dataclass
class _Tally:
    """Count what became of the targets of a run.

    Attributes:
        below: targets with a concept whose score is below --min-score.
        parts: dropped parts, smaller than --min-area.
        remarks: by kind of remark, the number of pictures for each detail.
        known: targets that are references or negatives of a concept.
    """

    done: int = 0
    failed: int = 0
    empty: int = 0
    doubtful: int = 0
    known: int = 0
    below: int = 0
    parts: int = 0
    remarks: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, result: "Result", low: list[str]) -> None:
        """Count a result; `low` names its concepts below --min-score."""
        self.done += 1
        self.failed += result.error is not None
        self.empty += result.area == 0
        self.doubtful += result.is_doubtful
        self.known += bool(result.known)
        self.below += bool(low)
        self.parts += (result.dropped or {}).get("parts", 0)
        for kind, details in {kind: details for kind, _, details in map(_split, result.remarks or [])}.items():
            self.remarks[kind][details] += 1


def mark_targets(run: "Run", model: ModelOptions, what: str, overwrite: bool, passed: "Passed | None" = None) -> int:
    """Mark the targets of a run, show the progress and a summary, and return how many targets failed.

    Args:
        what: names of the concepts, for the progress bar.
        overwrite: the command has --overwrite, which must be left out to continue the run.
        passed: files among the targets that are no pictures.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console, tally = Console(stderr=True), _Tally()

    def say(line: str, style: str = "") -> None:
        console.print(f"{style}{escape(printable(line))}", highlight=False, soft_wrap=True)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=model.quiet) as progress, _stopping(run) as stopped:
        total = len(run.todo) + run.done_before
        bar = progress.add_task(f"marking {escape(printable(what))}", total=total, completed=run.done_before, rate="")
        try:
            for result in run:
                low = _too_low(result, run.work.labels[0].name)
                tally.add(result, low)
                if result.error is not None:
                    say(result.error, "[red]failed[/red] ")
                elif low or model.verbose:
                    say(_line(result, low, run.model.config.min_score, model.verbose))
                elapsed = progress.tasks[0].elapsed or 0
                failed = f", {tally.failed} failed" if tally.failed else ""
                progress.update(bar, advance=1, rate=(f"{tally.done / elapsed:.2f}/s" if elapsed else "") + failed)
        except KeyboardInterrupt:
            stopped.append(signal.SIGINT)
        if stopped and tally.done < len(run.todo):
            progress.stop()
            again = f"the same command {'without --overwrite ' if overwrite else ''}continues"
            console.print(f"stopped after {tally.done} of {len(run.todo)} targets; {again}")
            raise typer.Exit(130)
    if not model.quiet:
        for line in _summary(run, tally, passed, model.verbose):
            say(line)
    return tally.failed


def about_names(targets: Sequence["Target"]) -> Iterator[str]:
    """Yield a line that says how many results have another name than their picture, and names the first, if any."""
    renamed = [target for target in targets if target.is_renamed]
    if renamed:
        first = f"{renamed[0].path} as {renamed[0].name}.png"
        yield f"results with another name than their picture: {len(renamed)}, such as {first}; results.jsonl lists all"


def _summary(run: "Run", tally: _Tally, passed: "Passed | None", verbose: bool) -> Iterator[str]:
    from insid3.batch.result import DOUBTFUL

    least = run.model.config.min_score
    below = f", {tally.below} below --min-score {least:g}" if least else ""
    marked = f"{tally.done - tally.failed} marked ({tally.empty} empty{below}, {tally.doubtful} doubtful)"
    skipped = [f"{run.done_before} done before"] if run.done_before else []
    skipped += [f"{len(passed)} passed over"] if passed else []
    why = f" ({', '.join(skipped)})" if skipped else ""
    counts = [marked, f"{tally.failed} failed", f"{run.done_before + len(passed or ())} skipped{why}"]
    parts = f"{tally.parts} part{'' if tally.parts == 1 else 's'}"
    counts += [f"{parts} dropped"] if tally.parts else []
    if tally.known:
        yield f"pictures of the example among the targets: {tally.known}; their masks are those that were drawn"
    if tally.doubtful:
        yield f"doubtful: {tally.doubtful} with a score below {DOUBTFUL:g}; insid3 review lists them"
    if tally.parts:
        least_area = run.work.options.min_area
        small = "smaller than a patch" if least_area == "patch" else f"of fewer than {least_area} pixels"
        yield f"dropped {parts} {small}; --min-area 0 keeps them"
    for kind, details in sorted(tally.remarks.items()):
        if kind not in _ROUTINE or verbose:
            shown = [text for text, _ in details.most_common(_DETAILS) if text]
            shown += ["..."] if len(details) > _DETAILS else []
            fixed = kind == "stretched" and run.model.config.stretch is not None
            more = "; ".join(filter(None, (", ".join(shown), "" if fixed else _REMEDIES.get(kind))))
            count = details.total()
            yield f"{kind}: {count} picture{'' if count == 1 else 's'}" + (f" ({more})" if more else "")
    if passed:
        yield f"passed over: {passed}"
    yield from about_names(run.targets)
    yield f"{', '.join(counts)}: {run.output}"


def _line(result: "Result", low: list[str], least: float, verbose: bool) -> str:
    facts = ([f"score {result.score:.2f}"] if result.area else []) + [result.reason]
    told = ", ".join(filter(None, facts))
    line = f"below --min-score {least:g}: {result.target} ({', '.join(low)})" if low else f"{result.target}: {told}"
    if not verbose:
        return line
    dropped = [f"dropped {result.dropped['parts']} part(s)"] if result.dropped else []
    return ", ".join([line, f"{result.seconds:.2f} s", *dropped, *(result.remarks or [])])


def _split(remark: str) -> tuple[str, str, str]:
    """Split a remark into kind, colon and details; the text after a comma differs from picture to picture."""
    kind, colon, rest = remark.partition(":")
    return kind.strip(), colon, rest.partition(",")[0].strip()


def _too_low(result: "Result", name: str) -> list[str]:
    """Return name and score of the concepts that were found in a target with a score too low to count."""
    entries = result.concepts or {name: {"score": result.score, "area": result.area}}
    return [
        f"{concept} {entry['score']:.2f}" for concept, entry in entries.items() if entry["score"] and not entry["area"]
    ]


@contextmanager
def _stopping(run: "Run") -> Iterator[list[int]]:
    """Let the first Ctrl-C finish the target in hand, the second stop at once; yield the list of signals."""
    came: list[int] = []

    def first(number: int, _: object) -> None:
        came.append(number)
        run.stop = True
        signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # the handler before may ignore it, as in background jobs

    try:
        before = signal.signal(signal.SIGINT, first)
    except ValueError:  # only the main thread gets signals
        yield came
        return
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
