"""insid3 evaluate, insid3 report."""

import re
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from insid3.cli import app
from insid3.cli.evaluating import summary, tell, work_through
from insid3.cli.options import Model, check_writable, with_model
from insid3.cli.terminal import printable
from insid3.config import Config
from insid3.errors import ConfigError

if TYPE_CHECKING:
    from insid3.eval.predict import Predictor

_WHAT, _HOW = "What is evaluated", "How it is run"


@app.command(epilog="Exit status: 0 all done, 1 some episodes failed, 2 wrong usage. A second run continues the first.")
@with_model
def evaluate(
    model: Model,
    datasets: Annotated[
        list[str] | None,
        typer.Argument(
            help="coco lvis pascal_part paco_part isic lung isaid suim permis spair, episodes:DIR, folder:DIR.",
            show_default=False,
        ),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder that holds the published data sets.", rich_help_panel=_WHAT)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for results and report.", rich_help_panel=_WHAT),
    ] = None,
    fold: Annotated[
        str, typer.Option(help="all, or one; -1 is COCO's 80 classes at once.", rich_help_panel=_WHAT)
    ] = "all",
    shots: Annotated[
        int | None,
        typer.Option(
            help="References of an episode.", show_default="1; for episodes:DIR all that it has", rich_help_panel=_WHAT
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of the episodes' random draws.", min=0, max=2**32 - 1, rich_help_panel=_WHAT)
    ] = 0,
    ignore_index: Annotated[
        str | None,
        typer.Option(
            "--ignore-index",
            metavar="N|none",
            help="Of folder:DIR: value of masks that counts neither for nor against; none: all above 0 is the object.",
            show_default="255 where it stands beside other labels, else none",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Only the first N episodes of each list.", min=1, rich_help_panel=_WHAT)
    ] = None,
    episodes: Annotated[
        Path | None, typer.Option(help="A saved list of episodes in the place of data sets.", rich_help_panel=_WHAT)
    ] = None,
    episodes_out: Annotated[
        Path | None, typer.Option(help="Save the list of episodes as JSON.", rich_help_panel=_WHAT)
    ] = None,
    export_episodes: Annotated[
        Path | None,
        typer.Option(help="Write pictures, masks and list for another program.", rich_help_panel=_WHAT),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Look for the data sets' files, then leave.", rich_help_panel=_WHAT)
    ] = False,
    method: Annotated[
        str,
        typer.Option(
            help="insid3, nearest (backward matching alone), prototype (similarity above the threshold).",
            rich_help_panel=_HOW,
        ),
    ] = "insid3",
    predictions: Annotated[
        Path | None,
        typer.Option(help="Score another program's masks: a folder with ID.png of each episode.", rich_help_panel=_HOW),
    ] = None,
    protocol: Annotated[
        Literal["published", "paper"],
        typer.Option(
            help="published: the released code's defaults; paper: with its CRF at the model's size.",
            rich_help_panel=_HOW,
        ),
    ] = "published",
    score_at: Annotated[
        Literal["model", "original"],
        typer.Option(
            help="Size at which masks are scored: the model's square (published) or the target's.", rich_help_panel=_HOW
        ),
    ] = "model",
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            help="A grid, as tau=0.5,0.6,0.7 or method=nearest,insid3; repeat for more axes.", rich_help_panel=_HOW
        ),
    ] = None,
    transductive: Annotated[
        bool,
        typer.Option(
            "--transductive",
            help="The targets of a class help each other, as with segment --together: a setting of its own.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    masks: Annotated[
        bool, typer.Option("--masks/--no-masks", help="Keep the predicted masks.", rich_help_panel=_HOW)
    ] = True,
    keep_features: Annotated[
        int, typer.Option(help="Megabytes for features of pictures that come again.", min=0, rich_help_panel=_HOW)
    ] = 1000,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace another run's results in the output folder.", rich_help_panel=_HOW),
    ] = False,
) -> None:
    """Run a benchmark: the paper's data sets, or your own.

    Episodes are drawn as the published evaluation draws them, before any runs.
    Writes results.json, report.md, report.html, episodes.json, and a line for
    each episode into results.jsonl.

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
    from insid3.eval.predictors import model_predictors
    from insid3.eval.report import check_installed

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
        loaded = model.load(spreads=True)
        predictors = model_predictors(lambda: loaded, **grid)
    with Evaluation(predictors, lists, output, readers, masks=masks, overwrite=overwrite) as evaluation:
        elsewhere = None
        if model.pool and predictions is None:
            from insid3.batch.remote import made_with, same_encoder
            from insid3.eval.remote import remote

            load = partial(same_encoder, model.loader(), made_with(loaded.encoder))
            elsewhere = partial(remote, partial(model_predictors, load, **grid), evaluation, model.pool)
        work_through(evaluation.run(elsewhere), console, quiet=model.quiet, verbose=model.verbose)
        found = write_outputs(evaluation, limit)
    if not model.quiet:
        tell(found, output)
        typer.echo(summary(found, evaluation.told), err=True)
    raise typer.Exit(1 if any(numbers["errors"] for numbers in found.values()) else 0)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="One folder of insid3 evaluate, or two.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the report: a .md or .html file, it becomes both.")
    ] = None,
) -> None:
    """Show a run, or compare two runs on the episodes that both have: difference, interval, win rate.

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
    """Print which parts of the data sets are there; 1 if one is not."""
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
    model: Model, method: str, protocol: str, sweep: list[str], predictions: Path | None, transductive: bool
) -> dict[str, dict[str, Any]]:
    """What each predictor's settings and method are, by the folder of its results.

    Raises:
        ConfigError: unknown names, or options that exclude each other.
    """
    from insid3.eval.methods import METHODS
    from insid3.eval.sweep import grid

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
        own = [flag for flag, is_given in taken.items() if is_given]
        own += [_flag(name) for name in dict.fromkeys(given) if name != "max_pixels" and not sweep]
        if own:
            raise ConfigError(f"--predictions holds masks that are made: leave out {', '.join(own)}")
    if unknown := {str(changes["method"]) for changes in variants.values()} - METHODS.keys():
        raise ConfigError(f"unknown method {min(unknown)!r}: use {', '.join(METHODS)}")
    if transductive and {changes["method"] for changes in variants.values()} != {"insid3"}:
        raise ConfigError("the other methods mark each target alone: leave them out, or --transductive")
    refinement = [name for name in ("refine", "solver", "crf_size") if name in given]
    if protocol == "paper" and refinement:
        raise ConfigError(f"--protocol paper sets the refinement itself: leave out {', '.join(map(_flag, refinement))}")
    return variants


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
