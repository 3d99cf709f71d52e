"""The command insid3 segment."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from insid3.cli import app, config_file
from insid3.cli.example_options import PANEL, ExampleOptions
from insid3.cli.marking_options import (
    MARKED,
    RUN,
    WRITTEN,
    Formats,
    MarkingOptions,
    Overwrite,
    export_formats,
    parse_formats,
)
from insid3.cli.options import ModelOptions, check_writable, option, with_options
from insid3.cli.progress import about_names, mark_targets
from insid3.cli.terminal import printable
from insid3.errors import ConfigError


@app.command(
    epilog="Exit status: 0 all done, 1 some targets failed, 2 wrong usage, 130 stopped. The same command "
    "continues a run. Ctrl-C stops after the target in hand, a second one at once."
)
@with_options
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
    *,
    example: ExampleOptions,
    learn_from: Annotated[
        Path | None,
        option(PANEL, "--learn-from", help="Folder of corrected masks, named as results: further shots."),
    ] = None,
    marking: MarkingOptions,
    together: Annotated[
        bool,
        option(
            MARKED,
            "--together",
            help="Let targets help each other, 8 or more: up to 64 of them are read first, and a mask found there "
            "that leads back to the example becomes a further example.",
        ),
    ] = False,
    overlay: Annotated[
        bool, option(WRITTEN, "--overlay/--no-overlay", help="Write <stem>_overlay.jpg beside each mask.")
    ] = True,
    heatmap: Annotated[bool, option(WRITTEN, "--heatmap", help="Write <stem>_heat.jpg.")] = False,
    scores: Annotated[
        str | None, option(WRITTEN, "--scores", help="Write soft scores as png or npy, for insid3 rethreshold.")
    ] = None,
    formats: Formats = None,
    batch: Annotated[int, option(RUN, "--batch", help="Targets that the encoder sees at once; for GPUs.")] = 1,
    shard: Annotated[
        str | None,
        option(RUN, "--shard", help="I/N: do the I-th of N parts, which may run at the same time."),
    ] = None,
    config: config_file.ConfigOption = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, option(RUN, "--dry-run", help="List the targets and what would be written, then exit.")
    ] = False,
    model: ModelOptions,
) -> None:
    """Mark the concept of an example, or several concepts, in every target.

    Writes <stem>.png (0/255; with several concepts, their numbers) and <stem>_overlay.jpg for each target,
    concepts.json, and results.jsonl with a line for each target.

        insid3 segment --reference cat.jpg --mask cat_mask.png photos/ -o out/
        insid3 segment --concept cat.insid3 --concept dog.insid3 photos/ -o out/ --format coco
    """
    from insid3.batch.passed import VIDEOS, Passed
    from insid3.batch.sources import Shard, find_targets

    options = marking.options(overlays=overlay, heat=heatmap, scores=scores, batch=batch, together=together)
    part = Shard.parse(shard) if shard else None
    if part and (overwrite or formats):
        raise ConfigError("--shard goes neither with --overwrite nor with --format: convert when all parts are done")
    chosen = parse_formats(formats)
    passed = Passed()
    found = find_targets(targets, output, passed)
    if videos := [target.path for target in found if target.path.suffix.lower() in VIDEOS]:
        raise ConfigError(f"{videos[0]} is a video: insid3 video marks its frames")
    if dry_run:
        mine = part.select(found) if part else found
        for target in mine:
            typer.echo(printable(f"{target.path} -> {output / target.name}.png"))
        if not model.quiet:
            for line in ([f"passed over: {passed}"] if passed else []) + [*about_names(mine)]:
                typer.echo(printable(line), err=True)
        raise typer.Exit
    check_writable(output)

    from insid3.batch.corrections import find_corrections, learn
    from insid3.batch.runner import Run
    from insid3.batch.worker import slugs
    from insid3.label_map import numbered
    from insid3.transductive import LEAST

    loaded = model.load(for_workers=True)
    concepts = example.concepts(loaded)
    labels = numbered(concepts)
    corrections, learned = {}, None
    if learn_from is not None:
        corrections = find_corrections(learn_from, found, slugs(labels), options)
        learned = learn(loaded, concepts, labels, found, corrections)
    engine = None
    if model.workers:
        from insid3.batch.ray_engine import remote

        engine = partial(remote, model.loader(), loaded.encoder, model.workers)
    run = Run(
        loaded, concepts, found, output, options,
        overwrite=overwrite, shard=part, corrections=corrections, learned=learned, engine=engine,
    )  # fmt: skip
    config_file.write(output / "run.toml", context)
    if run.helper_targets and run.todo and not model.quiet:
        few = len(run.helper_targets) < LEAST
        what = f"fewer than {LEAST} do not help each other" if few else "which help the others"
        typer.echo(f"looking at {len(run.helper_targets)} targets first, {what}", err=True)
    failed = mark_targets(run, model, " and ".join(entry.name for entry in labels[:3]), overwrite, passed)
    export_formats(output, chosen, quiet=model.quiet)
    raise typer.Exit(1 if failed else 0)
