"""Options of a command in a TOML file, which is read for --config and written for each run."""

import difflib
import glob
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote_to_bytes

import typer

from insid3.errors import ConfigError
from insid3.storage import write_text

_ADDRESS = "file://"
_OF_NUMBERS = ("stretch", "roi")  # texts of numbers, which may be lists in TOML
_NOT_KEPT = ("config", "overwrite", "dry_run", "quiet", "verbose", "shard")


def _read(context: typer.Context, path: Path | None) -> Path | None:
    if path is None or context.resilient_parsing:
        return path
    from insid3.checks.parsing import clipped, parsing, read_content  # numpy is no part of --help

    with parsing(path, "TOML", ConfigError):
        try:
            values = tomllib.loads(read_content(path).decode("utf-8-sig"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read as TOML: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} cannot be read as TOML: it is not UTF-8 (byte {error.start})") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path} cannot be read as TOML: {error}") from error
    known = {_name(parameter): parameter for parameter in context.command.params}
    defaults: dict[str, Any] = {}
    for name, value in values.items():
        parameter = known.get(name.replace("_", "-"))
        if parameter is None or parameter.name in ("config", None):
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{path} has an unknown entry {clipped(repr(name))}; {hint}")
        several = getattr(parameter, "multiple", False) or parameter.nargs == -1
        if parameter.name in _OF_NUMBERS and isinstance(value, list):
            value = ",".join(map(str, value))
        if isinstance(value, dict) or isinstance(value, list) != several:
            raise ConfigError(
                f"{path}: {name} must be {'a list' if several else 'one value'}, got {clipped(repr(value))}"
            )
        defaults[str(parameter.name)] = _from_address(value)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML file of options by their long names, such as <output>/run.toml; the command line goes first.",
        callback=_read,
        is_eager=True,
        rich_help_panel="The run",
    ),
]


def write(path: Path, context: typer.Context) -> None:
    """Write the options that the user gave, so that `--config` of the file does the same from any folder.

    Raises:
        OutputError: the file cannot be written.
    """
    lines = [f"# insid3 {context.command.name} --config {path.name}"]
    for parameter in context.command.params:
        source, value = context.get_parameter_source(str(parameter.name)), context.params.get(str(parameter.name))
        given = source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP", "ENVIRONMENT")
        if given and value is not None and parameter.name not in _NOT_KEPT:
            line = f"{_name(parameter)} = {_toml(_absolute(value, parameter))}"
            lines.append(line if _is_text(line) else f"# {_name(parameter)}: left out, TOML holds only UTF-8")
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
    if isinstance(value, str) and glob.has_magic(value) and not os.path.lexists(value):
        whole = os.path.join(glob.escape(os.path.abspath("")), value)
    else:
        whole = os.path.abspath(value)
    return whole if _is_text(whole) else f"{_ADDRESS}{quote(os.fsencode(whole))}"


def _from_address(value: Any) -> Any:
    """Return the path of an address; addresses stand for paths whose bytes are no text, which TOML cannot hold."""
    if isinstance(value, list):
        return [_from_address(one) for one in value]
    is_address = isinstance(value, str) and value.startswith(_ADDRESS)
    return os.fsdecode(unquote_to_bytes(value.removeprefix(_ADDRESS))) if is_address else value


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return json.dumps(str(value), ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # TOML writes strings as JSON does, but for this character
