"""Attempts by hand; see the package."""

import argparse
import sys
import tempfile
from pathlib import Path

import hostile


def _main() -> int:
    parser = argparse.ArgumentParser("python -m hostile")
    parser.add_argument("kind", nargs="?", help="all of them if not given")
    parser.add_argument("--seed", type=int, default=hostile.SEED)
    parser.add_argument("--count", type=int, default=hostile.COUNT)
    parser.add_argument("--only", type=int, help="the number of one attempt, made in this process")
    given = parser.parse_args()
    found = 0
    for kind in [given.kind] if given.kind else sorted(hostile.kinds()):
        folder = Path(tempfile.mkdtemp(prefix=f"hostile-{kind}-"))
        if given.only is not None:
            for at, (did, call) in enumerate(hostile.made(kind, folder, given.seed, max(given.count, given.only + 1))):
                if at == given.only:
                    print(f"{did}; its files are in {folder}")  # noqa: T201
                    print(call())  # noqa: T201
                    return 0
        account = hostile.run(kind, folder, given.seed, given.count)
        print(f"{kind}: {account}\n{account.explain()}", flush=True)  # noqa: T201
        found += len(account.findings)
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(_main())
