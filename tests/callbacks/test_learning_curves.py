import copy
import json
import math
import random

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from set_aggregation.callbacks import LearningCurves
from tests.support.noise import TEST, TRAIN, noise, small_classifier, trainer_of_ranks
from tests.support.quiet_trainer import quiet_trainer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning"),
]

NAMES = ["train_accuracy", "train_loss", "test_accuracy", "test_loss", "gap", "val_accuracy", "val_loss"]
KEYS = {f"curve/{name}" for name in NAMES}
ENTRY = KEYS | {"epoch", "step"}
BRIEF = {"limit_train_batches": 3, "num_sanity_val_steps": 0}


def plain(model, module, part, num_images=None):
    """Loss and accuracy of a model in evaluation mode, image by image."""
    model = copy.deepcopy(model).eval()
    loss = right = num = 0
    for images, labels in module.evaluation_dataloader(part, num_images):
        with torch.no_grad():
            rows = model(images / 255).double().tolist()
        for logits, label in zip(rows, labels.tolist(), strict=True):
            loss += math.log(sum(map(math.exp, logits))) - logits[label]
            right += logits.index(max(logits)) == label
            num += 1
    return loss / num, right / num


def plain_curves(model, module, num_images=None):
    (train_loss, train_accuracy), (test_loss, test_accuracy) = (
        plain(model, module, part, num_images) for part in ("train", "test")
    )
    return {
        "curve/train_accuracy": pytest.approx(train_accuracy),
        "curve/train_loss": pytest.approx(train_loss, rel=1e-5),
        "curve/test_accuracy": pytest.approx(test_accuracy),
        "curve/test_loss": pytest.approx(test_loss, rel=1e-5),
        "curve/gap": pytest.approx(train_accuracy - test_accuracy),
    }


def fit(folder, model, curves, *others, module=None, **arguments):
    """Trains with learning curves; gives the trainer."""
    trainer = quiet_trainer(folder, callbacks=[curves, *others], **{"max_epochs": 1, **arguments})
    trainer.fit(model, module or noise())
    return trainer


def measured(entry):
    """What was measured of the training and the test set."""
    return {name: value for name, value in entry.items() if name in KEYS and "val" not in name}


# Values


class WriteDown(Callback):
    """Writes down what each rank has."""

    def __init__(self, folder, curves):
        self.folder, self.curves = folder, curves

    def on_fit_end(self, trainer, pl_module):
        logged = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("curve/")}
        (self.folder / f"{trainer.global_rank}.json").write_text(json.dumps([self.curves.history, logged]))


