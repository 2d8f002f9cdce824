import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import nn
from torch._dynamo.exc import FailOnRecompileLimitHit, Unsupported
from torch._dynamo.testing import CompileCounter
from torch.optim.lr_scheduler import StepLR
from torch.testing import assert_close
from torch.utils.data import DataLoader

from set_aggregation.aggregators import SAN, Conv1x1, Flatten, GlobalAvgPool, GlobalMaxPool
from set_aggregation.backbones import SmallCNN
from set_aggregation.data import Digits
from set_aggregation.models.classifier import SetClassifier

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


def test_glorot_initialization_does_not_overwrite_pretrained_weights():
    backbone = SmallCNN(1)
    backbone.is_pretrained = True
    with pytest.raises(
        ValueError, match="got initialization='glorot', which would overwrite the pretrained weights of"
    ):
        SetClassifier(backbone, GlobalAvgPool, num_classes=3, initialization="glorot")
    SetClassifier(backbone, GlobalAvgPool, num_classes=3)


def test_glorot_initialization_zeroes_every_bias():
    model = make_model(initialization="glorot")
    assert all((value == 0).all() for name, value in model.named_parameters() if name.endswith("bias"))


def test_optimizer_is_adam_at_the_rate_of_the_paper_unless_told():
    model = make_model()
    optimizer = model.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["lr"] == 1e-3
    assert optimizer.param_groups[0]["fused"]
    assert {id(p) for p in optimizer.param_groups[0]["params"]} == {id(p) for p in model.parameters()}


def test_an_optimizer_that_scales_gradients_is_not_fused_or_they_could_not_be_clipped(make_trainer):
    model = make_model()
    model.trainer = make_trainer()
    model.trainer.strategy.precision_plugin.scaler = torch.amp.GradScaler("cpu", enabled=False)
    assert not model.configure_optimizers().param_groups[0]["fused"]


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


@pytest.mark.parametrize("step", ["validation_step", "test_step"])
def test_evaluation_gives_the_logits(step, monkeypatch):
    model, (images, labels) = make_model(), Batches(4).joined()
    monkeypatch.setattr(model, "log", lambda *arguments, **options: None)
    assert torch.equal(getattr(model, step)((images, labels), 0), model(images))


SEVERAL = {"train": [(SIZE, SIZE)], "val": [(16, 16), (SIZE, SIZE)], "test": [(SIZE, 12), (100, 3)]}


@pytest.mark.parametrize("aggregator", [partial(SAN, out_features=4), GlobalAvgPool, GlobalMaxPool])
def test_sets_of_any_size_come_from_images_of_any_size(aggregator):
    make_model(aggregator, image_size=(SIZE, SIZE)).check_image_sizes(SEVERAL)


@pytest.mark.parametrize("arguments", [{"image_size": (SIZE, SIZE)}, {}], ids=["filled in", "by hand"])
@pytest.mark.parametrize("aggregator", [Flatten, Conv1x1])
def test_images_of_several_sizes_are_refused(aggregator, arguments):
    """Each size is named once, by height, wherever it occurs."""
    factory = aggregator if arguments else partial(aggregator, set_size=4)
    message = f"{aggregator.__name__}: got images of 8x8, 8x12, 16x16, 100x3, expected one .* has 4 elements; .* SAN"
    with pytest.raises(ValueError, match=message):
        make_model(factory, **arguments).check_image_sizes(SEVERAL)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_one_part_of_another_size_is_refused(part):
    sizes = {each: [(SIZE, 12 if each == part else SIZE)] for each in ("train", "val", "test")}
    with pytest.raises(ValueError, match="Flatten: got images of"):
        make_model(Flatten, image_size=(SIZE, SIZE)).check_image_sizes(sizes)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"train": []},
        {"train": [(SIZE, 12)], "val": [(SIZE, 12)]},
        {"train": [(5, 9), (6, 10), (SIZE, 12)], "val": [(12, SIZE)]},  # maps of 2x3 and 3x2
    ],
    ids=["not set up", "none", "one", "equally many elements"],
)
@pytest.mark.parametrize("aggregator", [Flatten, Conv1x1])
def test_images_whose_sets_are_of_one_size_are_accepted(aggregator, sizes):
    make_model(aggregator, image_size=(SIZE, 12)).check_image_sizes(sizes)


