"""Optimisers that update all weights in one go."""

import inspect

from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

_WITH_FUSED_KERNELS = (SGD, Adam, AdamW)


def fused(optimizer: Optimizer) -> Optimizer:
    """The same optimiser with ``fused=True``, where torch has a fused kernel for it and for the weights' devices.

    One kernel updates all weights, in place of several for each of them: for a network of many small layers that is
    most of the time of an optimiser's step. An optimiser that was told ``fused`` or ``foreach`` stays as it is.

    Args:
        optimizer: one that has made no step.

    Example:
        >>> import torch
        >>> fused(torch.optim.Adam([torch.zeros(3)])).param_groups[0]["fused"]
        True
        >>> fused(torch.optim.Adam([torch.zeros(3)], foreach=True)).param_groups[0]["fused"]
    """
    supported = _get_fused_kernels_supported_devices()
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if (
        type(optimizer) not in _WITH_FUSED_KERNELS
        or optimizer.defaults["differentiable"]
        or any(group["fused"] is not None or group["foreach"] is not None for group in optimizer.param_groups)
        or not all(weight.is_floating_point() and weight.device.type in supported for weight in weights)
    ):
        return optimizer
    # Built anew, not only told so: the constructor makes more of it than a setting.
    taken = inspect.signature(type(optimizer)).parameters
    arguments = {name: value for name, value in optimizer.defaults.items() if name in taken}
    groups = [{**group, "fused": True} for group in optimizer.param_groups]
    return type(optimizer)(groups, **{**arguments, "fused": True})
