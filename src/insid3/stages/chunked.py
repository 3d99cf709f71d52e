"""Large products, computed in blocks of rows that fit into memory."""

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

NUMBERS = 2**22  #: the most numbers in the result of a block (16 MB)
_ROWS = 512  # of a block at most: the steps after a product are faster while its result lies in a CPU cache

_SIGNS = (
    "out of memory", "not enough memory",
    "alloc",  # "can't allocate", "bad_alloc", ...
    "could not create a primitive", "could not create a memory object",  # oneDNN's
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out: CPUs and OpenVINO raise a bare RuntimeError then.

    Example:
        >>> is_out_of_memory(RuntimeError("can't allocate memory")), is_out_of_memory(RuntimeError("no such device"))
        (True, False)
    """
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def give_back() -> None:
    """Make glibc return freed memory to the system, since fragments may leave no room for another try.

    Do nothing where the C library is another one.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def in_blocks(rows: Tensor, columns: int, compute: Callable[[Tensor], Any]) -> list[Any]:
    """Call `compute` on one block of rows after another and return its results; halve the blocks when memory runs out.

    Args:
        rows: (n, ...), split along the first axis.
        columns: how many numbers `compute` holds for each row.

    Example:
        >>> in_blocks(torch.arange(3), NUMBERS // 2, lambda block: block.tolist())
        [[0, 1], [2]]
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