def make_backbone(first=None, last=None):
    """The small network with one more layer; a subclass would be offered to people by the command line."""
    backbone = SmallCNN(in_channels=1)
    if first is not None:
        backbone.layers.insert(0, first)
    if last is not None:
        backbone.layers.append(last)
    return backbone


@pytest.mark.parametrize("training", [True, False])
def test_looking_at_sizes_changes_nothing(training):
    backbone = make_backbone(last=nn.BatchNorm2d(64))
    model = SetClassifier(backbone, Flatten, num_classes=3, image_size=(SIZE, SIZE)).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.check_image_sizes({"train": [(SIZE, SIZE), (7, 7)]})
    with pytest.raises(ValueError, match="Flatten"):
        model.check_image_sizes(SEVERAL)
    assert {module.training for module in model.modules()} == {training}
    assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("when", ["built", "checked"])
def test_looking_at_sizes_leaves_a_frozen_layer_frozen(when):
    backbone = make_backbone(last=nn.BatchNorm2d(64).eval())
    model = SetClassifier(backbone, Flatten, num_classes=3, image_size=(SIZE, SIZE))
    if when == "checked":
        backbone.layers[-1].eval()
        model.check_image_sizes({"train": [(SIZE, SIZE)]})
    assert backbone.training
    assert not backbone.layers[-1].training


def test_sizes_are_looked_at_in_the_precision_of_the_model():
    """After ``Trainer(precision="64-true").fit`` the test of the same model comes here."""
    make_model(Flatten, image_size=(SIZE, SIZE)).double().check_image_sizes({"test": [(SIZE, SIZE)]})


@pytest.mark.parametrize("method", ["fit", "validate", "test"])
@pytest.mark.parametrize("aggregator", [Flatten, Conv1x1])
def test_trainer_refuses_a_data_module_of_several_sizes(method, aggregator, make_trainer):
    model = SetClassifier(SmallCNN(in_channels=1), aggregator, num_classes=10, image_size=(16, 16))
    data = Digits(sizes=[8, 16])
    with pytest.raises(ValueError, match=f"{aggregator.__name__}: got images of 8x8, 16x16, expected one size"):
        getattr(make_trainer(max_epochs=1), method)(model, datamodule=data)


def test_trainer_refuses_another_size_at_the_test(make_trainer):
    """What a model was trained on is no promise of what it is tested on."""
    model = SetClassifier(SmallCNN(in_channels=1), Flatten, num_classes=10, image_size=(16, 16))
    trainer = make_trainer(limit_val_batches=1)
    trainer.validate(model, datamodule=Digits(), verbose=False)
    with pytest.raises(ValueError, match="Flatten: got images of 8x8, 16x16"):
        trainer.test(model, datamodule=Digits(sizes=[8, 16]))


def test_trainer_takes_sizes_whose_sets_are_of_one_size(make_trainer):
    model = SetClassifier(SmallCNN(in_channels=1), Flatten, num_classes=10, image_size=(16, 16))
    trainer = make_trainer(limit_test_batches=1)
    assert trainer.test(model, datamodule=Digits(), verbose=False)
    assert trainer.test(model, datamodule=Digits(sizes=[14, 16]), verbose=False)


def test_trainer_without_a_data_module_leaves_it_to_the_aggregator(make_trainer):
    model = make_model(Flatten, image_size=(SIZE, SIZE))
    assert make_trainer().test(model, Batches(4), verbose=False)
    with pytest.raises(ValueError, match="Flatten: got sets of 6 elements"):
        make_trainer().test(model, sized([(SIZE, 12)]), verbose=False)


ONE_FOR_ALL = torch.__version__ >= "2.15"  # 2.11 tells odd sizes from even ones, where pooling rounds up
MANY_SIZES = [(side, side + side % 3) for side in range(8, 20)]  # dynamo gives up after eight recompilations


def sized(sizes, num=4):
    """A batch of each size, as data modules make them."""
    torch.manual_seed(3)
    batches = [(torch.randn(num, 1, *size), torch.randint(3, (num,))) for size in sizes]
    return DataLoader([(x.to(memory_format=torch.channels_last), y) for x, y in batches], batch_size=None)


@pytest.fixture
def compiler(monkeypatch, unchecked_shapes):
    """Counts the programs that ``torch.compile`` makes; they run as they are, since making them fast takes long."""
    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    yield counter
    torch._dynamo.reset()


