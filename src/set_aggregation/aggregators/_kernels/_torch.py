"""Private names of torch that the kernels depend on; torch has no public ones for them."""

import timeit
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def has_hooks(module: nn.Module) -> bool:
    """Return whether a call of the module runs hooks."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def is_wrapped(parameter: Tensor) -> bool:
    """Return whether a parameter is a tensor subclass, such as a quantized or sharded one."""
    return is_traceable_wrapper_subclass(parameter)


def is_transformed() -> bool:
    """Return whether torch.func or forward-mode differentiation is active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


@cache
def onednn_is_faster() -> bool:
    """Measure once whether :func:`onednn_linear` is clearly faster than ``torch.mm`` in float32 on this processor."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):  # type: ignore[no-untyped-call]
        return False
    x = torch.ones(512, 64)
    products = (partial(torch.mm, x, x.t()), partial(onednn_linear, x, x))
    mm, onednn = (min(timeit.repeat(product, number=1, repeat=7)) for product in products)
    return onednn * 1.5 < mm  # the margin keeps the choice, and with it the rounding, the same in every process


def onednn_linear(x: Tensor, weight: Tensor) -> Tensor:
    """Return ``x @ weight.t()``, by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
