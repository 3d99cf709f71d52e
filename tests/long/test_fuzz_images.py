"""Ten thousand damaged and hostile files against the two readers."""

import sys
from pathlib import Path

import pytest

import corpus


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_ten_thousand_damaged_files(tmp_path: Path, pictures: dict[str, Path]) -> None:
    """Accepted or refused by name: no other exception, warning or output, no hang, no gigabyte. See corpus.py."""
    account = corpus.run(pictures["lion"], 10_000, 2026, tmp_path)
    print(account)  # noqa: T201
    assert account["images accepted"] > 2000
    assert account["masks accepted"] > 800
