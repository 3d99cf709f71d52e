"""The process in which attempts are made: python -m hostile.worker KIND FOLDER SEED COUNT START.

It writes a line of JSON before and after each attempt. Everything that the attempts print goes nowhere.
"""

import faulthandler
import json
import logging
import os
import re
import resource
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from hostile import GROWTH, made
from insid3.errors import Insid3Error

_NOT_FOR_USERS = re.compile(
    r"Traceback|NoneType|\b[A-Z][a-z]\w+(Error|Exception)\b|[:(] ?b['\"]|\bb['\"][^'\"]*\\x|<class|object at 0x"
)
_MOST = 4000  #: characters of a message


def outcome(call: Callable[[], object]) -> str:
    """Return "read", "refused", or a finding in words."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            call()
            came = "read"
        except Insid3Error as error:
            came = _complaint(error) or "refused"
        except Exception as error:
            came = f"{type(error).__name__}: {str(error)[:200]!r}{_place(error)}"
    odd = [str(warning.message) for warning in told if issubclass(warning.category, RuntimeWarning)]
    return f"numpy warns: {odd[0]}" if came in ("read", "refused") and odd else came


def _complaint(error: Insid3Error) -> str:
    """Return what is wrong with the message of an error of the right class."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return f"needs more than {GROWTH // 2**30} GB{_place(cause)}"
        cause = cause.__cause__ or cause.__context__
    text = str(error)
    if not text or len(text) > _MOST or _NOT_FOR_USERS.search(text):
        return f"says {text[:300]!r} ({len(text)} characters){_place(error)}"
    return ""


def _place(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/insid3/" in frame.filename]
    frames = frames or traceback.extract_tb(error.__traceback__)[-1:]
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def limit_memory(growth: int = GROWTH) -> None:
    """Let this process take so many bytes of address space more than it has now."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    allowed = int(status["VmSize"].split()[0]) * 1024 + growth
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))


def _main(kind: str, folder: str, seed: str, count: str, start: str) -> None:
    faulthandler.enable()
    logging.disable()
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for at, (did, call) in enumerate(made(kind, Path(folder), int(seed), int(count))):
        if at == 0:
            limit_memory()
        if at < int(start):
            continue
        print(json.dumps({"at": at, "did": did}), file=told)
        print(json.dumps({"came": outcome(call)}), file=told)
    told.flush()
    os._exit(0)  # decoders that were left half way need not be torn down


if __name__ == "__main__":
    _main(*sys.argv[1:])
