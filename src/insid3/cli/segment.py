"""insid3 segment."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insid3.cli import app, runfile
from insid3.cli.options import (
    Category,
    CocoFile,
    CocoImage,
    ConceptFiles,
    LabelOption,
    Masks,
    Model,
    Name,
    Negatives,
    References,
    check_writable,
    make_concepts,
    with_model,
)
from insid3.errors import ConfigError

if TYPE_CHECKING:
    from insid3.batch.options import Box
    from insid3.batch.runner import Run
    from insid3.batch.work import Result

_MARKS, _OUTPUT, _RUN = "What is marked", "What is written", "The run"


def _option(panel: str, *flags: str, help: str, **more: Any) -> Any:
    return typer.Option(*flags, help=help, rich_help_panel=panel, **more)


@app.command(
    epilog="Exit status: 0 all done, 1 some targets failed, 2 wrong usage, 130 stopped. A second run continues the "
    "first; Ctrl-C ends after the target in hand, twice at once."
)
@with_model
def segment(
    context: typer.Context,
    targets: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, folders (searched recursively), 'patterns/**/*.jpg', lists (.txt), or - for a list on "
            "standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for masks, overlays and results.jsonl.", show_default=False)
    ],
    model: Model,
    reference: References = None,
    mask: Masks = None,
    concept: ConceptFiles = None,
    label: LabelOption = None,
    from_coco: CocoFile = None,
    image: CocoImage = None,
    category: Category = None,
    negative: Negatives = None,
    name: Name = None,
    learn_from: Annotated[
        Path | None,
        _option("The example", "--learn-from", help="Folder of corrected masks, named as results: further shots."),
    ] = None,
    overlaps: Annotated[
        str, _option(_MARKS, "--overlap", help="Whose pixels are that several concepts claim: best (one's) or all's.")
    ] = "best",
    min_area: Annotated[int, _option(_MARKS, "--min-area", help="Drop parts of fewer pixels.", show_default=False)] = 0,
    fill_holes: Annotated[bool, _option(_MARKS, "--fill-holes", help="Holes in a mask belong to it.")] = False,
    ignore: Annotated[
        Path | None, _option(_MARKS, "--ignore", help="Mask of what is never marked, or a folder of them by name.")
    ] = None,
    roi: Annotated[
        str | None, _option(_MARKS, "--roi", help="x0,y0,x1,y1 in pixels: look at this part of the targets only.")
    ] = None,
    instances: Annotated[
        bool, _option(_MARKS, "--instances", help="List the connected parts, with box, area and score.")
    ] = False,
    overlay: Annotated[
        bool, _option(_OUTPUT, "--overlay/--no-overlay", help="Write <stem>_overlay.jpg beside each mask.")
    ] = True,
    heatmap: Annotated[bool, _option(_OUTPUT, "--heatmap", help="Write <stem>_heat.jpg.")] = False,
    scores: Annotated[
        str | None, _option(_OUTPUT, "--scores", help="png or npy: write soft scores, for insid3 rethreshold.")
    ] = None,
    formats: Annotated[
        str | None,
        _option(_OUTPUT, "--format", help="Write annotations too, to <output>/export: see insid3 convert --help."),
    ] = None,
    batch: Annotated[int, _option(_RUN, "--batch", help="Targets that the encoder sees at once; for GPUs.")] = 1,
    shard: Annotated[
        str | None, _option(_RUN, "--shard", help="I/N: do the I-th of N parts; run the others at the same time.")
    ] = None,
    config: runfile.Option = None,
    overwrite: Annotated[
        bool, _option(_RUN, "--overwrite", help="Replace another run's results in the output folder.")
    ] = False,
    dry_run: Annotated[
        bool, _option(_RUN, "--dry-run", help="List the targets and what would be written, then leave.")
    ] = False,
) -> None:
    """Mark the concept of an example, or several concepts, in every target.

    Writes <stem>.png (0/255, or with several concepts their numbers), <stem>_overlay.jpg, concepts.json, and a line per
    target in results.jsonl.

        insid3 segment --reference cat.jpg --mask cat_mask.png photos/ -o out/
        insid3 segment --concept cat.insid3 --concept dog.insid3 photos/ -o out/ --format coco
    """
    from insid3.batch.options import Options
    from insid3.batch.sources import Shard, find_targets

    options = Options(
        overlap=overlaps,
        min_area=min_area,
        fill_holes=fill_holes,
        ignore=ignore,
        roi=_box(roi),
        instances=instances,
        overlays=overlay,
        heat=heatmap,
        scores=scores,  # type: ignore[arg-type]  # checked there
        batch=batch,
    )
    part = Shard.parse(shard) if shard else None
    if part and (overwrite or formats):
        raise ConfigError("--shard goes neither with --overwrite nor with --format: convert when all parts are done")
    chosen = _formats(formats)
    found = find_targets(targets, output)
    if dry_run:
        for target in part.of(found) if part else found:
            typer.echo(f"{target.path} -> {output / target.name}.png")
        raise typer.Exit
    check_writable(output)

    from insid3.batch.learn import find_corrections, learn
    from insid3.batch.runner import Run
    from insid3.batch.work import slugs
    from insid3.labels import numbered

    loaded = model.load()
    concepts = make_concepts(loaded, reference, mask, concept, label, from_coco, image, category, negative, name)
    labels = numbered(concepts)
    corrections, learned = {}, None
    if learn_from is not None:
        corrections = find_corrections(learn_from, found, slugs(labels), options)
        learned = learn(loaded, concepts, labels, found, corrections)
    run = Run(
        loaded, concepts, found, output, options,
        overwrite=overwrite, shard=part, corrections=corrections, learned=learned,
    )  # fmt: skip
    runfile.write(output / "run.toml", context)
    failed = _work(run, model, " and ".join(entry.name for entry in labels[:3]), overwrite)
    for each in chosen:
        from insid3.batch.convert import convert

        for note in convert(output, each, output / "export" / each):
            if not model.quiet:
                typer.echo(f"{each}: {note}", err=True)
    raise typer.Exit(1 if failed else 0)


def _work(run: "Run", model: Model, what: str, overwrite: bool) -> int:
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


def _box(text: str | None) -> "Box | None":
    if text is None:
        return None
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 4 or not all(number.isdecimal() for number in numbers):
        raise ConfigError(f"--roi is x0,y0,x1,y1 in whole pixels, got {text!r}")
    x0, y0, x1, y1 = map(int, numbers)
    return x0, y0, x1, y1


def _formats(text: str | None) -> list[str]:
    if text is None:
        return []
    from insid3.batch.formats import FORMATS
    from insid3.batch.formats.polygons import check_packages

    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in FORMATS]:
        raise ConfigError(f"unknown format {unknown[0]!r}; known: {', '.join(FORMATS)}")
    if set(names) - {"png", "voc", "label-studio"}:
        check_packages()
    return names
