"""Choice of the implementation of SAN's sum."""

import os
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor, nn

from set_aggregation.aggregators._kernels import _torch
from set_aggregation.aggregators._kernels.operators import Operator, san_blocked, san_triton

Implementation = Literal["auto", "eager", "blocked", "triton"]

_HAS_TRITON = find_spec("triton") is not None and torch.version.hip is None
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_TRITON_BYTES = 512  # of an element, at most: a tile has all its features and must fit into registers
_TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# On CPUs eager is faster below: the activations fit the cache, and glibc reuses their memory. See benchmarks/README.md.
_BLOCKED_BYTES, _BLOCKED_COLUMNS = 32 << 20, 512


def choose(implementation: Implementation, x: Tensor, projection: nn.Linear, activation: nn.Module) -> Operator | None:
    """Return the operator that computes SAN's sum, or None for its formula.

    ``"auto"`` takes ``"triton"`` on NVIDIA GPUs and ``"blocked"`` on CPUs where they can compute the sum and are
    faster. Exported programs have the formula, so that they can be read without this package.
    """
    if implementation == "eager":
        return None
    obstacle = _obstacle(x, projection, activation)
    if implementation == "auto":
        if obstacle or torch.compiler.is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            return None
        if x.device.type == "cpu":
            return san_blocked if _is_large(x, projection.out_features) else None
        return None if _triton_obstacle(x, projection) else san_triton
    if implementation == "triton":
        obstacle = obstacle or _triton_obstacle(x, projection)
    if obstacle:
        raise ValueError(f"SAN: got {obstacle}, which implementation={implementation!r} cannot compute; use 'auto'")
    return san_blocked if implementation == "blocked" else san_triton


def _is_large(x: Tensor, num_columns: int) -> bool:
    num_bytes = x.shape[0] * x.shape[1] * num_columns * x.element_size()
    return num_columns >= _BLOCKED_COLUMNS and num_bytes >= _BLOCKED_BYTES


def _obstacle(x: Tensor, projection: nn.Linear, activation: nn.Module) -> str | None:
    """Return the reason why no operator computes this sum, or None."""
    if type(activation) is not nn.ReLU or _torch.has_hooks(activation):
        return f"the activation {activation}"
    if type(projection) is not nn.Linear or _torch.is_wrapped(projection.weight):
        return f"the projection {projection}"  # parametrized, quantized, sharded, ...
    if _torch.has_hooks(projection):
        return "a projection with hooks"
    if _torch.is_transformed():
        return "a transformation of torch.func or forward-mode differentiation"
    if x.dtype != projection.weight.dtype and not torch.is_autocast_enabled(x.device.type):
        return f"x of {x.dtype} and weights of {projection.weight.dtype}"
    return None


def _triton_obstacle(x: Tensor, projection: nn.Linear) -> str | None:
    """Return the reason why the Triton kernels cannot compute this sum, or None."""
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
