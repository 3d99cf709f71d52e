"""Thousands of damaged and hostile annotation files of each format."""

import os
import sys
from pathlib import Path

import pytest

import fuzz_annotations

COUNT = int(os.environ.get("INSID3_FUZZ", "3000"))  #: changes of valid files, of each format


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize("kind", fuzz_annotations.FOREIGN)
def test_damaged_files_cost_what_is_damaged(kind: str, tmp_path: Path) -> None:
    """Masks, a report of what was left out, or one error: nothing else, no hang, no two gigabytes."""
    account = fuzz_annotations.run(kind, COUNT, 2026, tmp_path, 800)
    print(kind, account)  # noqa: T201
    assert account["read"] > COUNT // 10  # what was changed did not matter, or is right too
    assert account["reported"] > COUNT // 10
    assert account["refused"] > COUNT // 30
