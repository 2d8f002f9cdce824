"""What tests/kill_and_resume.py does not cover: settings and frozen parameters of a resumed run."""

import pytest
import torch
from lightning.pytorch.callbacks import BaseFinetuning

from set_aggregation.callbacks import Recovery
from set_aggregation.runs.checkpoint import DurableCheckpointIO
from tests.support.noise import noise, small_classifier
from tests.support.quiet_trainer import quiet_trainer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*does not have many workers")]


class Unfreeze(BaseFinetuning):
    """Trains the backbone from the second epoch on."""

    def freeze_before_training(self, pl_module):
        self.freeze(pl_module.backbone)

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.backbone, optimizer, lr=0.01, initial_denom_lr=1)


def fit(folder, max_epochs, resume=False, lr=0.01, callbacks=()):
    model, recovery = small_classifier(lr), Recovery()
    model.save_hyperparameters({"optimizer": {"class_path": "Adam", "init_args": {"lr": lr}}})
    trained = lambda: [weight for weight in model.parameters() if weight.requires_grad]  # noqa: E731
    model.configure_optimizers = lambda: torch.optim.Adam(trained(), lr=lr)
    recovery.file = folder / "last.ckpt"
    trainer = quiet_trainer(
        folder,
        callbacks=[*callbacks, recovery],
        plugins=[DurableCheckpointIO()],
        max_epochs=max_epochs,
        limit_train_batches=2,
        limit_val_batches=1,
        num_sanity_val_steps=0,
    )
    torch.manual_seed(0)
    trainer.fit(model, noise(), ckpt_path=recovery.file if resume else None)
    return model, trainer


def test_changed_learning_rate_is_applied(tmp_path):
    fit(tmp_path, 1)
    _, trainer = fit(tmp_path, 2, resume=True, lr=0.03)
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [0.03]


def test_unfrozen_backbone_stays_unfrozen(tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, _ = fit(tmp_path / "whole", 3, callbacks=[Unfreeze()])
    fit(tmp_path / "parts", 2, callbacks=[Unfreeze()])
    parts, _ = fit(tmp_path / "parts", 3, resume=True, callbacks=[Unfreeze()])
    assert all(weight.requires_grad for weight in parts.parameters())
    assert all(torch.equal(*pair) for pair in zip(whole.parameters(), parts.parameters(), strict=True))
