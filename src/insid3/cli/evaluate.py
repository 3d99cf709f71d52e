"""The commands insid3 evaluate and insid3 report."""

import re
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from insid3.cli import app
from insid3.cli.evaluate_progress import run_episodes, summary, tell
from insid3.cli.options import ModelOptions, check_writable, option, with_options
from insid3.cli.terminal import printable
from insid3.config import Config, flag
from insid3.errors import ConfigError

if TYPE_CHECKING:
    from insid3.eval.predict import Predictor

_EVALUATED, _RUN = "What is evaluated", "How it is run"


@app.command(epilog="Exit status: 0 all done, 1 some episodes failed, 2 wrong usage. The same command continues a run.")
@with_options
def evaluate(
    *,
    datasets: Annotated[
        list[str] | None,
        typer.Argument(
            help="coco lvis pascal_part paco_part isic lung isaid suim permis spair, episodes:DIR, folder:DIR.",
            show_default=False,
        ),
    ] = None,
    data_root: Annotated[
        Path | None, option(_EVALUATED, "--data-root", help="Folder that holds the published data sets.")
    ] = None,
    output: Annotated[Path | None, option(_EVALUATED, "--output", "-o", help="Folder for results and report.")] = None,
    fold: Annotated[
        str, option(_EVALUATED, "--fold", help="all, or the number of one; -1 is COCO's 80 classes at once.")
    ] = "all",
    shots: Annotated[
        int | None,
        option(
            _EVALUATED, "--shots", help="References per episode.", show_default="1; with episodes:DIR all that it has"
        ),
    ] = None,
    seed: Annotated[
        int, option(_EVALUATED, "--seed", help="Seed of the episodes' random draws.", min=0, max=2**32 - 1)
    ] = 0,
    ignore_index: Annotated[
        str | None,
        option(
            _EVALUATED,
            "--ignore-index",
            metavar="N|none",
            help="With folder:DIR, value of masks that does not count; none: all above 0 is the object.",
            show_default="255 where it stands beside other labels, else none",
        ),
    ] = None,
    limit: Annotated[
        int | None, option(_EVALUATED, "--limit", help="Take only the first N episodes of each list.", min=1)
    ] = None,
    episodes: Annotated[
        Path | None, option(_EVALUATED, "--episodes", help="Saved list of episodes, instead of data sets.")
    ] = None,
    episodes_out: Annotated[
        Path | None, option(_EVALUATED, "--episodes-out", help="File to save the list of episodes to, as JSON.")
    ] = None,
    export_episodes: Annotated[
        Path | None,
        option(_EVALUATED, "--export-episodes", help="Folder for pictures, masks and list, for another program."),
    ] = None,
    check: Annotated[bool, option(_EVALUATED, "--check", help="Look for the data sets' files, then exit.")] = False,
    method: Annotated[
        str,
        option(
            _RUN,
            "--method",
            help="insid3, nearest (backward matching alone), prototype (similarity threshold alone).",
        ),
    ] = "insid3",
    predictions: Annotated[
        Path | None,
        option(_RUN, "--predictions", help="Folder of another program's masks to score, ID.png for each episode."),
    ] = None,
    protocol: Annotated[
        Literal["published", "paper"],
        option(
            _RUN, "--protocol", help="published: the released code's defaults; paper: with its CRF at the model's size."
        ),
    ] = "published",
    score_at: Annotated[
        Literal["model", "original"],
        option(
            _RUN,
            "--score-at",
            help="Size at which masks are scored: the model's square (published) or the target's.",
        ),
    ] = "model",
    sweep: Annotated[
        list[str] | None,
        option(
            _RUN, "--sweep", help="Values of a grid, tau=0.5,0.6,0.7 or method=nearest,insid3; repeat for more axes."
        ),
    ] = None,
    transductive: Annotated[
        bool,
        option(
            _RUN,
            "--transductive",
            help="Let the targets of a class help each other, as segment --together does; reported as another setting.",
        ),
    ] = False,
    masks: Annotated[bool, option(_RUN, "--masks/--no-masks", help="Keep the predicted masks.")] = True,
    keep_features: Annotated[
        int,
        option(_RUN, "--keep-features", help="Megabytes for features of pictures that come again.", min=0),
    ] = 1000,
    overwrite: Annotated[
        bool, option(_RUN, "--overwrite", help="Replace another run's results in the output folder.")
    ] = False,
    model: ModelOptions,
) -> None:
    """Run a benchmark: the paper's data sets, or your own.

    Episodes are drawn as the published evaluation draws them, before any is run.
    Writes results.json, report.md, report.html, episodes.json, and results.jsonl
    with a line for each episode.

        insid3 evaluate coco isic --data-root /data -o out/

        insid3 evaluate episodes:mine/ -o out/ --sweep tau=0.5,0.6,0.7
    """
    from rich.console import Console

    from insid3.eval import datasets as sets
    from insid3.eval import episodes as lists_of
    from insid3.eval.reader import Readers
    from insid3.eval.run import Evaluation, check_files

    console = Console(stderr=True)
    if check:
        raise typer.Exit(_check(datasets or list(sets.DATASETS), data_root))
    if bool(datasets) == (episodes is not None):
        raise ConfigError("say what to evaluate: data sets (see --help), or --episodes FILE")
    if output is None and episodes_out is None and export_episodes is None:
        raise ConfigError(
            "nothing to do: give -o DIR to run, --episodes-out FILE or --export-episodes DIR to only draw"
        )
    for folder in (output, export_episodes, episodes_out and episodes_out.parent):
        if folder is not None:
            check_writable(folder)
    max_pixels = model.given("max_pixels") or Config.max_pixels
    readers = Readers(data_root, max_pixels)
    variants = _variants(model, method, protocol, sweep or [], predictions, transductive)
    if episodes is not None:
        if fold != "all" or shots is not None or seed:
            raise ConfigError("--episodes holds drawn episodes: leave out --fold, --shots and --seed")
        if ignore_index is not None:
            raise ConfigError("--episodes says what is ignored: leave out --ignore-index")
        lists = sets.checked([each.first(limit) for each in lists_of.load(episodes)])
    else:
        lists = sets.draw(
            datasets or [],
            readers,
            fold=_fold(fold),
            shots=shots,
            seed=seed,
            limit=limit,
            ignore_index=_ignore_index(ignore_index),
        )
    count = sum(len(each.episodes) for each in lists)
    if not model.quiet:
        for each in lists:
            for note in [*each.notes, *(f"left out: class {cls} {why}" for cls, why in each.left_out.items())]:
                typer.echo(printable(f"{each.set}: {note}"), err=True)
        console.print(f"{count} episodes, hash {lists_of.digest_of(lists)}", highlight=False)
    if episodes_out is not None:
        lists_of.save(lists, episodes_out)
    if export_episodes is not None:
        from insid3.eval.export import export

        if output is not None and output.resolve() == export_episodes.resolve():
            raise ConfigError("-o and --export-episodes both write episodes.json: give them different folders")
        check_files(lists, readers)
        export(lists, readers, export_episodes)
    if output is None:
        return

    from insid3.eval.companions import Companions
    from insid3.eval.outputs import write_outputs
    from insid3.eval.report import check_installed
    from insid3.eval.sweep_predictors import model_predictors

    check_installed()
    if transductive and any(each.has_points for each in lists):
        raise ConfigError("--transductive is about masks, spair has points: leave it out")
    if predictions is not None:
        if any(each.has_points for each in lists):
            raise ConfigError("--predictions holds masks, spair has points: leave it out")
        from insid3.eval.predict import FolderPredictor

        predictors: dict[str, Predictor] = {".": FolderPredictor(predictions, score_at, max_pixels)}
    else:
        if {each["method"] for each in variants.values()} != {"insid3"} and any(each.has_points for each in lists):
            raise ConfigError("the other methods make masks, spair has points: leave it out")
        grid: dict[str, Any] = {
            "variants": variants,
            "paper": protocol == "paper",
            "score_at": score_at,
            "keep": keep_features * 2**20,
            "companions": Companions(lists, readers) if transductive else None,
        }
        loaded = model.load(for_workers=True)
        predictors = model_predictors(lambda: loaded, **grid)
    with Evaluation(predictors, lists, output, readers, masks=masks, overwrite=overwrite) as evaluation:
        elsewhere = None
        if model.workers and predictions is None:
            from insid3.batch.ray_engine import encoder_identity, same_encoder
            from insid3.eval.ray_engine import evaluate_on_ray

            load = partial(same_encoder, model.loader(), encoder_identity(loaded.encoder))
            elsewhere = partial(evaluate_on_ray, partial(model_predictors, load, **grid), evaluation, model.workers)
        run_episodes(evaluation.run(elsewhere), console, quiet=model.quiet, verbose=model.verbose)
        found = write_outputs(evaluation, limit)
    if not model.quiet:
        tell(found, output)
        typer.echo(summary(found, evaluation.totals), err=True)
    raise typer.Exit(1 if any(numbers["errors"] for numbers in found.values()) else 0)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="One folder of insid3 evaluate, or two.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, .md or .html; both are written.")
    ] = None,
) -> None:
    """Show a run, or compare two on the episodes that both have: difference, interval, win rate.

    insid3 report out/ other/
    """
    from insid3.eval import compare, report

    if len(runs) > 2:
        raise ConfigError(f"report shows one run or compares two, got {len(runs)}")
    if output is not None:
        if output.suffix not in (".md", ".html"):
            raise ConfigError(f"-o {output}: the report is written as NAME.md and NAME.html, give one of them")
        report.check_installed()
    text = compare.text_of(*runs) if len(runs) == 2 else compare.text_of_one(runs[0])
    typer.echo("\n".join(map(printable, text.rstrip().splitlines())))
    if output is not None:
        report.write_report(output.parent, output.stem, text)


