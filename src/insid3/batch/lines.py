"""The files of a run: run.json with its settings and results.jsonl with a line for each target, checked when read."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from math import isfinite
from pathlib import Path, PurePath
from typing import Any

from insid3.checks.parsing import check_ends, clipped, parsing, read_content
from insid3.errors import DataError

SETTINGS, RESULTS = "run.json", "results.jsonl"

Kinds = dict[str, tuple[str, tuple[type, ...]]]
_NONE = type(None)
_KINDS = {dict: "an object", list: "a list"}
_FOLDER: Kinds = {"folder": ("text", (str,))}
_TARGET: Kinds = {"target": ("text", (str,))}
_NEEDED: Kinds = {
    "mask": ("text or null", (str, _NONE)),
    "score": ("a number or null", (int, float, _NONE)),
    "area": ("a whole number or null", (int, _NONE)),
    "reason": ("text or null", (str, _NONE)),
    "error": ("text or null", (str, _NONE)),
}
_CONCEPT: Kinds = {name: _NEEDED[name] for name in ("score", "area", "reason")}
_INSTANCE: Kinds = {"concept": ("text", (str,)), "score": ("a number", (int, float))}


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings of the run that made an output folder; DataError if run.json is missing or damaged."""
    file = folder / SETTINGS
    if not file.exists():
        raise DataError(f"{folder} is no output folder of insid3 segment: it holds no {SETTINGS}")
    with parsing(file, "settings of insid3"):
        settings = _json_of(read_content(file), str(file))
        if not isinstance(settings, dict):
            raise DataError(f"{file} must hold settings, an object, not {_shown(settings)}")
        _check({"folder": "", **settings}, _FOLDER, str(file))
        return settings


def last_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the last line of each target in the results of a folder, in the order in which the lines were written.

    Raises:
        DataError: a line has no target. A last line that was cut off does not count.
    """
    yield from (line for _, line in _last(folder))


def last_results(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the last line of each target as `last_lines` does; DataError if a line lacks a value of a result."""
    for where, result in _last(folder):
        _check(result, _NEEDED, where)
        for key, of, kinds in (("concepts", dict, _CONCEPT), ("instances", list, _INSTANCE)):
            entries = result.get(key) or of()
            if not isinstance(entries, of):
                raise DataError(f'{where}: "{key}" must be {_KINDS[of]}, not {_shown(entries)}')
            for entry in entries.values() if isinstance(entries, dict) else entries:
                _check(entry if isinstance(entry, dict) else {}, kinds, f"{where}, {key}")
        for mask in masks_of(result):
            path = PurePath(mask) if isinstance(mask, str) and "\0" not in mask else PurePath()
            if not path.name or {*path.parts} & {"..", "/"}:
                raise DataError(f'{where}: "mask" must be the path of a file below the folder, not {_shown(mask)}')
        if result["error"] is None and (result["area"] is None or not masks_of(result)):
            raise DataError(f'{where}: where "error" is null there must be an "area" and a "mask"')
        yield result


def masks_of(line: Mapping[str, Any]) -> list[str]:
    """Return the mask files of a result: one, or with overlapping masks one for each concept; none of a failure."""
    apart = line.get("concepts") or {}
    return [line["mask"]] if line["mask"] else [entry["mask"] for entry in apart.values() if "mask" in entry]


def _last(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the last line of each target, after its file and number for messages."""
    files = [folder / RESULTS, *sorted(folder.glob("results.*-of-*.jsonl"))]
    last: dict[str, int] = {}
    for number, (_, line) in enumerate(one for file in files for one in _read(file)):
        last[line["target"]] = number
    for number, (where, line) in enumerate(one for file in files for one in _read(file)):
        if last[line["target"]] == number:
            yield where, line


def _read(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not file.exists():
        return
    with parsing(file, "results of insid3"), ExitStack() as opened:
        check_ends(file)
        lines = opened.enter_context(file.open("rb"))
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\n") and line.strip():  # editors leave empty lines
                where = f"results of {file.parent} are damaged: {file.name}, line {number}"
                result = _json_of(line, f"{where},")
                if not isinstance(result, dict):
                    raise DataError(f"{where}, must hold an object, not {_shown(result)}")
                _check(result, _TARGET, where)
                yield where, result


def _check(values: Mapping[str, Any], kinds: Kinds, where: str) -> None:
    for name, (kind, types) in kinds.items():
        if name not in values:
            raise DataError(f'{where}: "{name}" is missing, it must be {kind}')
        value = values[name]
        if not isinstance(value, types) or isinstance(value, bool) or (type(value) is float and not isfinite(value)):
            raise DataError(f'{where}: "{name}" must be {kind}, not {_shown(values[name])}')


def _json_of(content: bytes, where: str) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        detail = f"{error.msg[0].lower()}{error.msg[1:]} in line {error.lineno}, column {error.colno}"
    except UnicodeDecodeError:
        detail = "it is not UTF-8"
    except (RecursionError, ValueError):
        detail = "it nests too deeply, or holds numbers that are too long"
    raise DataError(f"{where} is no JSON: {detail}")


def _shown(value: Any) -> str:
    """Show a value as JSON in a message, shortened."""
    return clipped(json.dumps(value), 60)
