import pytest
import torch

from set_aggregation.aggregators import Flatten


def test_lays_one_element_after_the_other():
    x = torch.arange(12.0).view(2, 3, 2)
    assert Flatten(2, set_size=3)(x).tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 0}, "Flatten: got in_features=0, expected at least 1"),
        ({"set_size": 0}, "Flatten: got set_size=0, expected at least 1"),
        ({"set_size": None}, "Flatten: got set_size=None, expected the number of elements of its sets"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Flatten(**{"in_features": 3, "set_size": 5} | arguments)
