"""What is on disk of a run: its settings, and a line for each target. Read with care: people edit them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from insid3.errors import DataError

SETTINGS, RESULTS = "run.json", "results.jsonl"

Kinds = dict[str, tuple[str, tuple[type, ...]]]
_NONE = type(None)
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
    """Read what run.json says of a folder's run.

    Raises:
        DataError: missing or damaged; names the file.
    """
    file = folder / SETTINGS
    try:
        settings = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{folder} is no output folder of insid3 segment: it holds no {SETTINGS}") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{file} is no JSON: {_of_json(error)}") from error
    if not isinstance(settings, dict):
        raise DataError(f"{file} must hold settings, an object, not {_shown(settings)}")
    return settings


def last_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """The last line of each target in the results of a folder, in the order in which they were written.

    Raises:
        DataError: a line without a target, by file and number; one that was cut off at the end does not count.
    """
    yield from (line for _, line in _last(folder))


def last_results(folder: Path) -> Iterator[dict[str, Any]]:
    """As `last_lines`, with all that a result must hold.

    Raises:
        DataError: a line that is no result; says what it must hold.
    """
    for where, result in _last(folder):
        _check(result, _NEEDED, where)
        for key, kinds in (("concepts", _CONCEPT), ("instances", _INSTANCE)):
            entries = result.get(key) or []
            for entry in entries.values() if isinstance(entries, dict) else entries:
                _check(entry if isinstance(entry, dict) else {}, kinds, f"{where}, {key}")
        if result["error"] is None and (result["area"] is None or not masks_of(result)):
            raise DataError(f'{where}: where "error" is null there must be an "area" and a "mask"')
        yield result


def masks_of(line: Mapping[str, Any]) -> list[str]:
    """The mask files of a result: one, or with overlapping masks one for each concept; none of a failure."""
    apart = line.get("concepts") or {}
    return [line["mask"]] if line["mask"] else [entry["mask"] for entry in apart.values() if "mask" in entry]


def _last(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The last line of each target, and where it is."""
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
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\n"):
                where = f"results of {file.parent} are damaged: {file.name}, line {number}"
                try:
                    result = json.loads(line)
                except ValueError as error:
                    raise DataError(f"{where}, is no JSON: {_of_json(error)}") from error
                if not isinstance(result, dict):
                    raise DataError(f"{where}, must hold an object, not {_shown(result)}")
                _check(result, _TARGET, where)
                yield where, result


def _check(values: Mapping[str, Any], kinds: Kinds, where: str) -> None:
    for name, (kind, types) in kinds.items():
        if name not in values:
            raise DataError(f'{where}: "{name}" is missing, it must be {kind}')
        if not isinstance(values[name], types) or isinstance(values[name], bool):
            raise DataError(f'{where}: "{name}" must be {kind}, not {_shown(values[name])}')


def _of_json(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[0].lower()}{error.msg[1:]} in line {error.lineno}, column {error.colno}"
    return "it is not UTF-8"


def _shown(value: Any) -> str:
    """A value as JSON writes it, not too long."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
