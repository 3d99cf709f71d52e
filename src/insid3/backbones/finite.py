"""The check that tokens are finite: from others, masks come out empty or arbitrary."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insid3.errors import WeightsError


def check_finite(
    tokens: Float[Tensor, "*n c"], name: str, dtype: torch.dtype | str, model: nn.Module | None = None
) -> None:
    """Check that all tokens are finite.

    Args:
        tokens: (..., n, c), from an encoder.
        name: of the encoder.
        dtype: in which the encoder computed.
        model: the ViT, searched for the cause.

    Raises:
        WeightsError: a token is infinite or NaN; the message names encoder, dtype, cause and remedy.
    """
    if torch.isfinite(tokens.sum(dtype=torch.float32)) or torch.isfinite(tokens).all():  # the sum takes a single pass
        return
    computed = str(dtype).removeprefix("torch.") or "its own dtype"
    damaged = damaged_tensor(model) if model is not None else None
    if damaged is not None:
        remedy = (
            f"tensor {damaged} of the weights holds NaN or infinity. Get the weights anew from where they were "
            "published, or take others (--weights)"
        )
    elif computed in ("float16", "bfloat16"):
        wider = "dtype='float32' or 'bfloat16'" if computed == "float16" else "dtype='float32'"
        remedy = f"numbers overflow in this dtype. Use {wider} (--dtype float32)"
    else:
        remedy = "the weights' numbers are too large to compute with. Take other weights (--weights)"
    raise WeightsError(f"the tokens of {name}, computed in {computed}, are not finite: {remedy}")


def damaged_tensor(model: nn.Module) -> str | None:
    """Return the name of a model's first tensor with NaN or infinity; None if all are finite."""
    held = [*model.named_parameters(), *model.named_buffers()]
    return next((name for name, value in held if not torch.isfinite(value).all()), None)
