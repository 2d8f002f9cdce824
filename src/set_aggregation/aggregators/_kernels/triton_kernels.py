"""SAN's sum as Triton kernels: activations stay in registers and are never written to memory.

B, N, M and D are sizes, b, n, m and d indices along these axes, ``x_b`` and the like strides. Block sizes are tuned
once per ``N_bucket``.
"""

from typing import Any

import triton
import triton.language as tl


@triton.jit
def forward_kernel(
    x, weight, bias, mask, y, B, N, M, D, N_bucket,
    x_b, x_n, x_d, bias_n,
    BLOCK_D: tl.constexpr, MASKED: tl.constexpr, POSITIONAL: tl.constexpr, PRECISION: tl.constexpr,
    SETS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Compute the sums of SETS sets for BLOCK_M directions."""
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, BLOCK_D)
    w = tl.load(weight + m[:, None] * D + d[None], mask=(m[:, None] < M) & (d[None] < D), other=0)
    shared = tl.load(bias + m, mask=m < M, other=0).to(tl.float32)
    first = tl.program_id(1).to(tl.int64) * SETS
    for b in range(first, tl.minimum(first + SETS, B)):
        total = tl.zeros((BLOCK_M,), tl.float32)
        for start in range(0, N, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            real = n < N
            if MASKED:
                real = real & (tl.load(mask + b * N + n, mask=real, other=0) != 0)
            place = b * x_b + n[:, None] * x_n + d[None] * x_d
            tile = tl.load(x + place, mask=real[:, None] & (d[None] < D), other=0)
            if POSITIONAL:
                inside = real[:, None] & (m[None] < M)
                at = tl.load(bias + n[:, None] * bias_n + m[None], mask=inside, other=0).to(tl.float32)
                z = tl.dot(tile, tl.trans(w), input_precision=PRECISION) + at
            else:
                z = tl.dot(tile, tl.trans(w), input_precision=PRECISION) + shared[None]
            # Written so that NaN stays NaN, as in torch's ReLU.
            total += tl.sum(tl.where(real[:, None], tl.where(z <= 0, 0.0, z), 0.0), 0)
        tl.store(y + b * M + m, total, mask=m < M)


@triton.jit
def backward_x_kernel(
    grad, x, weight, bias, mask, grad_x, B, N, M, D, N_bucket,
    x_b, x_n, x_d, bias_n, grad_x_b, grad_x_n, grad_x_d,
    BLOCK_D: tl.constexpr, MASKED: tl.constexpr, POSITIONAL: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Compute the gradient of BLOCK_N elements of one set."""
    b = tl.program_id(1).to(tl.int64)
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    d = tl.arange(0, BLOCK_D)
    real = n < N
    if MASKED:
        real = real & (tl.load(mask + b * N + n, mask=real, other=0) != 0)
    tile = tl.load(x + b * x_b + n[:, None] * x_n + d[None] * x_d, mask=real[:, None] & (d[None] < D), other=0)
    total = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    for start in range(0, M, BLOCK_M):
        m = start + tl.arange(0, BLOCK_M)
        w = tl.load(weight + m[:, None] * D + d[None], mask=(m[:, None] < M) & (d[None] < D), other=0)
        if POSITIONAL:
            inside = real[:, None] & (m[None] < M)
            at = tl.load(bias + n[:, None] * bias_n + m[None], mask=inside, other=0).to(tl.float32)
        else:
            at = tl.load(bias + m, mask=m < M, other=0).to(tl.float32)[None]
        z = tl.dot(tile, tl.trans(w), input_precision=PRECISION) + at
        g = tl.load(grad + b * M + m, mask=m < M, other=0).to(tl.float32)
        active = tl.where(real[:, None], tl.where(z <= 0, 0.0, g[None]), 0.0).to(w.dtype)
        total += tl.dot(active, w, input_precision=PRECISION)
    place = b * grad_x_b + n[:, None] * grad_x_n + d[None] * grad_x_d
    tl.store(grad_x + place, total.to(grad_x.dtype.element_ty), mask=(n[:, None] < N) & (d[None] < D))


@triton.jit
def backward_weight_kernel(
    grad, x, weight, bias, mask, grad_weight, grad_bias, B, N, M, D, N_bucket,
    x_b, x_n, x_d, bias_n, sets_per_share, set_shares, element_shares,
    BLOCK_D: tl.constexpr, MASKED: tl.constexpr, POSITIONAL: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Compute one share of the gradient of BLOCK_M directions and their biases.

    The shares are added up afterwards in a fixed order, so that the result is deterministic.
    """
    share = tl.program_id(1).to(tl.int64)
    first = (share % set_shares) * sets_per_share
    element_share = share // set_shares
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, BLOCK_D)
    w = tl.load(weight + m[:, None] * D + d[None], mask=(m[:, None] < M) & (d[None] < D), other=0)
    shared = tl.load(bias + m, mask=m < M, other=0).to(tl.float32)
    total = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    total_bias = tl.zeros((BLOCK_M,), tl.float32)
    for start in range(element_share * BLOCK_N, N, element_shares * BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        if POSITIONAL:
            inside = (n[:, None] < N) & (m[None] < M)
            at = tl.load(bias + n[:, None] * bias_n + m[None], mask=inside, other=0).to(tl.float32)
            total_at = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
        for b in range(first, tl.minimum(first + sets_per_share, B)):
            real = n < N
            if MASKED:
                real = real & (tl.load(mask + b * N + n, mask=real, other=0) != 0)
            tile = tl.load(x + b * x_b + n[:, None] * x_n + d[None] * x_d, mask=real[:, None] & (d[None] < D), other=0)
            if POSITIONAL:
                z = tl.dot(tile, tl.trans(w), input_precision=PRECISION) + at
            else:
                z = tl.dot(tile, tl.trans(w), input_precision=PRECISION) + shared[None]
            g = tl.load(grad + b * M + m, mask=m < M, other=0).to(tl.float32)
            active = tl.where(real[:, None], tl.where(z <= 0, 0.0, g[None]), 0.0)
            total += tl.dot(tl.trans(active.to(tile.dtype)), tile, input_precision=PRECISION)
            if POSITIONAL:
                total_at += active
            else:
                total_bias += tl.sum(active, 0)
        if POSITIONAL:
            place = ((share % set_shares) * N + n[:, None]) * M + m[None]
            tl.store(grad_bias + place, total_at, mask=inside)
    tl.store(grad_weight + (share * M + m[:, None]) * D + d[None], total, mask=(m[:, None] < M) & (d[None] < D))
    if not POSITIONAL:
        tl.store(grad_bias + share * M + m, total_bias, mask=m < M)


def _fitting(configs: list[triton.Config], named: dict[str, Any], **_: Any) -> list[triton.Config]:
    """Return the configurations whose tiles are not mostly padding, or one in Triton's interpreter."""
    most = max(triton.next_power_of_2(named["N"]), min(config.kwargs["BLOCK_N"] for config in configs))
    fitting = [config for config in configs if config.kwargs["BLOCK_N"] <= most]
    return fitting[:1] if triton.knobs.runtime.interpret else fitting


def _tuned(kernel: Any, blocks: list[tuple[int, int, int]], **constants: int) -> Any:
    """Tune BLOCK_N, BLOCK_M and the number of warps once for each size of the problem."""
    configs = [
        triton.Config({"BLOCK_N": n, "BLOCK_M": m, **constants}, num_warps=warps, num_stages=stages)
        for n, m, warps in blocks
        for stages in (2, 3)
    ]
    tune = triton.autotune(configs, key=["N_bucket", "M", "D"], prune_configs_by={"early_config_prune": _fitting})
    return tune(kernel)


# benchmarks/san_kernels.py prints the registers and shared memory of each.
forward = _tuned(
    forward_kernel, [(16, 128, 4), (32, 128, 4), (64, 64, 4), (64, 128, 8), (128, 64, 8), (128, 128, 8)], SETS=8
)
backward_x = _tuned(backward_x_kernel, [(16, 64, 4), (32, 32, 4), (32, 64, 4), (64, 32, 4), (64, 64, 4), (64, 64, 8)])
backward_weight = _tuned(backward_weight_kernel, [(16, 64, 4), (32, 64, 4), (32, 64, 8), (64, 64, 4), (64, 64, 8)])
