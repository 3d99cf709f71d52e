"""The command insid3 concept."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from insid3.cli import app
from insid3.cli.example_options import ExampleOptions
from insid3.cli.options import ModelOptions, check_writable, with_options
from insid3.cli.terminal import printable


@app.command()
@partial(with_options, without=("concept",))
def concept(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, *.insid3.", show_default=False)],
    *,
    example: ExampleOptions,
    id: Annotated[int | None, typer.Option("--id", help="The concept's number in exports.", show_default=False)] = None,
    colour: Annotated[
        str | None,
        typer.Option("--colour", "--color", help="The concept's colour, as #ff8000.", show_default=False),
    ] = None,
    model: ModelOptions,
) -> None:
    """Encode an example once and keep the concept as a file.

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
    stem = None if output.stem == "concept" else output.stem  # this name says nothing
    named = replace(example, name=example.name or example.category or stem)
    made = replace(named.drawn(loaded), id=id, colour=rgb)
    made.save(output)
    if not model.quiet:
        what = f"concept '{made.name}', {made.shots} shot(s), {made.backbone} at {made.size} px"
        typer.echo(printable(f"{output}: {what}"), err=True)