ANY_SIZE = {
    "SAN": (partial(SAN, out_features=8), "linear"),
    "SAN, mean, trigonometric": (partial(SAN, out_features=8, reduction="mean"), "trigonometric"),
    "SAN, no positions": (partial(SAN, out_features=8), "none"),
    "GlobalAvgPool": (GlobalAvgPool, "linear"),
    "GlobalMaxPool": (GlobalMaxPool, "linear"),
}


@pytest.mark.parametrize(("aggregator", "positions"), ANY_SIZE.values(), ids=ANY_SIZE)
def test_images_of_all_sizes_share_a_program(aggregator, positions, compiler, make_trainer):
    """One of training and one of evaluation."""
    model = make_model(aggregator, positions=positions, compile=True)
    assert compiler.frame_count == 0
    loader = sized(MANY_SIZES)
    make_trainer(max_epochs=2).fit(model, loader, loader)
    if ONE_FOR_ALL:
        assert compiler.frame_count == 2


def test_batch_of_one_image_needs_one_more_program_at_most(compiler):
    model = make_model(compile=True)
    for num in (4, 1, 7, 2):
        for images, _ in sized(MANY_SIZES, num):
            model(images)
    if ONE_FOR_ALL:
        assert compiler.frame_count <= 2


@pytest.mark.parametrize("training", [True, False])
def test_compiled_gives_the_same_logits_and_gradients(training, compiler):
    compiled, model = make_model(compile=True).train(training), make_model().train(training)
    for images, labels in sized(MANY_SIZES):
        for each in (compiled, model):
            each.zero_grad()
            F.cross_entropy(each(images), labels).backward()
        assert_close(compiled(images), model(images))
        for ours, theirs in zip(compiled.parameters(), model.parameters(), strict=True):
            assert_close(ours.grad, theirs.grad)
    assert compiler.frame_count > 0


def test_compiled_trains_alike(compiler, make_trainer):
    compiled, model = make_model(compile=True), make_model()
    for each in (compiled, model):
        make_trainer(max_epochs=1).fit(each, sized(MANY_SIZES), sized(MANY_SIZES))
    assert_close(dict(compiled.state_dict()), dict(model.state_dict()))
    assert_close(compiled.trainer.callback_metrics, model.trainer.callback_metrics)


def test_compiled_and_not_share_checkpoints(compiler):
    torch.manual_seed(1)
    compiled, model = make_model(compile=True), make_model()
    assert list(compiled.state_dict()) == list(model.state_dict())
    (images, _), *_ = sized([(SIZE, 12)])
    before = compiled(images)
    with torch.no_grad():
        model.head[-1].weight.mul_(2)
    compiled.load_state_dict(model.state_dict())
    assert_close(compiled(images), model(images))
    assert not torch.allclose(compiled(images), before)


def test_a_copy_of_a_compiled_model_has_its_own_weights(compiler):
    """As the averaged model of ``WeightAveraging`` has."""
    model = make_model(compile=True)
    twin = copy.deepcopy(model)
    nn.init.zeros_(twin.head[-1].weight)
    nn.init.zeros_(twin.head[-1].bias)
    assert not twin(torch.randn(2, 1, SIZE, SIZE)).any()


def test_nothing_is_compiled_unless_told(compiler):
    make_model()(torch.randn(2, 1, SIZE, SIZE))
    assert compiler.frame_count == 0


class OneFactorForEachSize(nn.Module):
    """Needs a program for each size."""

    def forward(self, x):
        return x * list(range(30))[x.shape[2]]


class Interruption(nn.Module):
    """Cannot be one program with what is around it."""

    def forward(self, x):
        torch._dynamo.graph_break()
        return x


def test_a_program_for_each_size_is_an_error(compiler):
    """In place of slow code without a word."""
    model = SetClassifier(make_backbone(first=OneFactorForEachSize()), GlobalAvgPool, num_classes=3, compile=True)
    with torch._dynamo.config.patch(recompile_limit=2), pytest.raises(FailOnRecompileLimitHit):
        _ = [model(images) for images, _ in sized(MANY_SIZES)]


def test_a_network_in_two_programs_is_an_error(compiler):
    model = SetClassifier(make_backbone(first=Interruption()), GlobalAvgPool, num_classes=3, compile=True)
    with pytest.raises(Unsupported):
        model(torch.randn(2, 1, SIZE, SIZE))
