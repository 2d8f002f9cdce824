"""Training waits for the device at the steps that are logged only, and validation does at its end.

An accelerator works behind the program, which stays ahead of it until it reads a number. So reads are counted, on the
CPU: every tensor that becomes a Python number, a list or an array, and every operator whose result has a size that
only the device knows.
"""

import pytest
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from set_aggregation.models.classifier import SetClassifier
from tests.support.cli_runner import CSV, DIGITS, run_cli

READS = {"item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__", "__contains__"}
WAITING_OPERATORS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "equal"}


class Reads(TorchFunctionMode):
    """Notes at which step Python reads from a tensor."""

    def __init__(self):
        self.step, self.found = ("", 0), []

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        if getattr(function, "__name__", "") in READS:
            self.found.append((self.step, function.__name__))
        return function(*arguments, **(keywords or {}))


class Operators(TorchDispatchMode):
    """Notes at which step an operator reads."""

    def __init__(self, reads):
        super().__init__()
        self.reads = reads

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.name().removeprefix("aten::").split(".")[0]
        if name in WAITING_OPERATORS:
            self.reads.found.append((self.reads.step, name))
        return function(*arguments, **(keywords or {}))


def noting(reads, name, method):
    """The method of a step, which first says which one it is."""

    def step(self, batch, batch_idx):
        reads.step = name, batch_idx
        return method(self, batch, batch_idx)

    return step


@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")
def test_reads_at_logged_steps_only(tmp_path, monkeypatch):
    reads = Reads()
    for name in ("training_step", "validation_step"):
        monkeypatch.setattr(SetClassifier, name, noting(reads, name, getattr(SetClassifier, name)))
    folder = tmp_path / "here"
    folder.mkdir()
    with reads, Operators(reads):
        done = run_cli(
            folder,
            *("fit", *DIGITS, *CSV, "--trainer.max_epochs=1", "--trainer.limit_train_batches=12"),
            *("--trainer.log_every_n_steps=4", "--trainer.limit_val_batches=4", "--test_after_fit=false"),
            *("--model.aggregator.out_features=8", "--data.batch_size=16", "--data.normalize=true"),
            *("--data.augment=true", "--curves.every_n_epochs=0", "--trainer.num_sanity_val_steps=0"),
        )
    assert done.code == 0, done.err
    # Before the first step all is set up, and after the last the results are put together.
    num = {"training_step": 12, "validation_step": 4}
    found = {(name, step) for (name, step), _ in reads.found if name and 0 < step < num[name] - 1}
    assert found == {("training_step", 3), ("training_step", 7)}
