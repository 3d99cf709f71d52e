"""Write the tables of settings in README.md and docs/settings.md from the metadata of `Config`'s fields.

`python .ci/settings.py` writes them, `--check` exits with 1 if one is stale.
"""

import sys
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from insid3.cli.options import help_of
from insid3.config import About, Config, default_of, flag, kind_of

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- settings: made by `make settings` -->", "<!-- end of settings -->"
_WORDS = {int: "whole number", float: "number", bool: "on or off"}


def short_table() -> str:
    """Return the table of the README: name, default and meaning."""
    rows = [f"| `{own.name}` | {default_of(own)} | {help_of(_about(own))} |" for own in fields(Config)]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def full_table() -> str:
    """Return the table of docs/settings.md, with options, symbols, sections of the paper and values too."""
    head = "| setting | option | symbol | paper | values | default | meaning |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *map(_row, fields(Config))])


def with_table(text: str, table: str) -> str:
    """Return a page with another table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"a page lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


PAGES: dict[str, Callable[[], str]] = {"README.md": short_table, "docs/settings.md": full_table}


def stale(root: Path = ROOT) -> list[str]:
    """Return the pages whose table is not the one that `Config` gives."""
    texts = {name: (root / name).read_text("utf-8") for name in PAGES}
    return [name for name, text in texts.items() if text != with_table(text, PAGES[name]())]


def write(root: Path = ROOT) -> None:
    """Write the tables into the pages."""
    for name, table in PAGES.items():
        path = root / name
        path.write_text(with_table(path.read_text("utf-8"), table()), "utf-8")


def _row(own: Field[Any]) -> str:
    about, option = _about(own), flag(own.name)
    both = f"`{option}`, `--no-{option[2:]}`" if own.type is bool else f"`{option}`"
    meaning = " ".join(filter(None, (help_of(about), about.more)))
    cells = f"`{own.name}`", both, about.symbol, about.section, _values(own), default_of(own), meaning
    return f"| {' | '.join(cells)} |"


def _values(own: Field[Any]) -> str:
    kind, about = kind_of(own), _about(own)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    words = _WORDS.get(kind, "two numbers, the lower first")
    if about.quantity:
        return f"{words} in [{about.low}, {about.high}]"
    return f"{words}, {about.low} or more" if about.low > float("-inf") else words


def _about(own: Field[Any]) -> About:
    about: About = own.metadata["about"]
    return about


if __name__ == "__main__":
    if "--check" in sys.argv[1:] and (names := stale()):
        sys.exit(f"stale: {', '.join(names)}; run 'make settings'")
    if "--check" not in sys.argv[1:]:
        write()
