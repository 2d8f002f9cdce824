"""Losses and gradients that are no numbers: found, named, and dealt with as asked."""

import json
import math

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from set_aggregation.callbacks import NonFinite
from tests.support.noise import noise, small_classifier, trainer_of_ranks
from tests.support.quiet_trainer import quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning"),
]


class Losses(LightningModule):
    """Has the losses it is given, one after the other; the gradient is the loss, too."""

    def __init__(self, gradient_of_its_own=False):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.norm = torch.nn.BatchNorm1d(1)
        self.validated = False
        self.gradient_of_its_own = gradient_of_its_own

    def training_step(self, batch, batch_idx):
        self.norm(torch.stack((batch, batch + 1)))
        if self.gradient_of_its_own:  # finite loss, gradient 0.5 / sqrt(0) where the batch is 0
            return (self.weight * batch).abs().sum().sqrt() * 1.0
        return (self.weight * batch).sum()

    def validation_step(self, batch, batch_idx):
        self.validated = True

    def configure_optimizers(self):
        return torch.optim.SGD([self.weight], lr=0.5)


def fit(folder, losses, callback=None, model=None, max_epochs=1, **arguments):
    """Trains on the given losses and gives the model."""
    model = Losses() if model is None else model
    trainer = quiet_trainer(
        folder,
        callbacks=[callback or NonFinite(), *arguments.pop("callbacks", [])],
        max_epochs=max_epochs,
        num_sanity_val_steps=0,
        **arguments,
    )
    trainer.fit(model, DataLoader(torch.tensor(losses)), DataLoader(torch.zeros(1)))
    return model


class TestStop:
    @pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
    def test_names_the_step(self, tmp_path, loss):
        with pytest.raises(FloatingPointError, match=r"not a finite number at step 3,"):
            fit(tmp_path, [1.0, 1.0, loss, 1.0, 1.0])

    def test_names_the_first_of_several(self, tmp_path):
        with pytest.raises(FloatingPointError, match=r"at step 2,"):
            fit(tmp_path, [1.0, math.nan, 1.0, math.nan])

    def test_names_the_last_batch(self, tmp_path):
        with pytest.raises(FloatingPointError, match=r"at step 2,"):
            fit(tmp_path, [1.0, math.nan])

    def test_gradient_of_a_finite_loss(self, tmp_path):
        with pytest.raises(FloatingPointError, match=r"at step 2,"):
            fit(tmp_path, [1.0, 0.0, 1.0], model=Losses(gradient_of_its_own=True))

    def test_first_of_the_accumulated_batches(self, tmp_path):
        with pytest.raises(FloatingPointError, match=r"at step 2,.*from batches 2 to 3 of the epoch"):
            fit(tmp_path, [1.0, 1.0, math.nan, 1.0, 1.0, 1.0], accumulate_grad_batches=2)

    def test_finite_losses_pass(self, tmp_path):
        assert fit(tmp_path, [1.0, 1e10, -3.0], max_epochs=2).validated

    def test_is_noticed_after_the_given_number_of_steps(self, tmp_path):
        class Count(Callback):
            batches = 0

            def on_train_batch_start(self, *args):
                self.batches += 1

        count = Count()
        with pytest.raises(FloatingPointError, match="at step 2,"):
            fit(tmp_path, [1.0, math.nan, 1.0, 1.0, 1.0, 1.0], NonFinite(every_n_steps=4), callbacks=[count])
        assert count.batches == 4

    def test_a_broken_model_is_not_validated(self, tmp_path):
        """Validation in mid-epoch, before the steps are looked at, would make a checkpoint of it."""
        model = Losses()
        with pytest.raises(FloatingPointError, match="at step 1,"):
            fit(tmp_path, [math.nan, 1.0, 1.0, 1.0], model=model, val_check_interval=2)
        assert not model.validated

    def test_a_broken_model_is_not_saved(self, tmp_path):
        class Save(Callback):
            def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
                if batch_idx == 1:
                    trainer.save_checkpoint(tmp_path / "a.ckpt")

        with pytest.raises(FloatingPointError, match="at step 2,"):
            fit(tmp_path, [1.0, math.nan, 1.0], callbacks=[Save()])
        assert not (tmp_path / "a.ckpt").exists()

    def test_says_what_to_do(self, tmp_path):
        with pytest.raises(FloatingPointError, match=r"--model\.optimizer\.lr.*--trainer\.gradient_clip_val.*skip"):
            fit(tmp_path, [math.nan])

    def test_names_the_last_good_checkpoint(self, tmp_path):
        callback = NonFinite()
        callback.good_checkpoint = tmp_path / "last.ckpt"
        with pytest.raises(FloatingPointError, match="the last good checkpoint is none"):
            fit(tmp_path, [math.nan], callback)
        callback.good_checkpoint.touch()
        with pytest.raises(FloatingPointError, match=f"the last good checkpoint is {tmp_path}/last.ckpt"):
            fit(tmp_path, [math.nan], callback)


