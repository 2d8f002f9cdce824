import pytest
import torch
from torch import nn
from torch.testing import assert_close

from set_aggregation.aggregators import SAN, Aggregator, GlobalAvgPool
from set_aggregation.pooling import FeatureSet, Pool, Pool2d
from tests.aggregators.test_contract import D, P, one_of_each_form

N_IS_H_TIMES_W = (1, 5)  # of the cases


@one_of_each_form
def test_aggregates_the_pixels_that_the_mask_keeps(case):
    layer = case.layer()
    x = torch.randn(3, D, *N_IS_H_TIMES_W, dtype=torch.float64)
    mask = torch.rand(3, *N_IS_H_TIMES_W) > 0.5
    kind = "none" if case.positions == "none" else "linear"
    positions = FeatureSet("linear")(x)[1] if kind == "linear" else None
    expected = layer(x.flatten(2).mT, mask.flatten(1), positions)
    pool = Pool2d(layer, kind)
    assert torch.equal(pool(x, mask), expected)
    assert pool.out_features == expected.shape[1]


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


def test_replaces_global_average_pooling():
    torch.manual_seed(0)
    backbone, head = nn.Conv2d(1, 3, 3), nn.Linear(3, 2)
    images = torch.randn(2, 1, 8, 8)
    before = nn.Sequential(backbone, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    after = nn.Sequential(backbone, Pool2d(GlobalAvgPool(3)), head)
    assert_close(after(images), before(images))


@pytest.mark.parametrize(
    ("position_features", "positions", "expected"), [(None, "linear", 2), (P, "trigonometric", 16)]
)
def test_positions_of_another_size_are_refused(position_features, positions, expected):
    with pytest.raises(ValueError, match=rf"Pool2d: got positions='{positions}'.*give it position_features={expected}"):
        Pool2d(SAN(3, 7, position_features=position_features), positions)


def test_all_layouts_of_a_map_are_pooled_alike():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 2)
    san = SAN(4, 8, position_features=2)
    expected = Pool2d(san, "linear")(x)
    tokens = torch.cat((torch.full((2, 1, 4), torch.nan), x.flatten(2).transpose(1, 2)), 1)
    assert_close(Pool(san, "linear", channels_last=True)(x.permute(0, 2, 3, 1)), expected)
    layout = {"channels_last": True, "num_prefix_tokens": 1}
    assert_close(Pool(san, "linear", grid=(3, 2), **layout)(tokens), expected)
    with pytest.raises(ValueError, match="got 6 tokens, expected 4 x 2"):
        Pool(san, "linear", grid=(4, 2), **layout)(tokens)


@pytest.mark.parametrize("num_axes", [1, 3])
def test_maps_have_any_number_of_axes(num_axes):
    torch.manual_seed(0)
    x = torch.randn(2, 4, *(3, 2, 5)[:num_axes])
    san = SAN(4, 8, position_features=num_axes)
    pool = Pool(san, "linear", num_axes=num_axes)
    elements, positions = FeatureSet("linear", num_axes=num_axes)(x)
    assert_close(pool(x), san(elements, positions=positions))
    assert_close(pool(x.flip(-1)), san(elements, positions=positions * torch.tensor([*[1] * (num_axes - 1), -1])))
