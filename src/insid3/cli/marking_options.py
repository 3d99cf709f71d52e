"""The options of `segment` and `video` that say what is marked and written."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insid3.cli.options import OptionGroup, option
from insid3.cli.terminal import printable
from insid3.errors import ConfigError

if TYPE_CHECKING:
    from insid3.batch.options import Box, Options

MARKED, WRITTEN, RUN = "What is marked", "What is written", "The run"

Formats = Annotated[
    str | None,
    option(WRITTEN, "--format", help="Formats of annotations to write to <output>/export: see insid3 convert --help."),
]
Overwrite = Annotated[bool, option(RUN, "--overwrite", help="Replace another run's results in the output folder.")]


@dataclass(frozen=True)
class MarkingOptions(OptionGroup):
    """Hold what the options say about the masks of a target."""

    overlaps: Annotated[
        str,
        option(
            MARKED, "--overlap", help="Pixels that several concepts claim go to the most similar one (best) or to all."
        ),
    ] = "best"
    min_area: Annotated[
        int | None,
        option(
            MARKED,
            "--min-area",
            help="Drop parts of fewer pixels.",
            show_default="one patch with --preset plus or --instances, else 0",
        ),
    ] = None
    fill_holes: Annotated[bool, option(MARKED, "--fill-holes", help="Fill the holes of masks.")] = False
    ignore: Annotated[
        Path | None,
        option(MARKED, "--ignore", help="Mask of pixels that are never marked, or a folder of masks named as results."),
    ] = None
    roi: Annotated[
        str | None, option(MARKED, "--roi", help="x0,y0,x1,y1 in pixels: the only part of each target to look at.")
    ] = None
    instances: Annotated[
        bool, option(MARKED, "--instances", help="List the connected parts, with box, area and score.")
    ] = False

    def options(self, **more: Any) -> "Options":
        """Return the options of a run, with `more` of them.

        Raises:
            ConfigError: an option is invalid.
        """
        from insid3.batch.options import Options

        return Options(
            overlap=self.overlaps,
            min_area=self.min_area,
            fill_holes=self.fill_holes,
            ignore=self.ignore,
            roi=_parse_box(self.roi),
            instances=self.instances,
            **more,
        )


def parse_formats(text: str | None) -> list[str]:
    """Return the formats that `--format` names.

    Raises:
        ConfigError: a format is unknown.
        MissingExtraError: a format needs packages that are not installed.
    """
    if text is None:
        return []
    from insid3.batch.formats import ENTRIES
    from insid3.batch.formats.polygons import check_packages

    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in ENTRIES]:
        raise ConfigError(f"unknown format {unknown[0]!r}; known: {', '.join(ENTRIES)}")
    if any(ENTRIES[name].needs_extra for name in names):
        check_packages()
    return names


def export_formats(output: Path, formats: list[str], *, quiet: bool) -> None:
    """Write the results of a run to <output>/export in these formats, and say what a format could not keep."""
    from insid3.batch.convert import convert

    for each in formats:
        for note in convert(output, each, output / "export" / each):
            if not quiet:
                typer.echo(printable(f"{each}: {note}"), err=True)


def _parse_box(text: str | None) -> "Box | None":
    if text is None:
        return None
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 4 or not all(number.isdecimal() for number in numbers):
        raise ConfigError(f"--roi is x0,y0,x1,y1 in whole pixels, got {text!r}")
    x0, y0, x1, y1 = map(int, numbers)
    return x0, y0, x1, y1
