"""insid3 convert, review and rethreshold: what comes after segment."""

from pathlib import Path
from typing import Annotated

import typer

from insid3.cli import app
from insid3.cli.terminal import printable
from insid3.errors import ConfigError

Results = Annotated[Path, typer.Argument(help="Output folder of insid3 segment.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.", show_default=False)]
_NAMES = "png, coco, coco-polygon, yolo, labelme, label-studio, cvat, voc"


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="Output folder of insid3 segment, or another format's.", show_default=False)
    ],
    to: Annotated[str, typer.Option("--to", help=f"One of {_NAMES}.", show_default=False)],
    output: Output,
    from_: Annotated[str | None, typer.Option("--from", help="The source's, where it cannot be told.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the pictures, where annotations only name them.")
    ] = None,
    append_to: Annotated[
        Path | None, typer.Option("--append-to", help="COCO file that is kept and added to (--to coco).")
    ] = None,
    boxes_as_masks: Annotated[
        bool, typer.Option("--boxes-as-masks", help="Read boxes without an outline as masks of all their pixels.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Write nothing if anything of the source would be left out.")
    ] = False,
) -> None:
    """Write masks as annotations of another tool.

        insid3 convert out/ --to coco -o coco/

    \b
    png           PNG masks, as insid3 segment writes them
    coco          COCO instances.json, compressed RLE
    coco-polygon  the same with polygons, RLE for what has holes
    yolo          YOLO segmentation: labels/, images/, data.yaml
    labelme       a JSON file for each picture, masks for what has holes
    label-studio  tasks with brush masks, and config.xml
    cvat          CVAT for images 1.1, masks for what has holes
    voc           Pascal VOC: SegmentationClass, SegmentationObject, Annotations

    Names, ids and colours are in concepts.json beside them. What is left out of the source (lines, points, boxes,
    damaged entries) and what the other format cannot keep is counted and named on standard error.
    """
    from insid3.batch.convert import convert as run
    from insid3.batch.formats.coco import Coco
    from insid3.cli.options import check_writable

    into = None
    if append_to is not None:
        if to not in ("coco", "coco-polygon"):
            raise ConfigError("--append-to goes with --to coco")
        into = Coco(polygons=to == "coco-polygon", append_to=append_to)
    check_writable(output)
    for note in run(source, to, output, from_, images, into, boxes_as_masks=boxes_as_masks, strict=strict):
        typer.echo(printable(f"{to}: {note}"), err=True)
    typer.echo(printable(f"{output}: {to}"), err=True)


@app.command()
def review(
    results: Results,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="How many to list; 0 for all.")] = 20,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Write their overlays as one picture (.jpg, .png).")
    ] = None,
) -> None:
    """List the least certain results, to be looked at first, and take corrections.

    Draw a better mask, save it under the same name in <output>/corrected/ (all black where there is nothing), and run
    the command that is shown: the correction becomes the result, and an example for all the rest.

        insid3 review out/
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from insid3.batch.review import CORRECTED, again, doubts, strays

    if sheet is not None and sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise ConfigError(f"--sheet {sheet}: a sheet is written as .jpg or .png")
    found = doubts(results)
    open_ = [doubt for doubt in found if not doubt.corrected]
    corrected = len(found) - len(open_)
    table = Table(
        "score",
        "marked px",
        box=None,
        title=escape(printable(f"corrections go to {results / CORRECTED}")),
        title_justify="left",
    )
    for heading in ("target", "save as", "reason"):
        table.add_column(heading, overflow="fold")
    for doubt in open_[: count or None]:
        masks = "\n".join(escape(printable(mask)) for mask in doubt.masks)
        target, reason = (escape(printable(text)) for text in (doubt.target, doubt.reason or ""))
        table.add_row(f"{doubt.score:.3f}", f"{doubt.area:,}", target, masks, reason)
    console = Console()
    console.print(table)
    for stray in strays(results, found):
        console.print(
            f"[red]{escape(printable(stray))}[/red] in {CORRECTED}/ is named as no result is", highlight=False
        )
    shown = min(len(open_), count or len(open_))
    console.print(f"{shown} of {len(open_)} results, {corrected} corrected since the last run", highlight=False)
    if corrected:
        console.print(f"now run: {escape(printable(again(results)))}", highlight=False, soft_wrap=True)
    if sheet is not None:
        _sheet(
            results,
            [(printable(f"{doubt.score:.2f}  {doubt.target}"), doubt.masks[0]) for doubt in open_[: count or None]],
            sheet,
        )


@app.command()
def rethreshold(
    results: Results,
    threshold: Annotated[
        float, typer.Option("--threshold", "-t", help="What scores above it is marked.", show_default=False)
    ],
    output: Output,
    min_area: Annotated[
        int | None, typer.Option("--min-area", help="Drop parts of fewer pixels; the run's own if not given.")
    ] = None,
) -> None:
    """Masks at another threshold, without the model, from a run with --scores. Edges are not refined.

    insid3 segment --concept cat.insid3 photos/ -o out/ --scores png
    insid3 rethreshold out/ --threshold 0.35 -o stricter/
    """
    from insid3.batch.rethreshold import rethreshold as run
    from insid3.cli.options import check_writable

    check_writable(output)
    lines = [(line["area"], line.get("dropped")) for line in run(results, output, threshold, min_area)]
    dropped = sum(dust["parts"] for _, dust in lines if dust)
    more = f", dropped {dropped} part(s) that were too small (--min-area 0 keeps them)" if dropped else ""
    empty = sum(not area for area, _ in lines)
    typer.echo(printable(f"{len(lines)} masks ({empty} empty){more}: {output}"), err=True)


def _sheet(results: Path, entries: list[tuple[str, str]], path: Path) -> None:
    from PIL import Image

    from insid3.draw import sheet
    from insid3.errors import DataError
    from insid3.images import read_image
    from insid3.storage import write_picture

    cells = []
    for caption, mask in entries:
        name = mask.removesuffix(".png")
        file = results / f"{name}_overlay.jpg"
        if not file.exists():  # of a mask for each concept
            file = results / f"{name.rpartition('.')[0]}_overlay.jpg"
        if file.exists():
            cells.append((read_image(file), caption if len(caption) <= 48 else f"{caption[:6]}…{caption[-40:]}"))
    if not cells:
        raise DataError(f"{results} has no overlays to show")
    image = Image.fromarray(sheet([picture for picture, _ in cells], [caption for _, caption in cells]))
    write_picture(path, image)
