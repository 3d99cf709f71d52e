"""insid3 segment."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insid3.cli import app, runfile
from insid3.cli.options import (
    BoxesAsMasks,
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
from insid3.cli.progress import about_names, work_through
from insid3.cli.terminal import printable
from insid3.errors import ConfigError

if TYPE_CHECKING:
    from insid3.batch.options import Box

_MARKS, _OUTPUT, _RUN = "What is marked", "What is written", "The run"


def option(panel: str, *flags: str, help: str, **more: Any) -> Any:
    return typer.Option(*flags, help=help, rich_help_panel=panel, **more)


Overlaps = Annotated[
    str, option(_MARKS, "--overlap", help="Whose pixels are that several concepts claim: best (one's) or all's.")
]
MinArea = Annotated[
    int | None,
    option(
        _MARKS,
        "--min-area",
        help="Drop parts of fewer pixels. [default: one patch with --preset plus or --instances, else 0]",
    ),
]
FillHoles = Annotated[bool, option(_MARKS, "--fill-holes", help="Holes in a mask belong to it.")]
Ignore = Annotated[
    Path | None, option(_MARKS, "--ignore", help="Mask of what is never marked, or a folder of them by name.")
]
Roi = Annotated[
    str | None, option(_MARKS, "--roi", help="x0,y0,x1,y1 in pixels: look at this part of the targets only.")
]
Instances = Annotated[bool, option(_MARKS, "--instances", help="List the connected parts, with box, area and score.")]
Formats = Annotated[
    str | None,
    option(_OUTPUT, "--format", help="Write annotations too, to <output>/export: see insid3 convert --help."),
]
Overwrite = Annotated[bool, option(_RUN, "--overwrite", help="Replace another run's results in the output folder.")]


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
    boxes_as_masks: BoxesAsMasks = False,
    negative: Negatives = None,
    name: Name = None,
    learn_from: Annotated[
        Path | None,
        option("The example", "--learn-from", help="Folder of corrected masks, named as results: further shots."),
    ] = None,
    overlaps: Overlaps = "best",
    min_area: MinArea = None,
    fill_holes: FillHoles = False,
    ignore: Ignore = None,
    roi: Roi = None,
    instances: Instances = False,
    together: Annotated[
        bool,
        option(
            _MARKS,
            "--together",
            help="Targets, 8 or more, help each other: up to 64 of them are read first, and "
            "a mask found there that leads back to the example is a further one.",
        ),
    ] = False,
    overlay: Annotated[
        bool, option(_OUTPUT, "--overlay/--no-overlay", help="Write <stem>_overlay.jpg beside each mask.")
    ] = True,
    heatmap: Annotated[bool, option(_OUTPUT, "--heatmap", help="Write <stem>_heat.jpg.")] = False,
    scores: Annotated[
        str | None, option(_OUTPUT, "--scores", help="png or npy: write soft scores, for insid3 rethreshold.")
    ] = None,
    formats: Formats = None,
    batch: Annotated[int, option(_RUN, "--batch", help="Targets that the encoder sees at once; for GPUs.")] = 1,
    shard: Annotated[
        str | None, option(_RUN, "--shard", help="I/N: do the I-th of N parts; run the others at the same time.")
    ] = None,
    config: runfile.Option = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, option(_RUN, "--dry-run", help="List the targets and what would be written, then leave.")
    ] = False,
) -> None:
    """Mark the concept of an example, or several concepts, in every target.

    Writes <stem>.png (0/255, or with several concepts their numbers), <stem>_overlay.jpg, concepts.json, and a line per
    target in results.jsonl.

        insid3 segment --reference cat.jpg --mask cat_mask.png photos/ -o out/
        insid3 segment --concept cat.insid3 --concept dog.insid3 photos/ -o out/ --format coco
    """
    from insid3.batch.options import Options
    from insid3.batch.passed import VIDEOS, Passed
    from insid3.batch.sources import Shard, find_targets

    options = Options(
        overlap=overlaps,
        min_area=min_area,
        fill_holes=fill_holes,
        ignore=ignore,
        roi=parse_box(roi),
        instances=instances,
        overlays=overlay,
        heat=heatmap,
        scores=scores,  # type: ignore[arg-type]  # checked there
        batch=batch,
        together=together,
    )
    part = Shard.parse(shard) if shard else None
    if part and (overwrite or formats):
        raise ConfigError("--shard goes neither with --overwrite nor with --format: convert when all parts are done")
    chosen = parse_formats(formats)
    passed = Passed()
    found = find_targets(targets, output, passed)
    if videos := [target.path for target in found if target.path.suffix.lower() in VIDEOS]:
        raise ConfigError(f"{videos[0]} is a video: insid3 video marks its frames")
    if dry_run:
        mine = part.of(found) if part else found
        for target in mine:
            typer.echo(printable(f"{target.path} -> {output / target.name}.png"))
        if not model.quiet:
            for line in ([f"passed over: {passed}"] if passed else []) + [*about_names(mine)]:
                typer.echo(printable(line), err=True)
        raise typer.Exit
    check_writable(output)

    from insid3.batch.learn import find_corrections, learn
    from insid3.batch.runner import Run
    from insid3.batch.work import slugs
    from insid3.labels import numbered
    from insid3.together import LEAST

    loaded = model.load(spreads=True)
    concepts = make_concepts(
        loaded, reference, mask, concept, label, from_coco, image, category, negative, name, boxes_as_masks
    )
    labels = numbered(concepts)
    corrections, learned = {}, None
    if learn_from is not None:
        corrections = find_corrections(learn_from, found, slugs(labels), options)
        learned = learn(loaded, concepts, labels, found, corrections)
    engine = None
    if model.pool:
        from insid3.batch.remote import remote

        engine = partial(remote, model.loader(), loaded.encoder, model.pool)
    run = Run(
        loaded, concepts, found, output, options,
        overwrite=overwrite, shard=part, corrections=corrections, learned=learned, engine=engine,
    )  # fmt: skip
    runfile.write(output / "run.toml", context)
    if run.pool and run.todo and not model.quiet:
        few = len(run.pool) < LEAST
        what = f"fewer than {LEAST} do not help each other" if few else "which help the others"
        typer.echo(f"looking at {len(run.pool)} targets first, {what}", err=True)
    failed = work_through(run, model, " and ".join(entry.name for entry in labels[:3]), overwrite, passed)
    export(output, chosen, quiet=model.quiet)
    raise typer.Exit(1 if failed else 0)


def export(output: Path, formats: list[str], *, quiet: bool) -> None:
    """To <output>/export, and tell what a format could not keep."""
    from insid3.batch.convert import convert

    for each in formats:
        for note in convert(output, each, output / "export" / each):
            if not quiet:
                typer.echo(printable(f"{each}: {note}"), err=True)


def parse_box(text: str | None) -> "Box | None":
    if text is None:
        return None
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 4 or not all(number.isdecimal() for number in numbers):
        raise ConfigError(f"--roi is x0,y0,x1,y1 in whole pixels, got {text!r}")
    x0, y0, x1, y1 = map(int, numbers)
    return x0, y0, x1, y1


def parse_formats(text: str | None) -> list[str]:
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
