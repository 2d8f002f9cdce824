from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.testing import assert_close

from set_aggregation.models.fused_optimizer import fused

KINDS = [SGD, partial(SGD, momentum=0.9, nesterov=True), Adam, partial(Adam, amsgrad=True), AdamW]


def after_steps(make, wrap, dtype=torch.float32):
    """Weights in two groups after three steps, and the optimiser."""
    torch.manual_seed(0)
    a, b = (torch.nn.Parameter(torch.randn(4, 3, dtype=dtype)) for _ in range(2))
    optimizer = wrap(make([{"params": [a], "lr": 0.5}, {"params": [b], "weight_decay": 0.1}], lr=0.01))
    for _ in range(3):
        a.grad, b.grad = torch.randn_like(a), torch.randn_like(b)
        optimizer.step()
    return [a, b], optimizer


@pytest.mark.parametrize("make", KINDS)
def test_it_does_the_same_and_keeps_its_groups(make):
    expected, plain = after_steps(make, lambda optimizer: optimizer)
    weights, optimizer = after_steps(make, fused)
    assert_close(weights, expected)
    assert type(optimizer) is type(plain)
    for group, of_plain in zip(optimizer.param_groups, plain.param_groups, strict=True):
        assert group["fused"] is True
        assert {**group, "fused": None, "params": None} == {**of_plain, "params": None}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    expected, _ = after_steps(Adam, lambda optimizer: optimizer, dtype)
    weights, optimizer = after_steps(Adam, fused, dtype)
    assert optimizer.param_groups[0]["fused"]
    assert_close(weights, expected)


@pytest.mark.parametrize(
    "make",
    [
        partial(Adam, fused=False),
        partial(Adam, foreach=True),
        partial(Adam, foreach=False),
        partial(SGD, lr=0.1, differentiable=True),
        RMSprop,
    ],
)
def test_what_was_told_otherwise_or_cannot_stays_as_it_is(make):
    optimizer = make([torch.zeros(2, requires_grad=True)])
    assert fused(optimizer) is optimizer


def test_no_kernel_for_these_weights():
    optimizer = Adam([torch.zeros(2, device="meta", requires_grad=True)])
    assert fused(optimizer) is optimizer
