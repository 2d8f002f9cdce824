"""Which implementation of SAN's sum computes it."""

import os
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from set_aggregation.aggregators._kernels.operators import Operator, san_blocked, san_triton

Implementation = Literal["auto", "eager", "blocked", "triton"]

_HAS_TRITON = find_spec("triton") is not None and torch.version.hip is None
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_TRITON_BYTES = 512  # of an element, at most: tiles have all its features and must fit into registers
_TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def choose(implementation: Implementation, x: Tensor, projection: nn.Linear, activation: nn.Module) -> Operator | None:
    """Gives the operator that computes SAN's sum, or None where its formula does, step by step.

    ``"auto"`` takes ``"triton"`` on NVIDIA GPUs and ``"blocked"`` on CPUs, where those can compute it. An exported
    program has the formula, and can be read without this package.

    Args:
        implementation: what was asked for.
        x: the elements.
        projection: what they are projected by.
        activation: what the projections are activated by.

    Raises:
        ValueError: ``"blocked"`` or ``"triton"`` cannot compute it.
    """
    if implementation == "eager":
        return None
    obstacle = _obstacle(x, projection, activation)
    if implementation == "auto":
        if obstacle or torch.compiler.is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            return None
        if x.device.type == "cpu":
            return san_blocked
        return None if _triton_obstacle(x, projection) else san_triton
    if implementation == "triton":
        obstacle = obstacle or _triton_obstacle(x, projection)
    if obstacle:
        raise ValueError(f"SAN: got {obstacle}, which implementation={implementation!r} cannot compute; use 'auto'")
    return san_blocked if implementation == "blocked" else san_triton


def _obstacle(x: Tensor, projection: nn.Linear, activation: nn.Module) -> str | None:
    """Why this is not the sum that the operators compute."""
    if type(activation) is not nn.ReLU or activation._forward_hooks or activation._forward_pre_hooks:
        return f"the activation {activation}"
    if type(projection) is not nn.Linear or is_traceable_wrapper_subclass(projection.weight):
        return f"the projection {projection}"  # parametrized, quantized, sharded, ...
    if projection._forward_hooks or projection._forward_pre_hooks or projection._backward_hooks:
        return "a projection with hooks"
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return "a transformation of torch.func or forward-mode differentiation"
    if x.dtype != projection.weight.dtype and not torch.is_autocast_enabled(x.device.type):
        return f"x of {x.dtype} and weights of {projection.weight.dtype}"
    return None


def _triton_obstacle(x: Tensor, projection: nn.Linear) -> str | None:
    """Why the Triton kernels cannot compute it."""
    if not _HAS_TRITON:
        return "a machine without Triton for NVIDIA GPUs"
    if x.device.type != "cuda" and not (_INTERPRETED and x.device.type == "cpu"):
        return f"x on device {x.device}"
    if x.device.type == "cuda" and torch.cuda.get_device_capability(x.device) < (8, 0):
        return f"x on {torch.cuda.get_device_name(x.device)}"
    if x.dtype not in _TRITON_DTYPES or (x.dtype == torch.bfloat16 and x.device.type == "cpu"):
        return f"x of {x.dtype} on {x.device}"  # the interpreter multiplies bfloat16 as integers
    features, most = projection.in_features, _TRITON_BYTES // x.element_size()
    if features > most:
        return f"elements and positions of {features} features, more than {most} of {x.dtype}"
    return None
