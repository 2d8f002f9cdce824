import jaxtyping
import pytest
import torch
from torch.testing import assert_close

from set_aggregation.models.head import Head


def test_shape_annotations_are_checked_in_tests():
    with pytest.raises(jaxtyping.TypeCheckError):
        Head(4, 3)(torch.randn(4))


def test_is_one_dense_layer_unless_told():
    head, x = Head(4, 3), torch.randn(5, 4)
    assert list(dict(head.named_children())) == ["classifier"]
    assert_close(head(x), head.classifier(x))


def test_hidden_layer_has_no_activation_unless_told():
    torch.manual_seed(0)
    head, x = Head(4, 3, hidden_features=8), torch.randn(5, 4)
    assert_close(head(x), head.classifier(head.hidden(x)))


def test_hidden_layer_with_relu():
    torch.manual_seed(0)
    head, x = Head(4, 3, hidden_features=8, hidden_activation="relu"), torch.randn(5, 4)
    assert_close(head(x), head.classifier(head.hidden(x).relu()))


@pytest.mark.parametrize("hidden_features", [None, 8])
def test_dropout_is_on_the_inputs_of_the_last_layer(hidden_features):
    head = Head(4, 3, hidden_features, dropout=0.25)
    assert [name for name, _ in head.named_children()][-2:] == ["dropout", "classifier"]
    assert head.dropout.p == 0.25


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    head, x = Head(64, 3, dropout=0.5), torch.randn(5, 64)
    assert not torch.allclose(head(x), head.classifier(x))
    assert_close(head.eval()(x), head.classifier(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "Head: got num_classes=0, expected at least 1"),
        ({"hidden_features": 0}, "Head: got hidden_features=0, expected at least 1, or None"),
        ({"hidden_activation": "tanh"}, "Head: got hidden_activation='tanh', expected 'none' or 'relu'"),
        ({"dropout": 1.0}, r"Head: got dropout=1.0, expected a probability in \[0, 1\)"),
        ({"dropout": -0.1}, r"Head: got dropout=-0.1, expected a probability in \[0, 1\)"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, unchecked_shapes):
    with pytest.raises(ValueError, match=message):
        Head(**{"in_features": 4, "num_classes": 3} | arguments)
