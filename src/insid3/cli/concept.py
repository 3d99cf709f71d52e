"""insid3 concept."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from insid3.cli import app
from insid3.cli.options import (
    BoxesAsMasks,
    Category,
    CocoFile,
    CocoImage,
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
from insid3.cli.terminal import printable


@app.command()
@with_model
def concept(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, *.insid3.", show_default=False)],
    model: Model,
    reference: References = None,
    mask: Masks = None,
    label: LabelOption = None,
    from_coco: CocoFile = None,
    image: CocoImage = None,
    category: Category = None,
    boxes_as_masks: BoxesAsMasks = False,
    negative: Negatives = None,
    name: Name = None,
    id: Annotated[int | None, typer.Option("--id", help="Its number in exports.", show_default=False)] = None,
    colour: Annotated[
        str | None, typer.Option("--colour", "--color", help="Its colour, such as #ff8000.", show_default=False)
    ] = None,
) -> None:
    """Encode an example once and keep it as a file.

    insid3 concept --reference cat.jpg --mask cat_mask.png -o cat.insid3
    insid3 segment --concept cat.insid3 photos/ -o out/
    """
    from insid3.batch.formats.base import parse_colour
    from insid3.errors import ConfigError

    try:
        rgb = parse_colour(colour) if colour else None
    except ValueError as error:
        raise ConfigError(f"--colour: a colour looks like #ff8000, not {colour!r}") from error
    check_writable(output.parent)
    loaded = model.load()
    called = name or category or (None if output.stem == "concept" else output.stem)  # which says nothing
    made = make_concept(
        loaded, reference, mask, None, label, from_coco, image, category, negative, called, boxes_as_masks
    )
    made = replace(made, id=id, colour=rgb)
    made.save(output)
    if not model.quiet:
        what = f"concept '{made.name}', {made.shots} shot(s), {made.backbone} at {made.size} px"
        typer.echo(printable(f"{output}: {what}"), err=True)
