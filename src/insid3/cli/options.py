"""Groups of options that several commands share, and the options of the model."""

import inspect
import os
import warnings
from collections.abc import Callable
from dataclasses import Field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

import typer

from insid3.batch.ray_pool import Pool
from insid3.cli.terminal import printable
from insid3.config import About, Config, Preset, default_of, flag, kind_of
from insid3.errors import ConfigError

if TYPE_CHECKING:
    from insid3.model import INSID3


def option(panel: str, *flags: str, help: str, **more: Any) -> Any:
    """Return an option in a panel of `--help`."""
    return typer.Option(*flags, help=help, rich_help_panel=panel, **more)


class OptionGroup:
    """Options that a command takes as one parameter: each field of the dataclass is one, its type says how it is given.

    >>> @dataclass(frozen=True)
    ... class Size(OptionGroup):
    ...     width: Annotated[int, option("Size", "--width", help="In pixels.")] = 100
    """

    @classmethod
    def parameters(cls) -> list[inspect.Parameter]:
        """Return the options as parameters of a command."""
        return [_parameter(own.name, own.type, own.default) for own in fields(cls)]  # type: ignore[arg-type]


def with_options(command: Callable[..., None], without: tuple[str, ...] = ()) -> Callable[..., None]:
    """Replace each parameter of a command whose type is an `OptionGroup` by the options of the group.

    Args:
        without: options of the groups that the command does not have.
    """
    parameters, groups = [], {}
    for own in inspect.signature(command).parameters.values():
        is_group = isinstance(own.annotation, type) and issubclass(own.annotation, OptionGroup)
        found = [each for each in own.annotation.parameters() if each.name not in without] if is_group else [own]
        parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in found]
        if is_group:
            groups[own.name] = own.annotation, [each.name for each in found]

    def wrapper(**options: Any) -> None:
        made = {name: group(**{each: options.pop(each) for each in names}) for name, (group, names) in groups.items()}
        command(**options, **made)

    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
    wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
    return wrapper


def _parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _model_option(name: str, kind: Any, default: Any, help: str, *flags: str, **more: Any) -> inspect.Parameter:
    return _parameter(name, Annotated[kind, option("Model", *(flags or (f"--{name}",)), help=help, **more)], default)


def _setting(own: Field[Any]) -> inspect.Parameter:
    kind, about = kind_of(own), own.metadata["about"]
    both = flag(own.name) + (f"/--no-{own.name.replace('_', '-')}" if kind is bool else "")
    shown = option("Settings of the method", both, help=help_of(about), show_default=default_of(own))
    taken = kind if kind in (int, float, bool) or get_origin(kind) is Literal else str
    return _parameter(own.name, Annotated[taken | None, shown], None)


def help_of(about: About) -> str:
    """Return the sentence that `--help` and the docs have for a setting."""
    return f"Field: {about.help[0].lower()}{about.help[1:]}" if about.of_field else about.help


_MODEL = [
    _model_option("backbone", str, "dinov2-vits14", "A name from 'insid3 backbones'; dinov3-vitl16 is the paper's."),
    _model_option(
        "preset",
        Preset | None,
        None,
        "published: equal to the authors' code; plus: better masks, see docs/accuracy.md.",
        show_default="published",
    ),
    _model_option(
        "weights", Path | None, None, "Weights file (.pth, .safetensors) or folder of transformers, instead of the hub."
    ),
    _model_option("device", str, "auto", "auto, cpu, cuda, cuda:1, mps."),
    _model_option("dtype", str, "auto", "auto (float32 on CPUs), float32, bfloat16, float16."),
    _model_option(
        "engine",
        str,
        "auto",
        "auto (openvino on CPUs, if installed), torch, openvino; with segment and evaluate also ray: workers on this "
        "machine, or on the cluster at RAY_ADDRESS (ray:torch, ray:openvino).",
    ),
    _model_option(
        "threads", int | None, None, "CPU threads, of each worker if there are any.", show_default="all; of workers 4"
    ),
    _model_option(
        "workers", int | None, None, "Processes of --engine ray.", show_default="as many as there is room for"
    ),
    *map(_setting, fields(Config)),
    _model_option("quiet", bool, False, "Show errors only.", "--quiet", "-q"),
    _model_option("verbose", bool, False, "Show a line for every target, and Python warnings.", "--verbose", "-v"),
]


class ModelOptions(OptionGroup):
    """Hold what the options say about the model. Loading waits until `load`.

    Attributes:
        workers: processes of --engine ray; None for any other engine.
    """

    def __init__(self, **options: Any) -> None:
        self.quiet, self.verbose = options.pop("quiet"), options.pop("verbose")
        if self.quiet and self.verbose:
            raise ConfigError("--quiet and --verbose exclude each other")
        self._threads = options.pop("threads")
        if self._threads is not None and self._threads < 1:
            raise ConfigError(f"--threads must be 1 or more, got {self._threads}")
        workers = options.pop("workers")
        self.workers: Pool | None = None
        where, _, within = options["engine"].partition(":")
        if where == "ray":
            self.workers = Pool(workers, self._threads, options["device"])
            options["engine"] = within or "auto"
        elif workers is not None:
            raise ConfigError("--workers goes with --engine ray")
        self._options = options

    @classmethod
    def parameters(cls) -> list[inspect.Parameter]:
        """Return the options as parameters of a command."""
        return _MODEL

    def given(self, name: str) -> Any:
        """Return the value of an option; None if the user left it out."""
        return self._options[name]

    def loader(self) -> "Callable[[], INSID3]":
        """Return a function that loads the model, in this process or in another."""
        from insid3.model import INSID3

        return partial(INSID3.from_pretrained, **self._options)

    def load(self, *, for_workers: bool = False) -> "INSID3":
        """Load the model.

        Args:
            for_workers: the command can give its work to workers.

        Raises:
            ConfigError: a setting is invalid, or the command cannot use the workers that were asked for.
        """
        from insid3.backbones import find

        if self.workers and not for_workers:
            raise ConfigError("--engine ray goes with segment and evaluate")
        found = find(self._options["backbone"])
        if found.defaults is not None:
            given = {name: self._options[name] for name in ("preset", *(own.name for own in fields(Config)))}
            found.defaults.configs(**given)  # a typo need not wait for torch
        if self._threads:
            import torch

            torch.set_num_threads(self._threads)
        if self.quiet:
            warnings.simplefilter("ignore")
        elif not self.verbose:
            warnings.formatwarning = lambda message, *_: f"insid3: {printable(message)}\n"
        model = self.loader()()
        origin = getattr(model.encoder, "origin", None)
        if self._options["weights"] and origin is not None and not self.quiet:
            typer.echo(printable(f"insid3: {origin}"), err=True)
        return model


def check_writable(folder: Path) -> None:
    """Check that results can be written to a folder, before hours of work.

    Raises:
        ConfigError: they cannot.
    """
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ConfigError(f"cannot write to {folder}: {existing} is not a folder that you may write to")
