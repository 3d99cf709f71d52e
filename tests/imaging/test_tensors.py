"""Tensors as pictures and masks: every order and type of torchvision's, and words for what is none."""

import numpy as np
import pytest
import torch
from torch import Tensor

from insid3 import ImageError
from insid3.imaging.masks import read_mask
from insid3.imaging.read import read_image
from stubs import box_mask, scene

BOX = (16, 16, 48, 48)
PICTURE = scene(BOX, size=(64, 80))
HWC = torch.from_numpy(PICTURE.copy())
CHW = HWC.permute(2, 0, 1)


@pytest.mark.parametrize(
    "tensor",
    [
        HWC, CHW, CHW.contiguous(), CHW.float() / 255, HWC.double() / 255, (CHW.float() / 255).requires_grad_(),
        torch.cat([CHW, CHW[:1]]),  # RGBA
    ],
)  # fmt: skip
def test_pictures(tensor: Tensor) -> None:
    assert np.array_equal(read_image(tensor), PICTURE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds(dtype: torch.dtype) -> None:
    found = read_image((CHW.float() / 255).to(dtype))
    assert np.abs(found.astype(int) - PICTURE).max() <= 1


@pytest.mark.parametrize("grey", [HWC[..., 0], HWC[..., :1], CHW[:1]])
def test_grey_pictures(grey: Tensor) -> None:
    assert np.array_equal(read_image(grey), np.repeat(PICTURE[..., :1], 3, axis=2))


def test_where_both_orders_are_possible_channels_come_first() -> None:
    narrow = torch.arange(3 * 5 * 4, dtype=torch.uint8).view(3, 5, 4)
    assert np.array_equal(read_image(narrow), narrow.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (CHW[None], r"tensor of shape \(1, 3, 64, 80\): expected one picture .*`encode_many` takes several"),
        (CHW.float(), r"holds numbers from \d+ to \d+: expected uint8, or floats in \[0, 1\] before they are normalis"),
        (CHW.float() / 255 - 0.5, "holds numbers from -0"),
        (CHW.float() * float("nan"), "holds numbers from nan"),
        (torch.zeros(3, 0, 4), "holds nothing"),
        (CHW.long(), "holds int64 values"),
        (torch.zeros(2, 5, 7, dtype=torch.uint8), "expected"),
        (torch.tensor(3), "expected one picture"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(tensor: Tensor, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(tensor)


MASK = torch.from_numpy(box_mask(*BOX, size=(64, 80)))


@pytest.mark.parametrize("tensor", [MASK, MASK[None], MASK[..., None], MASK.float(), MASK.half(), MASK.byte() * 255])
def test_masks(tensor: Tensor) -> None:
    assert np.array_equal(read_mask(tensor, (64, 80)), MASK.numpy())