@pytest.mark.parametrize(
    ("num_ranks", "num_images", "several_sizes"),
    [
        (1, "all", True),
        pytest.param(3, 2, False, marks=pytest.mark.slow),  # one rank has no batch
        pytest.param(3, "tenth", True, marks=pytest.mark.nightly),
    ],
)
def test_values_of_plain_loops_on_any_number_of_ranks(tmp_path, num_ranks, num_images, several_sizes):
    """With dropout and augmentation in training, and weights that stay."""
    model, module = small_classifier(lr=0.0, dropout=0.5), noise(several_sizes, augment=True)
    module.setup("fit")
    expected = plain_curves(model, module, {"all": None, "tenth": TRAIN // 10}.get(num_images, num_images))
    curves = LearningCurves(num_images=num_images)
    trainer = trainer_of_ranks(tmp_path, num_ranks, callbacks=[curves, WriteDown(tmp_path, curves)], max_epochs=1)
    trainer.fit(model, module)
    ((entry,), logged), *others = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(num_ranks)]
    assert set(entry) == ENTRY
    assert set(logged) == KEYS
    assert measured(entry) == expected
    assert logged == {name: torch.tensor(entry[name]).item() for name in KEYS}
    assert all(other == [[entry], logged] for other in others)


def test_numbers_of_the_test_in_another_precision(tmp_path):
    model, curves = small_classifier(dropout=0.5), LearningCurves(num_images="all")
    trainer = fit(tmp_path, model, curves, precision="bf16-true", **BRIEF)
    (tested,) = trainer.test(model, datamodule=trainer.datamodule, verbose=False)
    assert curves.history[0]["curve/test_accuracy"] == pytest.approx(tested["test/accuracy"])
    assert curves.history[0]["curve/test_loss"] == pytest.approx(tested["test/loss"], rel=0.01)  # logits in bfloat16


# Evaluation mode


class Watched(LearningCurves):
    """Learning curves of which it is known what goes on while they are measured."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.batches, self.modes, self.grad, self.states = [], set(), set(), []

    def on_train_epoch_end(self, trainer, pl_module):
        hook = pl_module.backbone.register_forward_pre_hook(lambda _, images: self.look(pl_module, *images))
        self.states.append(state(pl_module))
        super().on_train_epoch_end(trainer, pl_module)
        self.states.append(state(pl_module))
        hook.remove()

    def look(self, model, images):
        self.batches.append(images)
        self.modes |= {part.training for part in model.modules()}
        self.grad |= {torch.is_grad_enabled()}


def state(model):
    """The mode of each part, and of each generator what comes next."""
    modes = [part.training for part in model.modules()]
    return modes, (torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate())  # noqa: NPY002


def watched(folder, model=None, module=None, max_epochs=1, **arguments):
    """Trains with dropout and augmentation, and gives the learning curves."""
    curves, model, module = Watched(**arguments), model or small_classifier(dropout=0.5), module or noise(augment=True)
    fit(folder, model, curves, module=module, max_epochs=max_epochs, **BRIEF)
    return curves


@pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training")
def test_evaluation_mode_without_gradients_and_random_numbers(tmp_path):
    model = small_classifier(dropout=0.5)
    model.backbone.eval()
    curves = watched(tmp_path, model, max_epochs=2)
    modes = [modes for modes, _ in curves.states]
    assert 0 < sum(modes[0]) < len(modes[0])
    assert modes == [modes[0]] * 4
    assert (curves.modes, curves.grad) == ({False}, {False})
    (_, before), (_, after), *_ = curves.states
    assert before == after


def test_training_is_the_same_with_and_without(tmp_path):
    weights, losses = [], []
    for every in (1, 0):
        torch.manual_seed(3)
        model, module = small_classifier(dropout=0.5), noise(several_sizes=True, augment=True)
        trainer = fit(tmp_path, model, LearningCurves(every), module=module, max_epochs=2, **BRIEF)
        weights.append(torch.cat([weight.flatten() for weight in model.parameters()]))
        losses.append({name: float(trainer.callback_metrics[name]) for name in ("train/loss", "val/loss")})
    assert torch.equal(*weights)
    assert losses[0] == losses[1]


# Which images


@pytest.mark.parametrize(
    ("num_images", "several_sizes", "expected"),
    [
        (150, False, 150 + TEST),
        ("tenth", True, 2 * (TRAIN // 10)),
    ],
)
def test_as_many_images_as_asked_for(tmp_path, num_images, several_sizes, expected):
    curves = watched(tmp_path, module=noise(several_sizes), num_images=num_images)
    assert sum(map(len, curves.batches)) == expected


def test_the_same_images_each_epoch_and_for_each_seed(tmp_path):
    chosen = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        first, second = torch.cat(watched(tmp_path, num_images=23, max_epochs=2).batches).chunk(2)
        chosen += [first, second]
    assert all(torch.equal(images, chosen[0]) for images in chosen)


def test_rehearsal_measures_as_many_batches_as_it_trains(tmp_path):
    curves = Watched(num_images="all")
    fit(tmp_path, small_classifier(), curves, fast_dev_run=2)
    assert len(curves.batches) == 4


# Epochs


@pytest.mark.parametrize(
    ("every", "max_epochs", "expected"),
    [(2, 5, [2, 4, 5]), (0, 2, []), (1, -1, [1, 2, 3])],
)
def test_every_so_many_epochs_and_the_last(tmp_path, every, max_epochs, expected):
    curves = LearningCurves(every, num_images=3)
    max_steps = 9 if max_epochs < 0 else -1
    trainer = fit(tmp_path, small_classifier(), curves, max_epochs=max_epochs, max_steps=max_steps, **BRIEF)
    assert [entry["epoch"] for entry in curves.history] == expected
    assert [entry["step"] for entry in curves.history] == [3 * epoch for epoch in expected]
    assert bool(expected) == any(name.startswith("curve/") for name in trainer.callback_metrics)


class Validations(Callback):
    """The values of each validation by the number of the epoch."""

    def __init__(self):
        self.values = {}

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            values = {name: float(trainer.callback_metrics[f"val/{name}"]) for name in ("accuracy", "loss")}
            self.values[trainer.current_epoch + 1] = values


@pytest.mark.parametrize(
    ("arguments", "validated"),
    [
        ({"check_val_every_n_epoch": 2}, [2, 4]),
        ({"val_check_interval": 2}, []),  # of three steps: the weights at the end are others
        ({"val_check_interval": 1}, [1, 2, 3, 4]),
    ],
)
def test_validation_of_this_epoch_or_none(tmp_path, arguments, validated):
    curves, validations = LearningCurves(num_images=3), Validations()
    arguments |= {"num_sanity_val_steps": 1, "limit_train_batches": 3, "limit_val_batches": 1}
    fit(tmp_path, small_classifier(), curves, validations, max_epochs=4, **arguments)
    found = {
        entry["epoch"]: {name: entry[f"curve/val_{name}"] for name in ("accuracy", "loss")}
        for entry in curves.history
        if "curve/val_loss" in entry
    }
    assert found == {epoch: validations.values[epoch] for epoch in validated}
    assert all("curve/val_accuracy" not in entry for entry in curves.history if entry["epoch"] not in validated)


# Checkpoints


def test_goes_on_from_a_checkpoint_without_code(tmp_path):
    curves, whole = LearningCurves(num_images=3), LearningCurves(num_images=3)
    trainer = fit(tmp_path, small_classifier(), curves, max_epochs=2, **BRIEF)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    (state,) = torch.load(tmp_path / "a.ckpt", weights_only=True)["callbacks"].values()
    assert state == {"history": curves.history}

    resumed = LearningCurves(num_images=3)
    trainer = quiet_trainer(tmp_path, callbacks=[resumed], max_epochs=4, **BRIEF)
    trainer.fit(small_classifier(), noise(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    fit(tmp_path, small_classifier(), whole, max_epochs=4, **BRIEF)
    assert resumed.history == whole.history
    assert len(state["history"]) == len(curves.history) == 2


def test_test_of_a_checkpoint_leaves_the_history_alone(tmp_path):
    curves = LearningCurves(num_images=3)
    trainer = fit(tmp_path, small_classifier(), curves, **BRIEF)
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    trainer.fit_loop.max_epochs = 2
    trainer.fit(small_classifier(), noise(), ckpt_path=tmp_path / "first.ckpt", weights_only=True)
    before = curves.seconds
    trainer.test(small_classifier(), noise(), ckpt_path=tmp_path / "first.ckpt", weights_only=True, verbose=False)
    assert [entry["epoch"] for entry in curves.history] == [1, 2]
    assert curves.seconds == before


# Arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_n_epochs": -1}, "got every_n_epochs=-1, expected at least 0"),
        ({"num_images": 0}, "got num_images=0, expected 'tenth', 'all' or a number of at least 1"),
        ({"num_images": "half"}, "got num_images='half', expected 'tenth'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^LearningCurves: {message}"):
        LearningCurves(**arguments)
