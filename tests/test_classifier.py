import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.testing import assert_close

from set_aggregation.aggregators import SAN, Conv1x1, Flatten, GlobalAvgPool
from set_aggregation.backbones import SmallCNN
from set_aggregation.classifier import SetClassifier

# Lightning 2.6 builds a class that torch has since renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")

SIZE = 8  # pixels; the feature map is 2x2


class Batches:
    """Batches in memory, as Lightning takes any iterable of them."""

    def __init__(self, *sizes):
        torch.manual_seed(3)
        self.batches = [(torch.randn(size, 1, SIZE, SIZE), torch.randint(3, (size,))) for size in sizes]

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)

    def joined(self):
        images, labels = zip(*self.batches, strict=True)
        return torch.cat(images), torch.cat(labels)


def make_model(aggregator=None, **arguments):
    torch.manual_seed(0)
    aggregator = aggregator or partial(SAN, out_features=32)
    return SetClassifier(SmallCNN(in_channels=1), aggregator, num_classes=3, **arguments)


@pytest.fixture
def make_trainer(tmp_path):
    return partial(
        Trainer,
        accelerator="cpu",
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        log_every_n_steps=1,
        logger=False,
    )


def weights_of(model):
    return [module.weight for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def test_logits_are_those_of_the_parts_one_after_the_other():
    model = make_model(positions="trigonometric", hidden_features=4)
    images = torch.randn(2, 1, SIZE, SIZE)
    elements, positions = model.feature_set(model.backbone(images))
    assert_close(model(images), model.head(model.aggregator(elements, positions=positions)))


@pytest.mark.parametrize(("positions", "expected"), [("none", 0), ("linear", 2), ("trigonometric", 16)])
def test_size_of_the_positions_is_filled_in(positions, expected):
    model = make_model(positions=positions)
    assert model.aggregator.position_features == expected
    assert model(torch.randn(2, 1, SIZE, SIZE)).shape == (2, 3)


@pytest.mark.parametrize("aggregator", [Conv1x1, Flatten])
def test_size_of_the_sets_is_filled_in(aggregator):
    assert make_model(aggregator, image_size=(SIZE, 12)).aggregator.set_size == 2 * 3


def test_positions_are_kept_from_aggregators_that_ignore_them():
    model = make_model(GlobalAvgPool, positions="linear")
    assert model(torch.randn(2, 1, SIZE, SIZE)).shape == (2, 3)


@pytest.mark.parametrize(
    ("aggregator", "message"),
    [
        (partial(SAN, out_features=4, position_features=0), "SAN: got position_features=0, .* position_features=2;"),
        (partial(SAN, out_features=4, position_features=5), "SAN: got position_features=5, .* position_features=2;"),
        (partial(Conv1x1, set_size=9), "Conv1x1: got set_size=9, .* set_size=4;"),
        (partial(Flatten, set_size=9), "Flatten: got set_size=9, .* set_size=4;"),
    ],
)
def test_an_aggregator_for_other_sets_is_refused(aggregator, message):
    with pytest.raises(ValueError, match=message):
        make_model(aggregator, image_size=(SIZE, SIZE))


def test_learning_the_set_size_leaves_the_backbone_as_it_was():
    backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    backbone.in_channels, backbone.out_features = 1, 4
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    SetClassifier(backbone, Flatten, num_classes=3, image_size=(SIZE, SIZE))
    assert backbone.training
    assert_close(dict(backbone.state_dict()), before, rtol=0, atol=0)


def test_torch_initialization_leaves_the_backbone_as_it_was():
    backbone = SmallCNN(in_channels=1)
    before = [parameter.clone() for parameter in backbone.parameters()]
    SetClassifier(backbone, GlobalAvgPool, num_classes=3)
    assert all(map(torch.equal, before, backbone.parameters()))


def test_glorot_initialization_fills_its_interval():
    weights = weights_of(make_model(initialization="glorot"))
    assert len(weights) == 5  # three convolutions, the projection of SAN, the classifier
    for weight in weights:
        area = weight[0, 0].numel()
        bound = math.sqrt(6 / (weight.shape[0] * area + weight.shape[1] * area))
        assert 0.9 * bound < weight.abs().max() <= bound


def test_glorot_initialization_zeroes_every_bias():
    model = make_model(initialization="glorot")
    assert all((value == 0).all() for name, value in model.named_parameters() if name.endswith("bias"))


def test_optimizer_is_adam_at_the_rate_of_the_paper_unless_told():
    model = make_model()
    optimizer = model.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["lr"] == 1e-3
    assert {id(p) for p in optimizer.param_groups[0]["params"]} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize(("interval", "expected"), [("epoch", 0.1), ("step", 0.001)])
def test_schedule_advances_each_epoch_or_each_step(interval, expected, make_trainer):
    model = make_model(
        optimizer=partial(torch.optim.SGD, lr=1.0),
        scheduler=partial(StepLR, step_size=1, gamma=0.1),
        scheduler_interval=interval,
    )
    make_trainer(max_epochs=1).fit(model, Batches(4, 4, 4), Batches(4))
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(expected)


def test_schedule_can_watch_a_metric(make_trainer):
    model = make_model(
        optimizer=partial(torch.optim.SGD, lr=1.0),
        scheduler=partial(ReduceLROnPlateau, monitor="val/loss", factor=0.5, patience=0, mode="max", threshold=1e9),
    )
    make_trainer(max_epochs=3).fit(model, Batches(4), Batches(4))
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == 0.25  # the second and third epochs were no better


def test_logged_evaluation_is_that_of_the_whole_split(make_trainer):
    model, split = make_model(), Batches(5, 3, 1)
    make_trainer(max_epochs=1).fit(model, Batches(4, 2), split)
    images, labels = split.joined()
    with torch.no_grad():
        logits = model.eval()(images)
    assert_close(model.trainer.callback_metrics["val/loss"], F.cross_entropy(logits, labels))
    assert_close(model.trainer.callback_metrics["val/accuracy"], (logits.argmax(1) == labels).float().mean())


@pytest.mark.parametrize(("method", "split"), [("validate", "val"), ("test", "test")])
def test_every_image_counts_once_whatever_the_size_of_its_batch(method, split, make_trainer):
    model, batches = make_model(), Batches(5, 3, 1)
    with torch.no_grad():
        predicted = [model(images).argmax(1) for images, _ in batches]
        wrong = [0, 0, 1]  # all right but the last batch
        batches.batches = [(x, (y + off) % 3) for (x, _), y, off in zip(batches, predicted, wrong, strict=True)]
        images, labels = batches.joined()
        expected_loss = F.cross_entropy(model(images), labels).item()
    (logged,) = getattr(make_trainer(), method)(model, batches, verbose=False)
    assert logged == {f"{split}/loss": pytest.approx(expected_loss), f"{split}/accuracy": pytest.approx(8 / 9)}


def test_training_lowers_the_loss(make_trainer):
    model, batches = make_model(), Batches(8)
    images, labels = batches.joined()
    before = F.cross_entropy(model(images), labels).item()
    make_trainer(max_epochs=5).fit(model, batches, batches)
    assert F.cross_entropy(model(images), labels).item() < before


def test_predictions_are_probabilities():
    model, (images, _) = make_model(), Batches(4).joined()
    assert_close(model.predict_step((images,), 0), model(images).softmax(1))


def test_checkpoint_of_a_model_made_in_python_holds_nothing_to_unpickle(make_trainer, tmp_path):
    model = make_model(optimizer=partial(torch.optim.SGD, lr=0.1))
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, Batches(4), Batches(4))
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    checkpoint = torch.load(tmp_path / "model.ckpt", weights_only=True)
    restored = make_model()
    restored.load_state_dict(checkpoint["state_dict"])
    images = torch.randn(2, 1, SIZE, SIZE)
    assert torch.equal(restored(images), model(images))
