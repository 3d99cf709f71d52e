"""The command line: it parses arguments. Commands import torch when they need it, never for help."""

import sys
from contextlib import suppress
from importlib import import_module
from typing import Annotated

import typer

from insid3 import __version__
from insid3.cli.terminal import accept_any_name, printable, send_output
from insid3.errors import Insid3Error

#: Modules, in the order of the help.
COMMANDS = ("segment", "video", "concept", "results", "match", "page", "evaluate", "export", "doctor")

app = typer.Typer(
    name="insid3",
    help="Mark a concept in any picture from one example, without training (INSID3, CVPR 2026).",
    epilog="""[bold]Examples[/bold]

    insid3 app

    insid3 segment --reference cat.jpg --mask cat_mask.png photos/ -o out/

    insid3 concept --reference cat.jpg --mask cat_mask.png -o cat.insid3

    insid3 segment --concept cat.insid3 one.jpg two.jpg -o out/

    insid3 video clip.mp4 --concept cat.insid3 --every 5 --memory 2 -o out/

    insid3 review out/

    insid3 convert out/ --to coco -o coco/

    insid3 match --reference boat.jpg --points "417,180 300,220" target.jpg -o plot.jpg

    insid3 evaluate coco --data-root /data -o out/

    "insid3 COMMAND --help" lists all options, with defaults.
    """,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"insid3 {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; expected errors become one line on standard error and exit status 2."""
    accept_any_name()
    for commands in COMMANDS:
        import_module(f"insid3.cli.{commands}")
    try:
        try:
            app()
        finally:
            send_output()
    except (Insid3Error, OSError) as error:
        lines = f"insid3: {_told(error)}".split("\n  ")  # some messages list names, a line each
        with suppress(OSError):  # standard error may be closed
            typer.echo("\n  ".join(map(printable, lines)), err=True)
        sys.exit(2)


def _told(error: Exception) -> str:
    """Return the message of an error, without the operating system's number for it."""
    if isinstance(error, Insid3Error) or not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
