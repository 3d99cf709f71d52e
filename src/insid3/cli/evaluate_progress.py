"""The progress and the numbers of an evaluation on a terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from insid3.cli.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console

    from insid3.eval.run import Done, Totals


def run_episodes(episodes: Iterator["Done"], console: "Console", *, quiet: bool, verbose: bool) -> None:
    """Run the episodes, and show how many are done and which failed.

    Raises:
        typer.Exit: Ctrl-C stopped the run.
    """
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from insid3.eval.run import RunningScore

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[running]}"),
        TimeRemainingColumn(),
    )
    done = 0
    with Progress(*columns, console=console, disable=quiet) as progress:
        bars: dict[int, Any] = {}
        running: dict[int, RunningScore] = {}
        try:
            for each, outcomes in episodes:
                if id(each) not in bars:
                    bars[id(each)] = progress.add_task(
                        escape(printable(each.name)), total=len(each.episodes), running=""
                    )
                    running[id(each)] = RunningScore(each)
                done += 1
                for outcome in outcomes:
                    if outcome.error is not None:
                        failed = f"[red]failed[/red] {escape(printable(outcome.error))}"
                        console.print(failed, highlight=False, soft_wrap=True)
                    elif verbose:
                        line = f"{outcome.id}: {outcome.iou:.1f}, {outcome.seconds:.2f} s"
                        console.print(escape(printable(line)), highlight=False, soft_wrap=True)
                running[id(each)].add(outcomes[0])
                progress.update(bars[id(each)], advance=1, running=str(running[id(each)]))
        except KeyboardInterrupt:
            progress.stop()
            console.print(f"stopped after {done} episodes; the same command (without --overwrite) continues")
            raise typer.Exit(130) from None


def tell(found: dict[str, dict[str, Any]], output: Path) -> None:
    """Print the numbers of each predictor, by the folder of its results."""
    for name, numbers in found.items():
        if name != ".":
            typer.echo(printable(name))
        for title, its in numbers["sets"].items():
            shown = printable(title)
            if its.get("miou") is not None:
                typer.echo(
                    f"{shown:12} mIoU {its['miou']:5.1f}   FB-IoU {its['fb_iou']:5.1f}   {its['episodes']} episodes"
                )
            elif its.get("pck"):
                values = "  ".join(f"{alpha}: {value:.1f}" for alpha, value in its["pck"].items())
                typer.echo(f"{shown:12} PCK  {values}   {its['episodes']} pairs")
        if numbers["miou"] is not None:
            typer.echo(f"{'mean':12} mIoU {numbers['miou']:5.1f}")
    typer.echo(printable(output / ("report.html" if "." in found else "sweep.html")))


def summary(found: dict[str, dict[str, Any]], told: "Totals") -> str:
    """Return a line that counts what became of the episodes, in all settings of a grid together.

    Args:
        told: counts of the run.
    """
    counts = [f"{told.scored} scored ({told.empty} empty, {told.doubtful} doubtful)", f"{told.failed} failed"]
    why = f" ({told.done_before} done before)" if told.done_before else ""
    counts += [f"{told.done_before} skipped{why}"]
    left_out = max(numbers["left_out"] for numbers in found.values())
    counts += [f"{left_out} class{'' if left_out == 1 else 'es'} left out"] if left_out else []
    polygons = sum(its.get("polygons_left_out", 0) for its in next(iter(found.values()))["sets"].values())
    counts += [f"{polygons} polygons of fewer than three points left out"] if polygons else []
    pixels = sum(its["ignored"]["pixels"] for its in next(iter(found.values()))["sets"].values() if its.get("ignored"))
    counts += [f"{pixels:,} pixels ignored"] if pixels else []
    return f"episodes: {', '.join(counts)}"
