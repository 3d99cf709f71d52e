"""insid3 video, insid3 frames."""

from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from insid3.cli.progress import work_through
from insid3.cli.segment import (
    FillHoles,
    Formats,
    Ignore,
    Instances,
    MinArea,
    Overlaps,
    Overwrite,
    Roi,
    export,
    option,
    parse_box,
    parse_formats,
)
from insid3.cli.terminal import printable
from insid3.config import Config
from insid3.errors import ConfigError, ImageError, OutputError

if TYPE_CHECKING:
    from insid3.batch.passed import Passed
    from insid3.video.frames import Frames

_WHICH, _MEMORY, _OUTPUT = "Which frames", "What was seen before", "What is written"
Every = Annotated[int, option(_WHICH, "--every", help="Every n-th frame.")]
Begin = Annotated[str | None, option(_WHICH, "--from", help="Seconds (4.8), minutes (1:04.8) or a frame (120f).")]
End = Annotated[str | None, option(_WHICH, "--to", help="As --from; that frame is the last one.")]
_FPS = "Frames per second of {}; a file that says itself when its frames are shown is not changed."


@app.command(
    epilog="Exit status: 0 all done, 1 some frames failed, 2 wrong usage, 130 stopped. A second run continues the "
    "first. Needs PyAV: the extra 'video'."
)
@with_model
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
    every: Every = 1,
    begin: Begin = None,
    end: End = None,
    fps: Annotated[
        float | None,
        option(_WHICH, "--fps", help=_FPS.format("a folder of frames, or of a raw stream"), show_default="25"),
    ] = None,
    memory: Annotated[
        int,
        option(_MEMORY, "--memory", help="Confident earlier frames, at most, as further examples; 2 is a good number."),
    ] = 0,
    memory_score: Annotated[
        float, option(_MEMORY, "--memory-score", help="Score, against the example, of frames that are remembered.")
    ] = 0.6,
    memory_gap: Annotated[
        int, option(_MEMORY, "--memory-gap", help="Frames of the source between two that are remembered.")
    ] = 12,
    overlaps: Overlaps = "best",
    min_area: MinArea = None,
    fill_holes: FillHoles = False,
    ignore: Ignore = None,
    roi: Roi = None,
    instances: Instances = False,
    film: Annotated[bool, option(_OUTPUT, "--film/--no-film", help="Write overlay.mp4.")] = True,
    frames: Annotated[
        bool, option(_OUTPUT, "--frames", help="Write the frames as frames/NUMBER.jpg, as annotation tools want them.")
    ] = False,
    formats: Formats = None,
    config: runfile.Option = None,
    overwrite: Overwrite = False,
) -> None:
    """Mark the concept of an example, or several, in every frame of a video.

    Writes NUMBER.png for each frame, overlay.mp4, concepts.json, and a line per
    frame in results.jsonl. With --format the frames are written too.

        insid3 frames clip.mp4 --every 100 -o to_label/

        insid3 video clip.mp4 --reference to_label/000000.png --mask mask.png -o out/ --memory 2
    """
    from insid3.batch.options import Options
    from insid3.batch.passed import Passed

    options = Options(
        overlap=overlaps,
        min_area=min_area,
        fill_holes=fill_holes,
        ignore=ignore,
        roi=parse_box(roi),
        instances=instances,
        overlays=False,
    )
    chosen = parse_formats(formats)
    check_writable(output)

    from insid3.batch.runner import Run
    from insid3.labels import numbered
    from insid3.video.film import film as write_film
    from insid3.video.frames import in_order, marked, overlays
    from insid3.video.memory import Bank, Memory

    bank = Bank(memory, memory_score, memory_gap) if memory else None
    passed = Passed()
    found = _frames(source, output, every, begin, end, fps, model, passed, kept=frames or bool(chosen))
    if found.note and not model.quiet:
        typer.echo(printable(found.note), err=True)
    loaded = model.load()
    concepts = make_concepts(
        loaded, reference, mask, concept, label, from_coco, image, category, negative, name, boxes_as_masks
    )
    labels = numbered(concepts)
    if bank:
        Memory(loaded, concepts, bank)  # whether there can be one, before anything is written
    run = Run(
        loaded, concepts, found.targets, output, options, overwrite=overwrite,
        engine=partial(in_order, loaded, found, bank),
        memory={"most": memory} | ({**asdict(bank), "every": every, "from": begin} if bank else {}),
    )  # fmt: skip
    runfile.write(output / "run.toml", context)
    failed = work_through(run, model, " and ".join(entry.name for entry in labels[:3]), overwrite, passed)
    if film:
        shown = marked(found, run.work)
        length = found.length - found.time(shown[0]) if shown else None
        pictures = overlays(found, run.work)
        count = write_film(output / "overlay.mp4", pictures, found.rate / every, found.aspect, length)
        if count and not model.quiet:
            typer.echo(printable(f"{output / 'overlay.mp4'}: {count} frames"), err=True)
    export(output, chosen, quiet=model.quiet)
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
    """Write frames of a video as pictures, to label one of them.

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
    source: str, output: Path, every: int, begin: str | None, end: str | None, fps: float | None, model: Model,
    passed: "Passed", *, kept: bool,
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
    """Whether a source is one file of moving pictures; else it says where pictures are."""
    from insid3.batch.names import exists
    from insid3.batch.passed import VIDEOS
    from insid3.images import SUFFIXES
    from insid3.video.animation import is_animated

    path = Path(source)
    if not exists(path):
        return path.suffix.lower() in VIDEOS
    if path.suffix.lower() in SUFFIXES:
        return is_animated(path)
    return not path.is_dir() and path.suffix.lower() != ".txt"
