"""Products of many rows with many columns, in blocks that fit into memory."""

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

NUMBERS = 2**22  #: held at once by a block's result (16 MB) ...
_ROWS = 512  # ... and its most rows: what follows on a product is faster while that lies in a cache

_SIGNS = (
    "out of memory", "not enough memory",
    "alloc",  # "can't allocate", "bad_alloc", ...
    "could not create a primitive", "could not create a memory object",  # oneDNN's
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine or a device ran out of memory: CPUs and OpenVINO raise a bare RuntimeError."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def give_back() -> None:
    """Let glibc return what was freed: fragments of its heap may leave no room for the next try. Elsewhere nothing."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def in_blocks(rows: Tensor, columns: int, compute: Callable[[Tensor], Any]) -> list[Any]:
    """`compute` of one block of rows after the other; the blocks get smaller when memory runs out.

    Args:
        columns: numbers that `compute` holds for each row.
    """
    size = max(1, min(_ROWS, NUMBERS // max(1, columns)))
    start, results = 0, []
    while start < len(rows):
        try:
            results.append(compute(rows[start : start + size]))
            start += size
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            size = max(1, min(size, len(rows)) // 2)
    return results
