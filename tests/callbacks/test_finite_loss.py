from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from set_aggregation.callbacks import FiniteLoss


class Losses(LightningModule):
    """Has the losses it is given, one after the other."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.validated = False

    def training_step(self, batch, batch_idx):
        return self.weight * 0 + batch[0]

    def validation_step(self, batch, batch_idx):
        self.validated = True

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(losses, every_n_steps=50, max_epochs=1):
    """Trains on the given losses and gives the trainer and the model."""
    model = Losses()
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[FiniteLoss(every_n_steps)],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
        max_epochs=max_epochs,
        num_sanity_val_steps=0,
    )
    loader = DataLoader(torch.tensor(losses))
    trainer.fit(model, loader, DataLoader(torch.zeros(1)))
    return model


pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_names_the_step(loss):
    with pytest.raises(FloatingPointError, match=r"not a finite number at step 3,"):
        fit([1.0, 1.0, loss, 1.0, 1.0])


def test_names_the_first_of_several():
    with pytest.raises(FloatingPointError, match=r"at step 2,"):
        fit([1.0, float("nan"), 1.0, float("nan")])


def test_names_the_last_batch():
    with pytest.raises(FloatingPointError, match=r"at step 2,"):
        fit([1.0, float("nan")])


def test_finite_losses_pass():
    assert fit([1.0, 1e30, -3.0], max_epochs=2).validated


def test_stops_after_the_given_number_of_steps():
    model = Losses()
    callback = FiniteLoss(every_n_steps=4)

    def end_batch(index):
        loss = torch.tensor(float("nan") if index == 1 else 0.0)
        trainer = SimpleNamespace(global_step=index + 1, is_last_batch=False)
        callback.on_train_batch_end(trainer, model, {"loss": loss}, None, index)

    for index in range(3):
        end_batch(index)
    with pytest.raises(FloatingPointError, match="at step 2,"):
        end_batch(3)


def test_a_broken_model_is_not_validated():
    """Validation in mid-epoch, before the steps are looked at, would make a checkpoint of it."""
    model = Losses()
    trainer = SimpleNamespace(global_step=1, is_last_batch=False)
    callback = FiniteLoss(every_n_steps=100)
    callback.on_train_batch_end(trainer, model, {"loss": torch.tensor(float("nan"))}, None, 0)
    with pytest.raises(FloatingPointError, match="at step 1,"):
        callback.on_validation_start(trainer, model)


def test_validation_before_training_passes():
    FiniteLoss().on_validation_start(SimpleNamespace(global_step=0), Losses())


def test_says_what_to_do():
    with pytest.raises(FloatingPointError, match=r"--model\.optimizer\.lr.*--trainer\.gradient_clip_val"):
        fit([float("nan")])
