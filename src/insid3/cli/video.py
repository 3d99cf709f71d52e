"""The commands insid3 video and insid3 frames."""

from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from insid3.cli import app, config_file
from insid3.cli.example_options import ExampleOptions
from insid3.cli.marking_options import WRITTEN, Formats, MarkingOptions, Overwrite, export_formats, parse_formats
from insid3.cli.options import ModelOptions, check_writable, option, with_options
from insid3.cli.progress import mark_targets
from insid3.cli.terminal import printable
from insid3.config import Config
from insid3.errors import ConfigError, ImageError, OutputError

if TYPE_CHECKING:
    from insid3.batch.passed import Passed
    from insid3.video.frames import Frames

_WHICH, _MEMORY = "Which frames", "Memory of earlier frames"
Every = Annotated[int, option(_WHICH, "--every", help="Take every n-th frame.")]
Begin = Annotated[
    str | None, option(_WHICH, "--from", help="First frame: seconds (4.8), minutes (1:04.8), number (120f).")
]
End = Annotated[str | None, option(_WHICH, "--to", help="Last frame, given as --from.")]
_FPS = "Frames per second of {}; a file that has times of its own keeps them."


@app.command(
    epilog="Exit status: 0 all done, 1 some frames failed, 2 wrong usage, 130 stopped. The same command "
    "continues a run. Needs PyAV: the extra 'video'."
)
@with_options
def video(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="A video file, or an animated GIF, PNG or WebP; or frames: a folder, a pattern, a list (.txt).",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for masks, video and results.jsonl.", show_default=False)
    ],
    *,
    example: ExampleOptions,
    every: Every = 1,
    begin: Begin = None,
    end: End = None,
    fps: Annotated[
        float | None,
        option(_WHICH, "--fps", help=_FPS.format("a folder of frames, or of a raw stream"), show_default="25"),
    ] = None,
    memory: Annotated[
        int,
        option(
            _MEMORY,
            "--memory",
            help="Number of confident earlier frames, at most, to use as further examples; 2 is a good number.",
        ),
    ] = 0,
    memory_score: Annotated[
        float,
        option(_MEMORY, "--memory-score", help="Least score, against the example, of a remembered frame."),
    ] = 0.6,
    memory_gap: Annotated[
        int, option(_MEMORY, "--memory-gap", help="Least number of frames between two remembered ones.")
    ] = 12,
    marking: MarkingOptions,
    film: Annotated[bool, option(WRITTEN, "--film/--no-film", help="Write overlay.mp4.")] = True,
    frames: Annotated[
        bool, option(WRITTEN, "--frames", help="Write the frames as frames/NUMBER.jpg, for annotation tools.")
    ] = False,
    formats: Formats = None,
    config: config_file.ConfigOption = None,
    overwrite: Overwrite = False,
    model: ModelOptions,
) -> None:
    """Mark the concept of an example, or several, in every frame of a video.

    Writes NUMBER.png for each frame, overlay.mp4, concepts.json, and results.jsonl
    with a line for each frame. With --format the frames are written too.

        insid3 frames clip.mp4 --every 100 -o to_label/

        insid3 video clip.mp4 --reference to_label/000000.png --mask mask.png -o out/ --memory 2
    """
    from insid3.batch.passed import Passed

    options = marking.options(overlays=False)
    chosen = parse_formats(formats)
    check_writable(output)

    from insid3.batch.runner import Run
    from insid3.label_map import numbered
    from insid3.video.film import film as write_film
    from insid3.video.frames import mark_in_order, marked, overlays
    from insid3.video.memory import Memory, MemoryConfig

    remembered = MemoryConfig(memory, memory_score, memory_gap) if memory else None
    passed = Passed()
    found = _frames(source, output, every, begin, end, fps, model, passed, kept=frames or bool(chosen))
    if found.note and not model.quiet:
        typer.echo(printable(found.note), err=True)
    loaded = model.load()
    concepts = example.concepts(loaded)
    labels = numbered(concepts)
    if remembered:
        Memory(loaded, concepts, remembered)  # fails before anything is written if there can be none
    run = Run(
        loaded, concepts, found.targets, output, options, overwrite=overwrite,
        engine=partial(mark_in_order, loaded, found, remembered),
        memory={"most": memory} | ({**asdict(remembered), "every": every, "from": begin} if remembered else {}),
    )  # fmt: skip
    config_file.write(output / "run.toml", context)
    failed = mark_targets(run, model, " and ".join(entry.name for entry in labels[:3]), overwrite, passed)
    if film:
        shown = marked(found, run.work)
        length = found.length - found.time(shown[0]) if shown else None
        pictures = overlays(found, run.work)
        count = write_film(output / "overlay.mp4", pictures, found.rate / every, found.aspect, length)
        if count and not model.quiet:
            typer.echo(printable(f"{output / 'overlay.mp4'}: {count} frames"), err=True)
    export_formats(output, chosen, quiet=model.quiet)
    raise typer.Exit(1 if failed else 0)