def _fold(text: str) -> int | None:
    if text == "all":
        return None
    if not re.fullmatch("-?[0-9]+", text):
        raise ConfigError(f"--fold must be 'all' or a number, got {text!r}")
    return int(text)


def _ignore_index(text: str | None) -> int | Literal["auto", "none"]:
    if text is None:
        return "auto"
    if text == "none":
        return "none"
    if not re.fullmatch("[0-9]{1,5}", text):
        raise ConfigError(f"--ignore-index must be a value of masks, such as 255, or 'none', got {text!r}")
    return int(text)


def _check(names: list[str], data_root: Path | None) -> int:
    """Print which parts of the data sets are there; return 1 if one is missing, else 0."""
    from insid3.eval.datasets import DATASETS, check

    if data_root is None:
        raise ConfigError("--check needs the folder that holds the data sets: --data-root DIR")
    missing = False
    for name in names:
        found = check(name, data_root)
        typer.echo(f"{DATASETS[name].title} ({name})")
        for part, count in found:
            published = f" (published: {part.count})" if part.count not in (None, count) else ""
            typer.echo(f"  {'ok     ' if count else 'MISSING'} {part.pattern}: {count} {part.what}{published}")
        missing |= not all(count for _, count in found)
    return int(missing)


def _variants(
    model: ModelOptions, method: str, protocol: str, sweep: list[str], predictions: Path | None, transductive: bool
) -> dict[str, dict[str, Any]]:
    """Return settings and method of each predictor, by the folder of its results.

    Raises:
        ConfigError: a name is unknown, or options exclude each other.
    """
    from insid3.eval.sweep import grid
    from insid3.methods import METHODS

    variants = {name: {"method": method, **own} for name, own in (grid(sweep) if sweep else {".": {}}).items()}
    given = [field.name for field in fields(Config) if model.given(field.name) is not None]
    given += [name for changes in variants.values() for name in changes if name != "method"]
    preset = model.given("preset") == "plus"
    if preset and protocol == "paper":
        raise ConfigError("--protocol paper is of the published method: leave out --preset plus")
    if preset and {str(changes["method"]) for changes in variants.values()} - {"insid3"}:
        raise ConfigError("--preset plus is of insid3, not of the other methods: leave it out, or --method")
    if predictions is not None:
        taken = {"--sweep": bool(sweep), "--method": method != "insid3", "--protocol": protocol != "published"}
        taken["--transductive"] = transductive
        taken["--preset"] = preset
        own = [name for name, is_given in taken.items() if is_given]
        own += [flag(name) for name in dict.fromkeys(given) if name != "max_pixels" and not sweep]
        if own:
            raise ConfigError(f"--predictions holds masks that are made: leave out {', '.join(own)}")
    if unknown := {str(changes["method"]) for changes in variants.values()} - METHODS.keys():
        raise ConfigError(f"unknown method {min(unknown)!r}: use {', '.join(METHODS)}")
    if transductive and {changes["method"] for changes in variants.values()} != {"insid3"}:
        raise ConfigError("the other methods mark each target alone: leave them out, or --transductive")
    refinement = [name for name in ("refine", "solver", "crf_size") if name in given]
    if protocol == "paper" and refinement:
        raise ConfigError(f"--protocol paper sets the refinement itself: leave out {', '.join(map(flag, refinement))}")
    return variants
