"""Broken and hostile input of every kind: read or refused in words, within two gigabytes and a minute. See hostile."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hostile
import traps

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="limits the address space"),
]
#: "SEED" or "SEED:COUNT": other inputs than always, for nightly runs
SEED, COUNT = (
    int(given or default)
    for given, default in zip(
        f"{os.environ.get('INSID3_FUZZ', '')}:".split(":")[:2], (hostile.SEED, hostile.COUNT), strict=True
    )
)


@pytest.mark.parametrize("kind", sorted(hostile.kinds()))
def test_hostile_input_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    account = hostile.run(kind, tmp_path, SEED, COUNT)
    print(f"{kind}, seed {SEED}: {account}")  # noqa: T201
    assert not account.findings, account.explain()
    assert account.read + account.refused == COUNT
    assert account.read > 0  # what was changed did not matter, or is right too
    assert account.refused > COUNT // 50


def test_small_files_that_ask_for_much(tmp_path: Path) -> None:
    """Within a gigabyte and ten seconds each, see traps.py."""
    command = [sys.executable, traps.__file__, str(tmp_path)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=hostile.own()).stdout)
    assert len(told) > 60
    for name, (came, seconds) in told.items():
        assert came in ("read", "refused"), f"{name}: {came}"
        assert seconds < 10, name
    assert all(told[name][0] == "read" for name in traps.FILES)