@app.command(
    "frames", epilog="Exit status: 0 all written, 1 some frames cannot be read. Needs PyAV: the extra 'video'."
)
def write_frames(
    source: Annotated[Path, typer.Argument(help="A video file.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for NUMBER.png.", show_default=False)],
    every: Every = 1,
    begin: Begin = None,
    end: End = None,
    fps: Annotated[
        float | None, option(_WHICH, "--fps", help=_FPS.format("a raw stream"), show_default="its own, or 25")
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-pixels", help="Refuse frames with more pixels than this.", show_default=str(Config.max_pixels)
        ),
    ] = None,
) -> None:
    """Write frames of a video as pictures, to draw a mask on one of them.

    insid3 frames clip.mp4 --from 1:30 --every 100 -o to_label/
    """
    from PIL import Image

    from insid3.storage import write_picture
    from insid3.video.clip import Clip, chosen

    check_writable(output)
    clip, written = Clip(source, _most(max_pixels), _rate(fps)), 0
    wanted = chosen(clip.expected, clip.at, every, begin, end, None if clip.is_cut_off else clip.length)
    held = [index for index in wanted if index < len(clip.moments)]
    for index, picture in clip.pictures(held):
        if isinstance(picture, ImageError):
            typer.echo(printable(f"failed {picture}"), err=True)
        else:
            write_picture(output / f"{index:06d}.png", Image.fromarray(picture))
            written += 1
    missing = clip.missing() if clip.is_cut_off and held != wanted else ""
    told = f"{written} frames of {len(clip.moments)}, {float(clip.rate):.4g} per second: {output}"
    for line in filter(None, (clip.note, missing, told)):
        typer.echo(printable(line), err=True)
    raise typer.Exit(0 if written == len(wanted) else 1)


def _frames(
    source: str, output: Path, every: int, begin: str | None, end: str | None, fps: float | None,
    model: ModelOptions,    passed: "Passed", *, kept: bool,
) -> "Frames":  # fmt: skip
    from insid3.batch.sources import find_targets
    from insid3.video.clip import Clip, chosen
    from insid3.video.frames import ClipFrames, PictureFrames, natural

    rate, most = _rate(fps), _most(model.given("max_pixels"))
    if _is_video(source):
        path = Path(source)
        if path.resolve().parent == output.resolve():
            raise OutputError(f"{source} lies in the output folder {output}: use another one")
        clip = Clip(path, most, rate)
        indices = chosen(clip.expected, clip.at, every, begin, end, None if clip.is_cut_off else clip.length)
        return ClipFrames(clip, indices, output / "frames" if kept else None)
    targets = sorted(find_targets([source], output, passed), key=lambda target: natural(target.name))
    rate = rate or Fraction(25)
    indices = chosen(len(targets), lambda seconds: int(seconds * rate), every, begin, end, float(len(targets) / rate))
    return PictureFrames(targets, indices, rate, most, model.given("stretch"))


def _rate(fps: float | None) -> Fraction | None:
    if fps is None:
        return None
    if not 0.001 <= fps <= 1000:
        raise ConfigError(f"--fps must lie between 0.001 and 1000 frames per second, got {fps:g}")
    return Fraction(fps).limit_denominator(1001)


def _most(max_pixels: int | None) -> int:
    if max_pixels is not None and max_pixels < 1:
        raise ConfigError(f"--max-pixels must be 1 or more, got {max_pixels}")
    return Config.max_pixels if max_pixels is None else max_pixels


def _is_video(source: str) -> bool:
    """Tell whether a source is one file of moving pictures; else the source says where pictures are."""
    from insid3.batch.names import exists
    from insid3.batch.passed import VIDEOS
    from insid3.imaging.read import SUFFIXES
    from insid3.video.animation import is_animated

    path = Path(source)
    if not exists(path):
        return path.suffix.lower() in VIDEOS
    if path.suffix.lower() in SUFFIXES:
        return is_animated(path)
    return not path.is_dir() and path.suffix.lower() != ".txt"
