"""The private names of torch that the kernels use exist."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from set_aggregation.aggregators._kernels import _torch


def test_hooks_are_seen():
    for register in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"):
        layer = nn.Linear(2, 2)
        assert not _torch.has_hooks(layer)
        handle = getattr(layer, register)(lambda *_: None)
        assert _torch.has_hooks(layer)
        handle.remove()
        assert not _torch.has_hooks(layer)


def test_transformations_are_seen():
    seen = []
    assert not _torch.is_transformed()
    torch.func.vmap(lambda x: seen.append(_torch.is_transformed()) or x)(torch.ones(2))
    with forward_ad.dual_level():
        seen.append(_torch.is_transformed())
    assert seen == [True, True]


def test_tensor_subclasses_are_seen():
    assert not _torch.is_wrapped(nn.Parameter(torch.ones(2)))
    jagged = torch.nested.nested_tensor_from_jagged(torch.ones(3, 2), torch.tensor([0, 1, 3]))
    assert _torch.is_wrapped(jagged)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_onednn_multiplies_as_torch_does():
    x, weight = torch.randn(5, 3), torch.randn(4, 3)
    torch.testing.assert_close(_torch.onednn_linear(x, weight), x @ weight.t())
