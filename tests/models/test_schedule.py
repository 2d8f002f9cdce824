import pytest
import torch
from lightning.pytorch import Trainer

from set_aggregation.data import Digits
from set_aggregation.models.schedule import WarmupCosine, num_steps

QUIET = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu"}


def optimizer():
    return torch.optim.SGD([torch.zeros(1)], lr=2.0)


def test_the_peak_is_the_rate_of_the_optimizer_and_the_end_is_zero():
    schedule, rates = WarmupCosine(optimizer(), total_steps=100, warmup_fraction=0.1), []
    for _ in range(101):
        rates += schedule.get_last_lr()
        schedule.optimizer.step()
        schedule.step()
    assert rates.index(max(rates)) == 10
    assert max(rates) == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert rates[100] == 0


@pytest.mark.parametrize("arguments", [{}, {"total_steps": 0}, {"total_steps": 9, "warmup_fraction": 1.0}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=r"WarmupCosine: got (total_steps|warmup_fraction)"):
        WarmupCosine(optimizer(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"max_epochs": 3}, 12),
        ({"max_epochs": 3, "accumulate_grad_batches": 3}, 6),
        ({"max_epochs": 3, "limit_train_batches": 2}, 6),
        ({"max_epochs": 2, "limit_train_batches": 0.5}, 4),
        ({"max_epochs": 3, "max_steps": 5}, 5),
        ({"max_epochs": -1, "max_steps": 5}, 5),
        ({"max_epochs": 2, "overfit_batches": 1}, 2),
        ({"fast_dev_run": 1}, 1),
    ],
)
def test_steps_of_a_training(arguments, expected):
    trainer, data = Trainer(**QUIET, **arguments), Digits(num_train=100, batch_size=32)
    data.setup("fit")
    trainer.datamodule = data
    assert num_steps(trainer) == expected


def test_a_training_without_an_end_is_refused():
    with pytest.raises(ValueError, match="max_epochs"):
        num_steps(Trainer(**QUIET, max_epochs=-1))
