import json
import multiprocessing
from datetime import timedelta
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from set_aggregation.callbacks import AccuracyPerSize

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")

NUM_CLASSES = 5


def answered(size, *is_right):
    """A batch of images of a size, whose first pixel is the class that ``Reader`` answers."""
    labels = torch.arange(len(is_right)) % NUM_CLASSES
    images = torch.zeros(len(is_right), 1, *size, dtype=torch.long)
    images[:, 0, 0, 0] = (labels + 1 - torch.tensor(is_right)) % NUM_CLASSES
    return images, labels


class Reader(LightningModule):
    """Answers what stands in the image."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def validation_step(self, batch, batch_idx):
        return F.one_hot(batch[0][:, 0, 0, 0], NUM_CLASSES)

    test_step = validation_step

    def training_step(self, batch, batch_idx):
        return self.weight * 0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Answers(LightningDataModule):
    """Batches of images of several sizes."""

    def __init__(self, val=(), test=(), sizes=None):
        super().__init__()
        self.parts = {"val": val, "test": test}
        self.image_sizes = sizes or {
            part: sorted({tuple(images.shape[2:]) for images, _ in batches}) for part, batches in self.parts.items()
        }

    def train_dataloader(self):
        return DataLoader([0])

    def val_dataloader(self):
        return DataLoader(self.parts["val"], batch_size=None)

    def test_dataloader(self):
        return DataLoader(self.parts["test"], batch_size=None)


@pytest.fixture
def make_trainer(tmp_path):
    return partial(
        Trainer,
        accelerator="cpu",
        callbacks=AccuracyPerSize(),
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
        max_epochs=1,
    )


# 8x8: 3 of 7 right; 16x16: 1 of 1; 8x12: 0 of 3; 12x8: 1 of 2
BATCHES = [
    answered((8, 8), 1, 0, 0, 1),
    answered((16, 16), 1),
    answered((8, 12), 0, 0, 0),
    answered((8, 8), 0, 1, 0),
    answered((12, 8), 1, 0),
]
ACCURACIES = {"8x8": 3 / 7, "16x16": 1.0, "8x12": 0.0, "12x8": 1 / 2}


def logged_as(part, accuracies):
    return {f"{part}/accuracy/{size}": pytest.approx(value) for size, value in accuracies.items()}


@pytest.mark.parametrize(("method", "part"), [("validate", "val"), ("test", "test")])
def test_accuracies_counted_by_hand(make_trainer, method, part):
    (logged,) = getattr(make_trainer(), method)(Reader(), datamodule=Answers(BATCHES, BATCHES), verbose=False)
    assert logged == logged_as(part, ACCURACIES)


def test_order_of_sizes_does_not_matter(make_trainer):
    data = Answers(BATCHES, sizes={"val": [(12, 8), (8, 12), (20, 20), (16, 16), (8, 8)]})
    (logged,) = make_trainer().validate(Reader(), datamodule=data, verbose=False)
    assert logged == logged_as("val", ACCURACIES)


ONE_SIZE = [answered((8, 8), 1, 0), answered((8, 8), 0)]


def test_one_size_is_not_logged_twice(make_trainer):
    assert make_trainer().validate(Reader(), datamodule=Answers(ONE_SIZE), verbose=False) == [{}]


def test_with_a_data_module_without_sizes(make_trainer):
    data = Answers(BATCHES)
    del data.image_sizes
    assert make_trainer().validate(Reader(), datamodule=data, verbose=False) == [{}]


def test_sizes_that_were_not_seen_are_left_out(make_trainer):
    trainer = make_trainer(limit_val_batches=3)
    (logged,) = trainer.validate(Reader(), datamodule=Answers(BATCHES), verbose=False)
    assert logged == logged_as("val", {"8x8": 2 / 4, "16x16": 1.0, "8x12": 0.0})


def test_counts_start_from_zero_each_epoch(make_trainer):
    """And after Lightning's check before the first."""
    seen = []

    class Epochs(Answers):
        def val_dataloader(self):
            epoch = self.trainer.current_epoch
            self.parts["val"] = [answered((8, 8), *[epoch] * 3), answered((16, 16), epoch, 1, 1)]
            return super().val_dataloader()

    class Note(Reader):
        def on_validation_end(self):
            if not self.trainer.sanity_checking:
                metrics = self.trainer.callback_metrics
                seen.append([round(float(metrics[f"val/accuracy/{size}"]), 4) for size in ("8x8", "16x16")])

    data = Epochs(sizes={"val": [(8, 8), (16, 16)]})
    trainer = make_trainer(max_epochs=2, num_sanity_val_steps=2, reload_dataloaders_every_n_epochs=1)
    trainer.fit(Note(), datamodule=data)
    assert seen == [[0.0, 0.6667], [1.0, 1.0]]


def test_stage_of_one_size_after_one_of_several(make_trainer):
    trainer, data = make_trainer(), Answers(BATCHES, ONE_SIZE)
    trainer.validate(Reader(), datamodule=data, verbose=False)
    assert trainer.test(Reader(), datamodule=data, verbose=False) == [{}]


class Shared(Answers):
    """Deals batches out to two ranks, so that neither sees all sizes and one has more of them."""

    def test_dataloader(self):
        mine = (BATCHES[:1], BATCHES[1:])[self.trainer.global_rank]
        return DataLoader(mine, batch_size=None)


class NotingReader(Reader):
    """Writes down what its rank has logged."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_test_end(self):
        metrics = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        (self.folder / f"{self.global_rank}.json").write_text(json.dumps(metrics))


@pytest.mark.slow
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="a new Python would take long")
@pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning")
def test_ranks_log_the_accuracies_of_all(make_trainer, tmp_path):
    """Two processes, whose mean is not the accuracy: 8x8 is 2 of 4 on one, 1 of 3 on the other."""
    if torch.cuda.is_initialized():
        pytest.skip("CUDA cannot be forked")
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo", timeout=timedelta(seconds=60))
    trainer = make_trainer(strategy=strategy, devices=2, use_distributed_sampler=False)
    trainer.test(NotingReader(tmp_path), datamodule=Shared(test=BATCHES), verbose=False)
    of_ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    exact = {f"test/accuracy/{size}": torch.tensor(value).item() for size, value in ACCURACIES.items()}
    assert of_ranks == [exact, exact]
