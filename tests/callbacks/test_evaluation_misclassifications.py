import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from torch.utils.data import DataLoader

from set_aggregation.callbacks import Misclassification, Misclassifications
from tests.support.noise import NUM_CLASSES, TEST, noise, small_classifier, trainer_of_ranks
from tests.support.quiet_trainer import quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.distributed.nn.functional.all_gather is deprecated"),  # by Lightning
]


def plain(model, module):
    """Confusion matrix and all misclassifications, image by image, largest loss first."""
    confusion, wrong = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=int), []
    (batches,) = [list(module.test_dataloader().sampler)]
    for indices, (images, labels) in zip(batches, module.test_dataloader(), strict=True):
        with torch.no_grad():
            scores = model.eval()(images / 255).log_softmax(1)
        for index, score, truth in zip(indices, scores, labels.tolist(), strict=True):
            prediction = score.argmax().item()
            confusion[truth, prediction] += 1
            if truth != prediction:
                loss = pytest.approx(-score[truth].item(), rel=1e-4)
                wrong.append(Misclassification(index, loss, truth, prediction))
    return confusion, sorted(wrong, key=lambda each: -each.loss.expected)


class WriteDown(Callback):
    """Writes the results of each rank."""

    def __init__(self, folder, found):
        self.folder, self.found = folder, found

    def on_test_end(self, trainer, pl_module):
        text = json.dumps([self.found.confusion.tolist(), self.found.worst])
        (self.folder / f"{trainer.global_rank}.json").write_text(text)


@pytest.mark.parametrize(
    ("num_ranks", "several_sizes", "num_worst"), [(1, True, 1000), pytest.param(3, False, 32, marks=pytest.mark.slow)]
)
def test_counted_image_by_image_on_any_number_of_ranks(tmp_path, num_ranks, several_sizes, num_worst):
    model, module, found = small_classifier(), noise(several_sizes), Misclassifications(num_worst)
    module.setup("test")
    confusion, wrong = plain(model, module)
    assert confusion.sum() == TEST * (1 + several_sizes)
    assert len(wrong) > 32
    trainer = trainer_of_ranks(tmp_path, num_ranks, callbacks=[found, WriteDown(tmp_path, found)])
    trainer.test(model, module, verbose=False)
    for rank in range(num_ranks):
        counts, worst = json.loads((tmp_path / f"{rank}.json").read_text())
        assert counts == confusion.tolist()
        assert [Misclassification(*each) for each in worst] == wrong[:num_worst]


class Scores(LightningModule):
    """Returns the logits in the data."""

    def test_step(self, batch, batch_idx):
        return batch[0]


class Answers(LightningDataModule):
    """Logits and labels, in batches of the given indices."""

    def __init__(self, logits, labels, batches):
        super().__init__()
        self.logits, self.labels, self.batches = torch.as_tensor(logits), torch.tensor(labels), batches
        self.num_classes = self.logits.shape[1]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, indices):
        return self.logits[indices], self.labels[indices]

    def test_dataloader(self):
        return DataLoader(self, batch_size=None, sampler=self.batches)


def count(folder, logits, labels, batches, num_worst=32):
    found = Misclassifications(num_worst)
    quiet_trainer(folder, callbacks=found).test(Scores(), Answers(logits, labels, batches), verbose=False)
    return found


LOGITS, LABELS = [[5.0, 0, 0], [0, 3, 0], [0, 0, 2], [4, 0, 0], [0, 0, 1]], [0, 2, 1, 1, 2]


def test_by_hand(tmp_path):
    found = count(tmp_path, LOGITS, LABELS, [[4], [3, 1], [0, 2]])
    assert found.confusion.tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 1]]
    assert [(each.number, each.truth, each.prediction) for each in found.worst] == [(3, 1, 0), (1, 2, 1), (2, 1, 2)]
    losses = [np.log(np.exp(score) + 2) for score in (4, 3, 2)]
    assert [each.loss for each in found.worst] == pytest.approx(losses)
    assert [each.number for each in count(tmp_path, LOGITS, LABELS, [[0, 1], [2, 3], [4]], num_worst=2).worst] == [3, 1]


def test_equal_losses_are_listed_once(tmp_path):
    logits, labels = torch.eye(4).repeat(10, 1), [1, 2, 3, 0] * 10
    worst = count(tmp_path, logits, labels, torch.randperm(40).view(8, 5).tolist(), num_worst=7).worst
    assert len({each.number for each in worst}) == 7
    assert all((each.truth, each.prediction) == (labels[each.number], each.number % 4) for each in worst)


def test_correct_predictions_of_large_loss_are_left_out(tmp_path):
    logits = [[0.01, *[0.0] * 99], [0, 0.5, *[0.0] * 98]]
    (each,) = count(tmp_path, logits, [0, 0], [[0, 1]]).worst
    assert each.number == 1


def test_each_test_starts_from_zero(tmp_path):
    found = Misclassifications()
    assert (found.confusion.sum(), found.worst) == (0, [])
    trainer = quiet_trainer(tmp_path, callbacks=found)
    trainer.test(Scores(), Answers(LOGITS, LABELS, [[0, 1, 2, 3, 4]]), verbose=False)
    trainer.test(Scores(), Answers(LOGITS[:2], LABELS[:2], [[1], [0]]), verbose=False)
    assert found.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert [each.number for each in found.worst] == [1]


def test_half_precision(tmp_path):
    logits = torch.tensor([[300.0, 0.0], [0.0, 301.0]], dtype=torch.bfloat16)
    assert count(tmp_path, logits, [1, 1], [[0, 1]]).worst == [Misclassification(0, 300.0, 1, 0)]
