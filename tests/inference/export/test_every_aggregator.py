"""Every aggregator that the library exports has a form in ONNX, for batches of any size."""

import inspect
from functools import partial

import pytest
import torch
from torch.export import Dim

from set_aggregation import aggregators
from set_aggregation.aggregators import Aggregator
from set_aggregation.inference.export import onnx as onnx_file

N, D = 7, 8
EXPORTED = [cls for name in aggregators.__all__ if (cls := getattr(aggregators, name)) is not Aggregator]


@pytest.mark.parametrize("aggregator", EXPORTED)
def test_onnx_agrees_at_other_sizes(aggregator, unchecked_shapes, tmp_path):
    torch.manual_seed(0)
    taken = inspect.signature(aggregator).parameters
    sizes = {name: size for name, size in (("out_features", 6), ("set_size", N)) if name in taken}
    layer = partial(aggregator, D, **sizes)().eval()
    free = {0: Dim("batch", min=1), **({1: Dim.DYNAMIC} if layer.any_set_size else {})}
    program = torch.export.export(layer, (torch.randn(2, N, D),), dynamic_shapes={"x": free})
    written = torch.onnx.export(program, input_names=["images"], output_names=["logits"], verbose=False)
    written.save(tmp_path / "layer.onnx")
    run = onnx_file.read(tmp_path / "layer.onnx")
    for num_sets, num_elements in ((1, N), (3, N), *([(2, 2), (5, 19)] if layer.any_set_size else [])):
        x = torch.randn(num_sets, num_elements, D)
        torch.testing.assert_close(run(x), layer(x).detach())
