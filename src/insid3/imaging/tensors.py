"""Tensors given as pictures or masks, turned into arrays."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from insid3.errors import ImageError

_CHANNELS = (1, 3, 4)


@runtime_checkable
class TensorLike(Protocol):
    """A torch tensor, without importing torch."""

    def detach(self) -> Any: ...

    def is_floating_point(self) -> bool: ...

    def numpy(self) -> Any: ...


def picture_array(tensor: TensorLike, name: str) -> Shaped[np.ndarray, "H W ..."]:
    """Return a picture as an array (H, W[, C]) of whole numbers; floats in [0, 1] become 0 to 255.

    Args:
        tensor: (C, H, W), (H, W, C) or (H, W), on any device. Where both orders are possible, channels come first.

    Raises:
        ImageError: the tensor is a batch, or holds floats outside [0, 1].
    """
    array = _array(tensor, name)
    if array.dtype.kind != "f":
        return array
    if not array.size or not (array.min() >= 0 and array.max() <= 1):
        span = f"numbers from {array.min():.3g} to {array.max():.3g}" if array.size else "nothing"
        raise ImageError(f"{name} holds {span}: expected uint8, or floats in [0, 1] before they are normalised")
    return np.rint(array * np.float32(255)).astype(np.uint8)


def mask_array(tensor: TensorLike, name: str) -> Shaped[np.ndarray, "H W ..."]:
    """Return a mask as an array (H, W[, C]) of the tensor's own values.

    Args:
        tensor: (H, W), (1, H, W) or (H, W, 1), or a mask in colours, on any device.

    Raises:
        ImageError: the tensor is a batch.
    """
    array = _array(tensor, name)
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _array(tensor: TensorLike, name: str) -> Shaped[np.ndarray, "H W ..."]:
    values = tensor.detach().cpu()
    array: np.ndarray = (values.float() if values.is_floating_point() else values).numpy()
    if array.ndim not in (2, 3):
        raise ImageError(f"{name}: expected one picture (C, H, W), (H, W, C) or (H, W); `encode_many` takes several")
    return np.moveaxis(array, 0, -1) if array.ndim == 3 and array.shape[0] in _CHANNELS else array
