import dataclasses
import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from torch.utils.data import DataLoader

from set_aggregation.callbacks import Mistake, Mistakes
from tests.support.noise import NUM_CLASSES, TEST, noise, small_classifier, trainer_of_ranks
from tests.support.quiet_trainer import quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.distributed.nn.functional.all_gather is deprecated"),  # by Lightning
]


def plain(model, module):
    """Confusion and all mistakes, image by image, those of largest loss first."""
    confusion, mistakes = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=int), []
    for index in range(len(module._sets["test"])):
        images, labels = module._sets["test"][[index]]
        with torch.no_grad():
            scores = model.eval()(images / 255)[0].log_softmax(0)
        truth, prediction = labels.item(), scores.argmax().item()
        confusion[truth, prediction] += 1
        if truth != prediction:
            mistakes.append(Mistake(index, pytest.approx(-scores[truth].item(), rel=1e-4), truth, prediction))
    return confusion, sorted(mistakes, key=lambda mistake: -mistake.loss.expected)


class WriteDown(Callback):
    """Writes down what each rank has."""

    def __init__(self, folder, mistakes):
        self.folder, self.mistakes = folder, mistakes

    def on_test_end(self, trainer, pl_module):
        worst = [dataclasses.astuple(mistake) for mistake in self.mistakes.worst]
        text = json.dumps([self.mistakes.confusion.tolist(), worst])
        (self.folder / f"{trainer.global_rank}.json").write_text(text)


@pytest.mark.parametrize(
    ("num_ranks", "several_sizes", "num_worst"),
    [(1, False, 32), (1, True, 32), (1, True, 1000), (2, True, 32), (3, False, 32), (3, True, 1000)],
)
def test_counted_image_by_image_on_any_number_of_ranks(tmp_path, num_ranks, several_sizes, num_worst):
    model, module, mistakes = small_classifier(), noise(several_sizes), Mistakes(num_worst)
    module.setup("test")
    confusion, all_mistakes = plain(model, module)
    assert len(all_mistakes) > 32
    trainer = trainer_of_ranks(tmp_path, num_ranks, callbacks=[mistakes, WriteDown(tmp_path, mistakes)])
    trainer.test(model, module, verbose=False)
    for rank in range(num_ranks):
        counts, worst = json.loads((tmp_path / f"{rank}.json").read_text())
        assert counts == confusion.tolist()
        assert [Mistake(*mistake) for mistake in worst] == all_mistakes[:num_worst]


def test_confusion_of_all_images(tmp_path):
    mistakes = Mistakes()
    quiet_trainer(tmp_path, callbacks=mistakes).test(small_classifier(), noise(several_sizes=True), verbose=False)
    assert mistakes.confusion.sum() == 2 * TEST


class Scores(LightningModule):
    """Answers what stands in the data."""

    def test_step(self, batch, batch_idx):
        return batch[0]


class Answers(LightningDataModule):
    """Logits and labels, in batches of the given indices."""

    def __init__(self, logits, labels, batches):
        super().__init__()
        self.items = _Items(torch.as_tensor(logits, dtype=torch.float), torch.tensor(labels))
        self.batches = batches
        self.num_classes = self.items.logits.shape[1]

    def test_dataloader(self):
        return DataLoader(self.items, batch_size=None, sampler=self.batches)


class _Items:
    def __init__(self, logits, labels):
        self.logits, self.labels = logits, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, indices):
        return self.logits[indices], self.labels[indices]


def count(folder, logits, labels, batches, num_worst=32, **arguments):
    mistakes = Mistakes(num_worst)
    trainer = quiet_trainer(folder, callbacks=mistakes, **arguments)
    trainer.test(Scores(), Answers(logits, labels, batches), verbose=False)
    return mistakes


LOGITS, LABELS = [[5, 0, 0], [0, 3, 0], [0, 0, 2], [4, 0, 0], [0, 0, 1]], [0, 2, 1, 1, 2]


