"""The commands insid3 convert, review and rethreshold, which take the results of a run."""

from pathlib import Path
from typing import Annotated

import typer

from insid3.batch.formats import ENTRIES
from insid3.cli import app
from insid3.cli.terminal import printable
from insid3.errors import ConfigError

Results = Annotated[Path, typer.Argument(help="Output folder of insid3 segment.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.", show_default=False)]
_WIDTH = max(map(len, ENTRIES)) + 2
_CONVERT = f"""Write masks as annotations of another tool.

    insid3 convert out/ --to coco -o coco/

\b
{chr(10).join(f"{name:{_WIDTH}}{entry.title}" for name, entry in ENTRIES.items())}

Names, ids and colours are in concepts.json beside the annotations. Standard error counts and names all that is left
out of the source (lines, points, boxes, damaged entries) and all that the other format cannot keep.
"""


@app.command(help=_CONVERT)
def convert(
    source: Annotated[
        Path, typer.Argument(help="Output folder of insid3 segment, or another format's.", show_default=False)
    ],
    to: Annotated[str, typer.Option("--to", help=f"One of {', '.join(ENTRIES)}.", show_default=False)],
    output: Output,
    from_: Annotated[str | None, typer.Option("--from", help="Format of the source, where it cannot be told.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the pictures that the annotations name.")
    ] = None,
    append_to: Annotated[Path | None, typer.Option("--append-to", help="COCO file to add to (--to coco).")] = None,
    boxes_as_masks: Annotated[
        bool, typer.Option("--boxes-as-masks", help="Take a box that has no outline as the mask.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Write nothing if anything of the source would be left out.")
    ] = False,
) -> None:
    """Write masks as annotations of another tool."""
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
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="Number of results to list; 0 for all.")] = 20,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="Picture file for their overlays (.jpg, .png).")] = None,
) -> None:
    """List the least certain results, to look at and to correct first.

    Draw a better mask, save it under the same name in <output>/corrected/ (all black if the concept is absent), and run
    the command that is shown: the correction becomes the result, and an example for all other targets.

        insid3 review out/
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from insid3.batch.review import CORRECTED, doubts, learning_command, strays

    if sheet is not None and sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise ConfigError(f"--sheet {sheet}: a sheet is written as .jpg or .png")
    found = doubts(results)
    open_ = [doubt for doubt in found if not doubt.corrected]
    corrected = len(found) - len(open_)
    title = escape(printable(f"corrections go to {results / CORRECTED}"))
    table = Table("score", "marked px", box=None, title=title, title_justify="left")
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
        console.print(f"now run: {escape(printable(learning_command(results)))}", highlight=False, soft_wrap=True)
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
        float, typer.Option("--threshold", "-t", help="Pixels with a score above this are marked.", show_default=False)
    ],
    output: Output,
    min_area: Annotated[
        int | None, typer.Option("--min-area", help="Drop parts of fewer pixels.", show_default="the run's own")
    ] = None,
) -> None:
    """Write masks at another threshold, without the model, from a run with --scores. Edges are not refined.

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

    from insid3.errors import DataError
    from insid3.imaging.draw import sheet
    from insid3.imaging.read import read_image
    from insid3.storage import write_picture

    cells = []
    for caption, mask in entries:
        name = mask.removesuffix(".png")
        file = results / f"{name}_overlay.jpg"
        if not file.exists():  # masks of several concepts share the overlay of their target
            file = results / f"{name.rpartition('.')[0]}_overlay.jpg"
        if file.exists():
            cells.append((read_image(file), caption if len(caption) <= 48 else f"{caption[:6]}…{caption[-40:]}"))
    if not cells:
        raise DataError(f"{results} has no overlays to show")
    image = Image.fromarray(sheet([picture for picture, _ in cells], [caption for _, caption in cells]))
    write_picture(path, image)
