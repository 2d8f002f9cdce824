"""Private names of torch that the kernels depend on; torch has no public ones for them."""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def has_hooks(module: nn.Module) -> bool:
    """Return whether a call of the module runs hooks."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def is_wrapped(parameter: Tensor) -> bool:
    """Return whether a parameter is a tensor subclass, such as a quantised or sharded one."""
    return is_traceable_wrapper_subclass(parameter)


def is_transformed() -> bool:
    """Return whether torch.func or forward-mode differentiation is active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def onednn_multiplies(x: Tensor) -> bool:
    """Return whether :func:`onednn_linear` takes x.

    On processors for which torch.mm's library has no fast code, oneDNN is several times as fast.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def onednn_linear(x: Tensor, weight: Tensor) -> Tensor:
    """Return ``x @ weight.t()``, by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
