import pytest
import torch
from torch import nn
from torch.testing import assert_close

from set_aggregation.aggregators import SAN, Aggregator, GlobalAvgPool
from set_aggregation.pooling.feature_set import FeatureSet
from set_aggregation.pooling.pool2d import Pool2d
from tests.aggregators.test_contract import D, P, every_case

N_IS_H_TIMES_W = (1, 5)  # of the cases


@every_case
@pytest.mark.parametrize("masked", [False, True])
def test_gives_what_the_aggregator_makes_of_the_pixels(case, masked):
    layer = case.layer()
    x = torch.randn(3, D, *N_IS_H_TIMES_W, dtype=torch.float64)
    mask = torch.rand(3, *N_IS_H_TIMES_W) > 0.5 if masked else None
    kind = "none" if case.positions == "none" else "linear"
    pixels = x.flatten(2).mT
    positions = FeatureSet("linear")(x)[1] if kind == "linear" else None
    expected = layer(pixels, None if mask is None else mask.flatten(1), positions)
    pool = Pool2d(layer, kind)
    assert torch.equal(pool(x, mask), expected)
    assert pool.out_features == expected.shape[1]
    if not layer.uses_positions:
        assert torch.equal(Pool2d(layer, "linear")(x, mask), expected)


def test_a_channels_last_map_is_not_copied():
    class Note(Aggregator):
        permutation_invariant, any_set_size = True, True

        def forward(self, x, mask=None, positions=None):
            self.seen = x
            return x.sum(1)

    note = Note(3, 3)
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    Pool2d(note)(x)
    assert note.seen.data_ptr() == x.data_ptr()
    assert note.seen.is_contiguous()


def test_takes_the_place_of_global_average_pooling():
    torch.manual_seed(0)
    backbone, head = nn.Conv2d(1, 3, 3), nn.Linear(3, 2)
    images = torch.randn(2, 1, 8, 8)
    before = nn.Sequential(backbone, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    after = nn.Sequential(backbone, Pool2d(GlobalAvgPool(3)), head)
    assert_close(after(images), before(images))


@pytest.mark.parametrize(
    ("position_features", "positions", "message"),
    [
        (None, "linear", "positions='linear', of 2 features, but this SAN .* position_features=0; give it .*=2"),
        (P, "none", "positions='none', of 0 features, but this SAN .* position_features=2; give it .*=0"),
        (P, "trigonometric", "positions='trigonometric', of 16 features, .* position_features=2; give it .*=16"),
    ],
)
def test_positions_of_another_size_are_refused_when_it_is_built(position_features, positions, message):
    with pytest.raises(ValueError, match=f"Pool2d: got {message}"):
        Pool2d(SAN(3, 7, position_features=position_features), positions)
