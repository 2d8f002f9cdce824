import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from set_aggregation.aggregators import SAN, GlobalMaxPool, PowerMeanSAN

NUM = 9  # elements of a set


def formula(layer, x, p):
    """One number at a time, without anything factored out."""
    weight, bias = layer.projection.weight.tolist(), layer.projection.bias.tolist()
    output = []
    for elements in x.tolist():
        row = []
        for v, b in zip(weight, bias, strict=True):
            z = [sum(s * t for s, t in zip(v, element, strict=True)) + b for element in elements]
            terms = [max(0.0, t) ** p if layer.transform == "relu" else math.exp(p * t) for t in z]
            total = sum(terms) / (len(terms) if layer.reduction == "mean" else 1)
            row.append(total ** (1 / p) if layer.transform == "relu" else math.log(total) / p)
        output.append(row)
    return torch.tensor(output, dtype=torch.float64)


def identity(size, **options):
    """A layer that projects on the axes."""
    layer = PowerMeanSAN(size, size, **options)
    nn.init.eye_(layer.projection.weight)
    nn.init.zeros_(layer.projection.bias)
    return layer


@pytest.mark.parametrize("transform", ["relu", "exp"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize(("p", "learn_p"), [(1.0, False), (2.5, False), (2.5, True)])
def test_formula(transform, reduction, p, learn_p):
    torch.manual_seed(0)
    layer = PowerMeanSAN(3, 7, p, learn_p, transform, reduction).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    assert_close(layer(x), formula(layer, x, torch.as_tensor(layer.p).item()))


def test_exponent_one_is_san():
    torch.manual_seed(0)
    layer, san = PowerMeanSAN(3, 7, p=1.0, reduction="sum"), SAN(3, 7)
    layer.load_state_dict(san.state_dict())
    x = torch.randn(2, 5, 3)
    assert_close(layer(x), san(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("p", [10.0, 1e3, 1e5])
def test_tends_to_max_pooling(p, reduction, dtype):
    """Remark 1; powers of 30 do not overflow, those of 1/30 do not vanish."""
    torch.manual_seed(0)
    x = torch.cat((torch.rand(2, NUM, 4) / 30, torch.rand(2, NUM, 4) * 30)).to(dtype)
    tolerance = math.expm1(math.log(NUM) / p) + torch.finfo(dtype).eps
    assert_close(identity(4, p=p, reduction=reduction).to(dtype)(x), GlobalMaxPool(4)(x), rtol=tolerance, atol=0)


@pytest.mark.parametrize("p", [10.0, 1e3, 1e5])
def test_exponential_tends_to_max_pooling_of_either_sign(p):
    torch.manual_seed(0)
    x = 100 * torch.randn(4, NUM, 4)
    output = identity(4, p=p, transform="exp")(x)
    assert_close(output, GlobalMaxPool(4)(x), rtol=1e-6, atol=math.log(NUM) / p)


@pytest.mark.parametrize("transform", ["relu", "exp"])
@pytest.mark.parametrize("p", [1.5, 1e5])
def test_gradient_is_finite_where_nothing_is_active(p, transform):
    layer = PowerMeanSAN(3, 7, p, learn_p=True, transform=transform)
    nn.init.constant_(layer.projection.bias, -100)
    x = torch.randn(2, 5, 3, requires_grad=True)
    output = layer(x)
    output.sum().backward()
    assert (output == 0).all() == (transform == "relu")
    assert all(grad.isfinite().all() for grad in (x.grad, *(q.grad for q in layer.parameters())))


def test_gradient_at_a_large_exponent_goes_to_the_largest_element():
    x = torch.tensor([[[0.0], [3.0], [2.0]]], requires_grad=True)
    identity(1, p=1e4)(x).sum().backward()
    assert_close(x.grad.flatten(), torch.tensor([0.0, 1.0, 0.0]), rtol=1e-3, atol=0)


@pytest.mark.parametrize("p", [1.001, 3.0, 1e4])
def test_learned_exponent_starts_where_it_is_told_to(p):
    assert_close(PowerMeanSAN(3, 7, p, learn_p=True).p, torch.tensor([p]))


@pytest.mark.parametrize("target", ["mean", "maximum"])
def test_exponent_is_learned(target):
    """It goes towards what is asked for, and never below 1."""
    torch.manual_seed(0)
    x = torch.rand(64, NUM, 1)
    wanted = x.mean(1) if target == "mean" else x.amax(1)
    layer = identity(1, learn_p=True)
    optimizer = torch.optim.Adam([layer.raw_p], lr=1.0)
    for _ in range(30):
        optimizer.zero_grad()
        (layer(x) - wanted).square().mean().backward()
        optimizer.step()
    assert 1 <= layer.p < 1.1 if target == "mean" else layer.p > 10


def test_exponent_is_no_parameter_unless_told():
    assert set(PowerMeanSAN(3, 7).state_dict()) == set(SAN(3, 7).state_dict())


@pytest.mark.parametrize(("learn_p", "expected"), [(False, "p=2, transform"), (True, "p=2, learned, transform")])
def test_printed_with_its_exponent(learn_p, expected, unchecked_shapes):
    assert expected in repr(PowerMeanSAN(3, 7, 2, learn_p))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 0.9}, "got p=0.9, expected a number of at least 1"),
        ({"p": math.inf}, "got p=inf, expected a number of at least 1"),
        ({"p": math.nan}, "got p=nan, expected a number of at least 1"),
        ({"p": 1.0, "learn_p": True}, "got p=1.0, expected a number above 1, which"),
        ({"transform": "log"}, "got transform='log', expected 'relu' or 'exp'"),
        ({"reduction": "max"}, "got reduction='max', expected 'sum' or 'mean'"),
        ({"position_features": -1}, "got position_features=-1, expected 0 or more"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, unchecked_shapes):
    with pytest.raises(ValueError, match=f"PowerMeanSAN: {message}"):
        PowerMeanSAN(3, 7, **arguments)


def test_wrong_positions_are_refused(unchecked_shapes):
    layer = PowerMeanSAN(3, 7, position_features=2)
    with pytest.raises(ValueError, match=r"PowerMeanSAN: got positions of 3 features, .* position_features=2"):
        layer(torch.randn(4, 5, 3), None, torch.randn(5, 3))
