import json
import math

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from set_aggregation.callbacks import NonFinite
from tests.support.noise import noise, small_classifier
from tests.support.quiet_trainer import quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")


class Losses(LightningModule):
    """Has the losses it is given, one after the other."""

    def __init__(self, gradient_only=False):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.validated, self.gradient_only = False, gradient_only

    def training_step(self, batch, batch_idx):
        if self.gradient_only:  # finite loss, gradient 0.5 / sqrt(0) where the batch is 0
            return (self.weight * batch).abs().sum().sqrt()
        return (self.weight * batch).sum()

    def validation_step(self, batch, batch_idx):
        self.validated = True

    def configure_optimizers(self):
        return torch.optim.SGD([self.weight], lr=0.5)


def fit(folder, losses, callback=None, model=None, callbacks=(), **arguments):
    model = Losses() if model is None else model
    callbacks = [callback or NonFinite(), *callbacks]
    trainer = quiet_trainer(folder, callbacks=callbacks, max_epochs=1, num_sanity_val_steps=0, **arguments)
    trainer.fit(model, DataLoader(torch.tensor(losses)), DataLoader(torch.zeros(1)))
    return model


@pytest.mark.parametrize(
    ("losses", "step"), [([1.0, 1.0, math.nan, 1.0, math.nan], 3), ([1.0, math.inf], 2), ([-math.inf], 1)]
)
def test_first_bad_step_is_named(tmp_path, losses, step):
    with pytest.raises(FloatingPointError, match=rf"not finite at step {step},.*--model\.optimizer\.lr"):
        fit(tmp_path, losses)


def test_infinite_gradient_of_a_finite_loss(tmp_path):
    """The loss is sqrt(weight - 1), with a weight of 1."""
    model = Losses()
    model.training_step = lambda batch, batch_idx: (model.weight - batch).sum().sqrt()
    with pytest.raises(FloatingPointError, match="at step 1,"):
        fit(tmp_path, [1.0], model=model)


def test_gradient_of_a_finite_loss(tmp_path):
    with pytest.raises(FloatingPointError, match="at step 2,"):
        fit(tmp_path, [1.0, 0.0, 1.0], model=Losses(gradient_only=True))


def test_accumulated_batches(tmp_path):
    with pytest.raises(FloatingPointError, match="at step 2, from batches 2 to 3 of the epoch"):
        fit(tmp_path, [1.0, 1.0, math.nan, 1.0, 1.0, 1.0], accumulate_grad_batches=2)


def test_finite_losses_pass(tmp_path):
    assert fit(tmp_path, [1.0, 1e10, -3.0]).validated


def test_is_read_after_the_given_number_of_steps(tmp_path):
    class Count(Callback):
        batches = 0

        def on_train_batch_start(self, *args):
            self.batches += 1

    count = Count()
    with pytest.raises(FloatingPointError, match="at step 2,"):
        fit(tmp_path, [1.0, math.nan, 1.0, 1.0, 1.0, 1.0], NonFinite(every_n_steps=4), callbacks=[count])
    assert count.batches == 4


def test_broken_weights_are_neither_validated_nor_saved(tmp_path):
    class Save(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 1:
                trainer.save_checkpoint(tmp_path / "a.ckpt")

    model = Losses()
    with pytest.raises(FloatingPointError, match="at step 1,"):
        fit(tmp_path, [math.nan, 1.0, 1.0, 1.0], model=model, val_check_interval=2)
    with pytest.raises(FloatingPointError, match="at step 2,"):
        fit(tmp_path, [1.0, math.nan, 1.0], callbacks=[Save()])
    assert not model.validated
    assert not (tmp_path / "a.ckpt").exists()


def test_last_good_checkpoint_is_named(tmp_path):
    callback = NonFinite()
    callback.folder = tmp_path
    with pytest.raises(FloatingPointError, match="the last good checkpoint is none"):
        fit(tmp_path, [math.nan], callback)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(FloatingPointError, match=f"the last good checkpoint is {tmp_path}/checkpoints/last.ckpt"):
        fit(tmp_path, [math.nan], callback)


def test_record_has_the_images_of_the_batch(tmp_path):
    model, seen = small_classifier(), {}
    step = model.training_step

    def look(batch, batch_idx):
        loss = step(batch, batch_idx)["loss"]
        seen.update({batch_idx: batch[0]} if model.current_epoch == 1 else {})
        return loss * math.nan if (model.current_epoch, batch_idx) == (1, 3) else loss

    model.training_step = look
    data, callback = noise(several_sizes=True), NonFinite()
    callback.folder = tmp_path
    with pytest.raises(FloatingPointError, match="training images"):
        quiet_trainer(tmp_path, callbacks=[callback], max_epochs=2).fit(model, data)
    (row,) = map(json.loads, (tmp_path / "non_finite.jsonl").read_text().splitlines())
    assert (row["epoch"], row["rank"], row["step"]) == (2, 0, data.trainer.num_training_batches + 4)
    images = [torch.tensor(data.image("train", number)[..., 0]) for number in row["training_images"]]
    assert torch.equal(torch.stack(images)[:, None] / 255, seen[3])


def test_bad_number_of_steps():
    with pytest.raises(ValueError, match="NonFinite: got every_n_steps=0, expected at least 1"):
        NonFinite(every_n_steps=0)
