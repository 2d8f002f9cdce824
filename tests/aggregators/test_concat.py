from functools import partial

import pytest
import torch

from set_aggregation.aggregators import (
    SAN,
    AvgMaxPool,
    Concat,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    MeanStdPool,
    StdPool,
)

MASK = torch.tensor([[True, False, True, True, False], [True] * 5])


def test_is_one_output_after_the_other():
    torch.manual_seed(0)
    pool, x, positions = (
        Concat(3, [partial(SAN, out_features=7), GlobalMaxPool], 2),
        torch.randn(2, 5, 3),
        torch.randn(5, 2),
    )
    san, maximum = pool.aggregators
    assert torch.equal(pool(x, MASK, positions), torch.cat((san(x, MASK, positions), maximum(x, MASK)), 1))


@pytest.mark.parametrize(
    ("pool", "parts"), [(AvgMaxPool, (GlobalAvgPool, GlobalMaxPool)), (MeanStdPool, (GlobalAvgPool, StdPool))]
)
def test_named_concatenations_are_those_of_their_parts(pool, parts):
    x = torch.randn(2, 5, 3)
    assert torch.equal(pool(3)(x, MASK), torch.cat([part(3)(x, MASK) for part in parts], 1))


def test_a_property_holds_if_it_holds_for_all():
    pool = Concat(3, [Flatten, GlobalAvgPool], set_size=5)
    assert (pool.any_set_size, pool.permutation_invariant, pool.uses_positions) == (False, False, False)
    assert pool.out_features == 5 * 3 + 3


def test_no_aggregators_are_refused():
    with pytest.raises(ValueError, match="Concat: got no aggregators"):
        Concat(3, [])
