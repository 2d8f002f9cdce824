"""The formats: files that agree with the model and run without this package."""

import inspect
import json
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch.export import Dim

from set_aggregation import aggregators
from set_aggregation._extras import MissingExtraError
from set_aggregation.inference.export import FORMATS, compare, to_program
from tests.support.small_classifier import classifier

pytestmark = [pytest.mark.usefixtures("unchecked_shapes"), pytest.mark.slow]


@pytest.fixture(scope="module")
def model():
    return classifier(in_channels=3, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0])


@pytest.fixture(scope="module")
def program(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxtyping.config.jaxtyping_disable", True)
        return to_program(model)


@pytest.fixture(scope="module")
def files(program, tmp_path_factory):
    written = {}
    for name, kind in FORMATS.items():
        written[name] = tmp_path_factory.mktemp(name) / f"model.{name}"
        kind.write(program, written[name], ["ant", "bee", "cow"])
    return written


@pytest.mark.parametrize("kind", FORMATS)
def test_agrees_at_any_size(kind, files, model):
    shapes = [(1, 3, 16, 16), (3, 3, 25, 32), (2, 3, 9, 31)]
    if kind == "onnx":
        shapes.append((2, 3, 1, 1))  # one row is at position 0, not at 0 / 0
    assert len(compare(model, FORMATS[kind].read(files[kind]), shapes)) == len(shapes)  # it refuses large differences
    assert [path.name for path in files[kind].parent.iterdir()] == [files[kind].name]


@pytest.mark.e2e
@pytest.mark.parametrize("kind", FORMATS)
def test_runs_without_this_package(kind, files):
    usage = FORMATS[kind].usage.format(file=files[kind], shape=(2, 3, 20, 30))
    code = f"{usage}\nimport sys\nassert 'set_aggregation' not in sys.modules\nprint(tuple(logits.shape))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(2, 3)\n"


def test_files_name_inputs_outputs_and_classes(files):
    import onnx

    written = onnx.load(files["onnx"])
    onnx.checker.check_model(written, full_check=True)
    ((images,), (logits,)) = written.graph.input, written.graph.output
    assert (images.name, images.type.tensor_type.elem_type, logits.name) == ("images", onnx.TensorProto.UINT8, "logits")
    shape = images.type.tensor_type.shape.dim
    assert [side.dim_param or side.dim_value for side in shape] == ["batch", 3, "height", "width"]
    classes = ["ant", "bee", "cow"]
    assert {each.key: json.loads(each.value) for each in written.metadata_props} == {"class_names": classes}
    extra = {"class_names.json": ""}
    torch.export.load(files["pt2"], extra_files=extra)
    assert json.loads(extra["class_names.json"]) == classes


@pytest.mark.parametrize("missing", ["onnxscript", "onnxruntime"])
def test_without_the_extra_it_is_named(missing, program, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    act = {
        "onnxscript": lambda: FORMATS["onnx"].write(program, tmp_path / "a.onnx", []),
        "onnxruntime": lambda: FORMATS["onnx"].read(tmp_path / "a.onnx"),
    }
    with pytest.raises(MissingExtraError, match=rf"got no {missing}, .*'set-aggregation\[export\]'"):
        act[missing]()


N, D = 7, 8
EXPORTED = [cls for name in aggregators.__all__ if inspect.isclass(cls := getattr(aggregators, name))]


@pytest.mark.nightly
@pytest.mark.parametrize("aggregator", [cls for cls in EXPORTED if not inspect.isabstract(cls)])
def test_onnx_of_every_aggregator_agrees(aggregator, tmp_path):
    torch.manual_seed(0)
    taken = inspect.signature(aggregator).parameters
    sizes = {name: size for name, size in (("out_features", 6), ("set_size", N)) if name in taken}
    layer = partial(aggregator, D, **sizes)().eval()
    free = {0: Dim("batch", min=1), **({1: Dim.DYNAMIC} if layer.any_set_size else {})}
    program = torch.export.export(layer, (torch.randn(2, N, D),), dynamic_shapes={"x": free})
    written = torch.onnx.export(program, input_names=["images"], output_names=["logits"], verbose=False)
    written.save(tmp_path / "layer.onnx")
    run = FORMATS["onnx"].read(tmp_path / "layer.onnx")
    for num_sets, num_elements in ((1, N), (3, N), *([(2, 2), (5, 19)] if layer.any_set_size else [])):
        x = torch.randn(num_sets, num_elements, D)
        torch.testing.assert_close(run(x), layer(x).detach())
