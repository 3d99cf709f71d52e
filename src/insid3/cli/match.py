"""The command insid3 match."""

import json
from pathlib import Path
from typing import Annotated

import typer

from insid3.cli import app
from insid3.cli.options import ModelOptions, check_writable, with_options


@app.command()
@with_options
def match(
    target: Annotated[Path, typer.Argument(help="Picture in which to find the points.", show_default=False)],
    reference: Annotated[
        Path, typer.Option("--reference", "-r", help="Picture in which the points are known.", show_default=False)
    ],
    points: Annotated[
        str,
        typer.Option("--points", "-p", help="Points in the reference: 'x,y x,y ...', in pixels.", show_default=False),
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Picture file to draw the matches into.")
    ] = None,
    debias: Annotated[
        bool, typer.Option("--debias/--no-debias", help="Match debiased tokens (the paper's) or raw ones.")
    ] = True,
    model: ModelOptions,
) -> None:
    """Find points of one picture in another, and print them as JSON with their places and similarities.

    insid3 match --reference boat.jpg --points "417,180 300,220" target.jpg -o plot.jpg
    """
    from insid3.errors import ConfigError
    from insid3.imaging.points import parse_points

    try:
        known = [list(point) for point in parse_points(points)]
    except ConfigError as error:
        raise ConfigError(f"--{error}") from None
    if output is not None:
        from PIL import Image

        if Image.registered_extensions().get(output.suffix.lower()) not in Image.SAVE:
            raise ConfigError(f"--output must end in .jpg, .png or another picture format, got {output}")
        check_writable(output.parent)
    loaded = model.load()
    found = loaded.match(target, loaded.concept(reference), known, debias=debias)
    rows = [
        {"point": point, "x": round(float(x), 2), "y": round(float(y), 2), "similarity": round(float(similarity), 4)}
        for point, (x, y), similarity in zip(known, found.xy, found.similarity, strict=True)
    ]
    lines = ",\n  ".join(map(json.dumps, rows))  # one match per line
    names = json.dumps({"reference": str(reference), "target": str(target)}).removesuffix("}")
    typer.echo(f'{names}, "matches": [\n  {lines}\n]}}')
    if output is not None:
        import numpy as np

        from insid3.imaging.draw import matches
        from insid3.imaging.read import read_image
        from insid3.storage import write_picture

        plot = Image.fromarray(matches(read_image(reference), read_image(target), np.array(known), found.xy))
        write_picture(output, plot)