@pytest.mark.parametrize("batches", [[[0, 1, 2, 3, 4]], [[4], [3, 1], [0, 2]]])
def test_by_hand(tmp_path, batches):
    mistakes = count(tmp_path, LOGITS, LABELS, batches)
    assert mistakes.confusion.tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 1]]
    found = [(mistake.index, mistake.truth, mistake.prediction) for mistake in mistakes.worst]
    assert found == [(3, 1, 0), (1, 2, 1), (2, 1, 2)]
    losses = [np.log(np.exp(score) + 2) for score in (4, 3, 2)]
    assert [mistake.loss for mistake in mistakes.worst] == pytest.approx(losses)


def test_none(tmp_path):
    mistakes = count(tmp_path, torch.eye(3), [0, 1, 2], [[0, 1], [2]])
    assert (mistakes.confusion.tolist(), mistakes.worst) == (np.eye(3).tolist(), [])


def test_as_many_as_asked_for(tmp_path):
    worst = count(tmp_path, LOGITS, LABELS, [[0, 1], [2, 3], [4]], num_worst=2).worst
    assert [mistake.index for mistake in worst] == [3, 1]


def test_of_equal_losses_each_is_listed_once(tmp_path):
    logits, labels = torch.eye(4).repeat(10, 1), [1, 2, 3, 0] * 10
    mistakes = count(tmp_path, logits, labels, torch.randperm(40).view(8, 5).tolist(), num_worst=7)
    assert len({mistake.index for mistake in mistakes.worst}) == 7
    for mistake in mistakes.worst:
        assert (mistake.truth, mistake.prediction) == (labels[mistake.index], mistake.index % 4)
        assert mistake.loss == pytest.approx(np.log(np.e + 3))


def test_right_answers_of_large_loss_are_no_mistakes(tmp_path):
    logits = [[0.01, *[0] * 99], [0, 0.5, *[0] * 98]]
    (mistake,) = count(tmp_path, logits, [0, 0], [[0, 1]]).worst
    assert mistake.index == 1


def test_limited_test_counts_what_it_saw(tmp_path):
    mistakes = count(tmp_path, LOGITS, LABELS, [[0, 1], [2, 3], [4]], limit_test_batches=2)
    assert mistakes.confusion.sum() == 4


def test_each_test_begins_anew(tmp_path):
    mistakes = Mistakes()
    trainer = quiet_trainer(tmp_path, callbacks=mistakes)
    trainer.test(Scores(), Answers(LOGITS, LABELS, [[0, 1, 2, 3, 4]]), verbose=False)
    trainer.test(Scores(), Answers(LOGITS[:2], LABELS[:2], [[1], [0]]), verbose=False)
    assert mistakes.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert [mistake.index for mistake in mistakes.worst] == [1]


def test_nothing_before_the_test():
    assert (Mistakes().confusion.sum(), Mistakes().worst) == (0, [])


def test_counting_leaves_the_order_of_the_batches_alone(tmp_path):
    """The sampler of the loader is asked for its batches twice at once."""
    module = noise(several_sizes=True)
    seen = []

    class Note(Callback):
        def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
            seen.append(batch[1])

    quiet_trainer(tmp_path, callbacks=[Mistakes(), Note()]).test(small_classifier(), module, verbose=False)
    assert torch.equal(torch.cat(seen), torch.cat([labels for _, labels in module.test_dataloader()]))


def test_half_precision(tmp_path):
    logits = torch.tensor([[300.0, 0.0], [0.0, 301.0]], dtype=torch.bfloat16)
    mistakes = Mistakes()
    module = Answers([[0, 0]], [0], [[0, 1]])
    module.items = _Items(logits, torch.tensor([1, 1]))
    quiet_trainer(tmp_path, callbacks=mistakes).test(Scores(), module, verbose=False)
    assert mistakes.worst == [Mistake(0, 300.0, 1, 0)]