class TestSkip:
    def test_the_step_changes_nothing(self, tmp_path):
        with pytest.warns(UserWarning, match="at step 2, which is left out"):
            skipped = fit(tmp_path, [1.0, math.nan, -2.0], NonFinite("skip"))
        without = fit(tmp_path, [1.0, -2.0], NonFinite("skip"))
        for name, value in without.state_dict().items():
            assert torch.equal(skipped.state_dict()[name], value), name

    def test_with_accumulated_batches(self, tmp_path):
        with pytest.warns(UserWarning, match="at step 1, which is left out"):
            skipped = fit(tmp_path, [1.0, math.nan, 3.0, 4.0], NonFinite("skip"), accumulate_grad_batches=2)
        without = fit(tmp_path, [3.0, 4.0], NonFinite("skip"), accumulate_grad_batches=2)
        assert torch.equal(skipped.weight, without.weight)
        assert torch.equal(skipped.norm.running_mean, without.norm.running_mean)

    def test_is_said_once(self, tmp_path):
        with pytest.warns(UserWarning, match="left out") as warned:
            fit(tmp_path, [math.nan] * 4, NonFinite("skip"))
        assert sum("left out" in str(warning.message) for warning in warned) == 1

    @pytest.mark.filterwarnings("ignore:got a loss or gradient")
    def test_ranks_skip_together(self, tmp_path):
        """One rank has the bad batch; the weights of both stay equal, and finite."""
        trainer_of_ranks(tmp_path, 2, callbacks=[NonFinite("skip"), _Weights(tmp_path)], max_epochs=1).fit(
            _BadOnOneRank.like(small_classifier()), noise()
        )
        first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert all(value.isfinite().all() for value in first.values())


class _BadOnOneRank:
    @staticmethod
    def like(model):
        step = model.training_step

        def bad_step(batch, batch_idx):
            outputs = step(batch, batch_idx)
            if (model.global_rank, batch_idx) == (1, 2):
                # The gradient is finite, so that the other rank does not see it there.
                outputs["loss"] = outputs["loss"] + outputs["loss"].detach() * math.nan
            return outputs

        model.training_step = bad_step
        return model


class _Weights(Callback):
    def __init__(self, folder):
        self.folder = folder

    def on_train_end(self, trainer, pl_module):
        torch.save(pl_module.state_dict(), self.folder / f"{trainer.global_rank}.pt")


class TestContinue:
    def test_goes_on(self, tmp_path):
        with pytest.warns(UserWarning, match="at step 2, which is taken all the same"):
            assert fit(tmp_path, [1.0, math.nan, 1.0], NonFinite("continue")).weight.isnan()


class TestImages:
    @pytest.mark.parametrize("several_sizes", [False, True])
    def test_are_those_of_the_batch(self, tmp_path, several_sizes):
        model, seen = small_classifier(), {}
        step = model.training_step

        def look(batch, batch_idx):
            loss = step(batch, batch_idx)["loss"]
            seen.update({batch_idx: batch[0]} if model.current_epoch == 1 else {})
            return loss * math.nan if (model.current_epoch, batch_idx) == (1, 3) else loss

        model.training_step = look
        data, callback = noise(several_sizes), NonFinite()
        callback.file = tmp_path / "found.jsonl"
        with pytest.raises(FloatingPointError, match="training images"):
            quiet_trainer(tmp_path, callbacks=[callback], max_epochs=2).fit(model, data)
        (row,) = map(json.loads, callback.file.read_text().splitlines())
        assert {name: row[name] for name in ("epoch", "rank")} == {"epoch": 1, "rank": 0}
        assert row["step"] == data.trainer.num_training_batches + 4
        images, _ = data._sets["train"][row["training_images"]]
        assert torch.equal(images / 255, seen[3])


def test_bad_number_of_steps():
    with pytest.raises(ValueError, match="NonFinite: got every_n_steps=0, expected at least 1"):
        NonFinite(every_n_steps=0)
