"""What is written computes what the model does, without this package."""

import json
import subprocess
import sys

import pytest
import torch

from set_aggregation._extras import MissingExtraError
from set_aggregation.inference.export import onnx as onnx_file
from set_aggregation.inference.export import pt2 as pt2_file
from set_aggregation.inference.export.parity import compare
from set_aggregation.inference.export.program import to_program
from tests.support.small_classifier import classifier, noise

KINDS = {"onnx": onnx_file, "pt2": pt2_file}
pytestmark = pytest.mark.usefixtures("unchecked_shapes")


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
    for name, kind in KINDS.items():
        written[name] = tmp_path_factory.mktemp(name) / f"model.{name}"
        kind.write(program, written[name], ["ant", "bee", "cow"])
    return written


@pytest.fixture(params=KINDS)
def file(request, files):
    return files[request.param]


def test_agrees_at_any_size(file, model):
    kind = KINDS[file.suffix[1:]]
    shapes = [(1, 3, 16, 16), (3, 3, 25, 32), (2, 3, 9, 31)]
    assert all(difference.is_small for difference in compare(model, kind.read(file), shapes))


def test_is_one_file_that_needs_no_package_of_ours(file):
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    usage = KINDS[file.suffix[1:]].USAGE.format(file=file, shape=(2, 3, 20, 30))
    code = f"{usage}\nimport sys\nassert 'set_aggregation' not in sys.modules\nprint(tuple(logits.shape))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(2, 3)\n"


def test_onnx_names_what_is_in_it(files):
    import onnx

    written = onnx.load(files["onnx"])
    onnx.checker.check_model(written, full_check=True)
    ((images,), (logits,)) = written.graph.input, written.graph.output
    assert (images.name, images.type.tensor_type.elem_type) == ("images", onnx.TensorProto.UINT8)
    assert [side.dim_param or side.dim_value for side in images.type.tensor_type.shape.dim] == [
        *("batch", 3, "height", "width")
    ]
    assert logits.name == "logits"
    assert {each.key: json.loads(each.value) for each in written.metadata_props} == {
        "class_names": ["ant", "bee", "cow"]
    }


def test_pt2_names_the_classes(files):
    extra = {"class_names.json": ""}
    torch.export.load(files["pt2"], extra_files=extra)
    assert json.loads(extra["class_names.json"]) == ["ant", "bee", "cow"]


@pytest.mark.parametrize("size", [(1, 1), (3, 4)])
def test_onnx_of_positions_holds_for_maps_of_one_pixel(size, model, files):
    """Whose only row is at 0, and not at 0 / 0, though the program was traced at several."""
    images = noise(2, 3, *size)
    torch.testing.assert_close(onnx_file.read(files["onnx"])(images), model(images).detach())


@pytest.mark.parametrize("missing", ["onnxscript", "onnxruntime"])
def test_without_the_extra_it_is_named(missing, program, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    act = {
        "onnxscript": lambda: onnx_file.write(program, tmp_path / "a.onnx", []),
        "onnxruntime": lambda: onnx_file.read(tmp_path / "a.onnx"),
    }
    with pytest.raises(MissingExtraError, match=rf"got no {missing}, .*'set-aggregation\[export\]'"):
        act[missing]()
