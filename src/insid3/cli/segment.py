"""insid3 segment."""

from pathlib import Path
from typing import Annotated

import typer

from insid3.cli import app
from insid3.cli.options import (
    Category,
    CocoFile,
    CocoImage,
    ConceptFile,
    LabelOption,
    Masks,
    Model,
    Name,
    Negatives,
    References,
    check_writable,
    make_concept,
    with_model,
)


@app.command(epilog="Exit status: 0 all done, 1 some targets failed, 2 wrong usage. A second run continues the first.")
@with_model
def segment(
    targets: Annotated[
        list[Path], typer.Argument(help="Pictures, or folders of them (searched recursively).", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for masks, overlays and results.jsonl.", show_default=False)
    ],
    model: Model,
    reference: References = None,
    mask: Masks = None,
    concept: ConceptFile = None,
    label: LabelOption = None,
    from_coco: CocoFile = None,
    image: CocoImage = None,
    category: Category = None,
    negative: Negatives = None,
    name: Name = None,
    overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Write <stem>_overlay.jpg beside each mask.")
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another run's results in the output folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the targets and what would be written, then leave.")
    ] = False,
) -> None:
    """Mark the concept of an example in every target.

    Writes <stem>.png (0/255, the target's size), <stem>_overlay.jpg, and a line per target in results.jsonl.

        insid3 segment --reference cat.jpg --mask cat_mask.png photos/ -o out/
    """
    from insid3.batch.sources import find_targets

    found = find_targets(targets, output)
    if dry_run:
        for target in found:
            typer.echo(f"{target.path} -> {output / target.name}.png")
        raise typer.Exit
    check_writable(output)

    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from insid3.batch.runner import Run

    console = Console(stderr=True)
    loaded = model.load()
    made = make_concept(loaded, reference, mask, concept, label, from_coco, image, category, negative, name)
    run = Run(loaded, made, found, output, overlays=overlay, overwrite=overwrite)
    failed = empty = done = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=model.quiet) as progress:
        bar = progress.add_task(f"marking {made.name}", total=len(found), completed=run.done_before, rate="")
        try:
            for result in run:
                done += 1
                failed += result.error is not None
                empty += result.area == 0
                if result.error is not None:
                    console.print(f"[red]failed[/red] {escape(result.error)}", highlight=False, soft_wrap=True)
                elif model.verbose:
                    facts = ([f"score {result.score:.2f}"] if result.area else []) + [result.reason]
                    what = ", ".join(filter(None, facts))
                    line = f"{result.target}: {what}, {result.seconds:.2f} s"
                    console.print(escape(line), highlight=False, soft_wrap=True)
                elapsed = progress.tasks[0].elapsed or 0
                progress.update(bar, advance=1, rate=f"{done / elapsed:.2f}/s" if elapsed else "")
        except KeyboardInterrupt:
            progress.stop()
            again = f"the same command {'without --overwrite ' if overwrite else ''}continues"
            console.print(f"stopped after {done} of {len(run.todo)} targets; {again}")
            raise typer.Exit(130) from None
    if not model.quiet:
        before = f", {run.done_before} done before" if run.done_before else ""
        console.print(
            f"{done - failed} marked ({empty} empty), {failed} failed{before}: {output}",
            highlight=False,
            soft_wrap=True,
        )
    raise typer.Exit(1 if failed else 0)
