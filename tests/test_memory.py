"""When memory runs out: smaller blocks, then an error that names a size that fits."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from insid3 import INSID3, Config
from insid3.errors import SizeError
from insid3.features import encoded
from insid3.stages.chunked import in_blocks, is_out_of_memory
from stubs import ColourEncoder, box_mask, colour_model, scene


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:224: std::bad_alloc"),
        RuntimeError("Check 'ptr' failed at src/cpu_memory.cpp:257:\nFailed to allocate 98228736 bytes"),
        RuntimeError("could not create a primitive"),
        RuntimeError("[CPU] Subgraph node with name 'blocks.0.attn/Transpose' can't alloc"),
        RuntimeError("MPS backend out of memory (MPS allocated: 18.00 GB)"),
    ],
)
def test_the_sign_of_each_device(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_other_errors_are_no_memory_errors() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_real_allocation_that_fails() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert is_out_of_memory(caught.value)


def test_blocks_shrink_until_they_fit() -> None:
    rows, sizes = torch.arange(100), []

    def compute(block: Tensor) -> Tensor:
        sizes.append(len(block))
        if len(block) > 10:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return block * 2

    assert torch.cat(in_blocks(rows, 1, compute)).equal(rows * 2)
    assert sizes[:5] == [100, 50, 25, 12, 6]
    assert max(sizes[4:]) == 6


def test_one_row_that_does_not_fit_and_other_errors_are_raised() -> None:
    def never(block: Tensor) -> Tensor:
        raise MemoryError

    def wrong(block: Tensor) -> Tensor:
        raise RuntimeError("shapes")

    with pytest.raises(MemoryError):
        in_blocks(torch.arange(3), 1, never)
    with pytest.raises(RuntimeError, match="shapes"):
        in_blocks(torch.arange(3), 1, wrong)


class SmallMachine(ColourEncoder):
    """Has memory for pictures up to 40 pixels a side."""

    def __call__(self, images: Tensor, layers: Sequence[int] = (-1,), *, float32: bool = False) -> tuple[Tensor, ...]:
        if images.shape[-1] > 40:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return super().__call__(images, layers, float32=float32)


def test_a_size_that_fits_is_tried_out_and_named() -> None:
    model = INSID3(SmallMachine(), Config(size=96, rank=2, tau=0.9))
    with pytest.raises(SizeError, match=r"size 96 needs more memory than cpu has; size=28 \(--size 28\) fits"):
        model.encode(scene())
    fits = INSID3(SmallMachine(), Config(size=28, rank=2, tau=0.9))
    assert fits.segment(scene((0, 0, 32, 32)), fits.concept(scene((8, 8, 40, 40)), box_mask(8, 8, 40, 40))).mask.any()


def test_other_errors_of_the_encoder_pass_through() -> None:
    class Broken(ColourEncoder):
        def __call__(self, *arguments: object, **options: object) -> tuple[Tensor, ...]:
            raise RuntimeError("shapes")

    with pytest.raises(RuntimeError, match="shapes"):
        INSID3(Broken(), Config(size=32, rank=2, tau=0.9)).encode(scene())


def test_no_memory_to_resize_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(encoded, "resize_image", full)
    with pytest.raises(SizeError, match="no memory is left to resize a picture to 32 px: use a smaller size"):
        colour_model().encode(scene((0, 0, 8, 8)))
