"""Options of a command in a TOML file: read, and written for each run."""

import difflib
import glob
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from insid3.errors import ConfigError
from insid3.storage import write_text

_NOT_KEPT = ("config", "overwrite", "dry_run", "quiet", "verbose", "shard")


def _read(context: typer.Context, path: Path | None) -> Path | None:
    if path is None or context.resilient_parsing:
        return path
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from error
    known = {_name(parameter): parameter for parameter in context.command.params}
    defaults: dict[str, Any] = {}
    for name, value in values.items():
        parameter = known.get(name.replace("_", "-"))
        if parameter is None or parameter.name in ("config", None):
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{path} has an unknown entry {name!r}; {hint}")
        several = getattr(parameter, "multiple", False) or parameter.nargs == -1
        if isinstance(value, dict) or isinstance(value, list) != several:
            raise ConfigError(f"{path}: {name} must be {'a list' if several else 'one value'}, got {value!r}")
        defaults[str(parameter.name)] = value
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


Option = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML file of options by their long names; the command line goes first. <output>/run.toml is one.",
        callback=_read,
        is_eager=True,
        rich_help_panel="The run",
    ),
]


def write(path: Path, context: typer.Context) -> None:
    """What the user said, so that `--config` of it does the same from any folder.

    Raises:
        OutputError: it cannot be written.
    """
    lines = [f"# insid3 {context.command.name} --config {path.name}"]
    for parameter in context.command.params:
        source, value = context.get_parameter_source(str(parameter.name)), context.params.get(str(parameter.name))
        given = source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP", "ENVIRONMENT")
        if given and value is not None and parameter.name not in _NOT_KEPT:
            line = f"{_name(parameter)} = {_toml(_absolute(value, parameter))}"
            is_text = line.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in line)
            lines.append(line if is_text else f"# {_name(parameter)}: left out, TOML holds no names that are not UTF-8")
    write_text(path, "\n".join(lines) + "\n")


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name)
    return max(parameter.opts, key=len).removeprefix("--")


def _absolute(value: Any, parameter: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_absolute(one, parameter) for one in value]
    is_path = isinstance(value, Path) or (parameter.name in ("targets", "source") and value != "-")
    if not is_path:
        return value
    if isinstance(value, str) and glob.has_magic(value) and not Path(value).exists():
        return os.path.join(glob.escape(os.path.abspath("")), value)
    return os.path.abspath(value)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")  # a string of TOML as of JSON
