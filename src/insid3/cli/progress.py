"""A run as it is seen on a terminal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from insid3.cli.options import Model

if TYPE_CHECKING:
    from insid3.batch.runner import Run
    from insid3.batch.work import Result


def work_through(run: "Run", model: Model, what: str, overwrite: bool) -> int:
    """Do it and show how far it is; how many failed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    failed = empty = done = below = 0
    least = run.model.config.min_score
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=model.quiet) as progress, _stopping(run) as stopped:
        total = len(run.todo) + run.done_before
        bar = progress.add_task(f"marking {escape(what)}", total=total, completed=run.done_before, rate="")
        try:
            for result in run:
                done += 1
                failed += result.error is not None
                empty += result.area == 0
                low = _too_low(result, run.work.labels[0].name)
                below += bool(low)
                if result.error is not None:
                    console.print(f"[red]failed[/red] {escape(result.error)}", highlight=False, soft_wrap=True)
                elif low:
                    line = f"below --min-score {least:g}: {result.target} ({', '.join(low)})"
                    console.print(escape(line), highlight=False, soft_wrap=True)
                elif model.verbose:
                    facts = ([f"score {result.score:.2f}"] if result.area else []) + [result.reason]
                    told = ", ".join(filter(None, facts))
                    line = f"{result.target}: {told}, {result.seconds:.2f} s"
                    console.print(escape(line), highlight=False, soft_wrap=True)
                elapsed = progress.tasks[0].elapsed or 0
                rate = (f"{done / elapsed:.2f}/s" if elapsed else "") + (f", {failed} failed" if failed else "")
                progress.update(bar, advance=1, rate=rate)
        except KeyboardInterrupt:
            stopped.append(signal.SIGINT)
        if stopped and done < len(run.todo):
            progress.stop()
            again = f"the same command {'without --overwrite ' if overwrite else ''}continues"
            console.print(f"stopped after {done} of {len(run.todo)} targets; {again}")
            raise typer.Exit(130)
    if not model.quiet:
        before = f", {run.done_before} done before" if run.done_before else ""
        low_ones = f", {below} below --min-score {least:g}" if least else ""
        text = f"{done - failed} marked ({empty} empty{low_ones}), {failed} failed{before}: {run.output}"
        console.print(escape(text), highlight=False, soft_wrap=True)
    return failed


def _too_low(result: "Result", name: str) -> list[str]:
    """Concepts that were found in a target, but with a score too low to count."""
    entries = result.concepts or {name: {"score": result.score, "area": result.area}}
    return [
        f"{concept} {entry['score']:.2f}" for concept, entry in entries.items() if entry["score"] and not entry["area"]
    ]


@contextmanager
def _stopping(run: "Run") -> Iterator[list[int]]:
    """The first Ctrl-C lets the target in hand be finished, the second does not; gives a list of those that came."""
    came: list[int] = []

    def first(number: int, _: object) -> None:
        came.append(number)
        run.stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what was before may ignore it, as background jobs do

    try:
        before = signal.signal(signal.SIGINT, first)
    except ValueError:  # not the main thread: whoever runs it there sees to signals
        yield came
        return
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
