import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import BackboneFinetuning, Callback
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch._dynamo.exc import FailOnRecompileLimitHit
from torch._dynamo.testing import CompileCounter
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from torch.testing import assert_close
from torch.utils.data import DataLoader

from set_aggregation.aggregators import SAN, Conv1x1, Flatten, GlobalAvgPool
from set_aggregation.backbones import SmallCNN
from set_aggregation.data import Digits
from set_aggregation.models import SetClassifier, WarmupCosine

# Lightning 2.6 uses a class that torch has renamed since.
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


def make_backbone(first=None, last=None):
    """SmallCNN with one more layer; the command line would offer a subclass."""
    backbone = SmallCNN(in_channels=1)
    if first is not None:
        backbone.layers.insert(0, first)
    if last is not None:
        backbone.layers.append(last)
    return backbone


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


def test_logits_are_those_of_the_parts_one_after_the_other():
    model = make_model(positions="trigonometric", hidden_features=4)
    images = torch.randn(2, 1, SIZE, SIZE)
    elements, positions = model.pool.feature_set(model.backbone(images))
    assert_close(model(images), model.head(model.aggregator(elements, positions=positions)))


@pytest.mark.parametrize(("positions", "expected"), [("none", 0), ("linear", 2), ("trigonometric", 16)])
def test_size_of_the_positions_is_filled_in(positions, expected):
    model = make_model(positions=positions)
    assert model.aggregator.position_features == expected
    assert model(torch.randn(2, 1, SIZE, SIZE)).shape == (2, 3)


@pytest.mark.parametrize("aggregator", [Conv1x1, Flatten])
def test_size_of_the_sets_is_filled_in(aggregator):
    assert make_model(aggregator, image_size=(SIZE, 12)).aggregator.set_size == 2 * 3


@pytest.mark.parametrize(
    ("aggregator", "message"),
    [
        (partial(SAN, out_features=4, position_features=5), "SAN: got position_features=5, .* position_features=2;"),
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


def test_glorot_initialization_fills_its_interval():
    model = make_model(initialization="glorot")
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    assert len(weights) == 5  # three convolutions, the projection of SAN, the classifier
    for weight in weights:
        area = weight[0, 0].numel()
        bound = math.sqrt(6 / (weight.shape[0] * area + weight.shape[1] * area))
        assert 0.9 * bound < weight.abs().max() <= bound
    assert all((value == 0).all() for name, value in model.named_parameters() if name.endswith("bias"))


def test_glorot_initialization_does_not_overwrite_pretrained_weights():
    backbone = SmallCNN(1)
    backbone.is_pretrained = True
    with pytest.raises(ValueError, match=r"initialization='glorot'.* pretrained"):
        SetClassifier(backbone, GlobalAvgPool, num_classes=3, initialization="glorot")


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


class TopLogit(nn.Module):
    """Loss that returns the mean of a batch only."""

    def forward(self, logits, labels):
        return (logits.amax(1) - labels).mean()


LOSSES = {
    "label smoothing": nn.CrossEntropyLoss(label_smoothing=0.2),
    "class weights": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.0])),
    "another module": TopLogit(),
}


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (nn.MSELoss(), "MSELoss, which fails .* labels"),
        (nn.CrossEntropyLoss(weight=torch.ones(2)), "CrossEntropyLoss, which fails .*weight"),
        (nn.CrossEntropyLoss(reduction="none"), "expected their mean or sum"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused_in_one_line(loss, message):
    with pytest.raises(ValueError, match=message) as raised:
        make_model(loss=loss)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_any_loss_is_trained_and_evaluated_on_the_whole_split(loss, make_trainer):
    model, split, batch = make_model(loss=loss), Batches(5, 3, 1), Batches(4)
    with torch.no_grad():
        first, expected = (loss(model(images), labels) for images, labels in (batch.joined(), split.joined()))
    (logged,) = make_trainer().validate(model, split, verbose=False)
    assert logged["val/loss"] == pytest.approx(expected.item())
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, batch, batch)
    assert trainer.callback_metrics["train/loss"] == pytest.approx(first.item())


def test_frozen_parameters_are_not_given_to_the_optimizer():
    model = make_model()
    model.backbone.requires_grad_(False)
    (group,) = model.configure_optimizers().param_groups
    trained = [*model.aggregator.parameters(), *model.head.parameters()]
    assert {id(parameter) for parameter in group["params"]} == set(map(id, trained))
    assert (group["lr"], type(model.configure_optimizers())) == (1e-3, torch.optim.Adam)


def test_backbone_finetuning_of_lightning(make_trainer):
    model, seen = make_model(), []
    model.on_train_epoch_end = lambda: seen.append([len(g["params"]) for g in model.trainer.optimizers[0].param_groups])
    callback = BackboneFinetuning(unfreeze_backbone_at_epoch=1, verbose=False)
    make_trainer(max_epochs=2, callbacks=[callback]).fit(model, Batches(4), Batches(4))
    assert seen == [[4], [4, 6]]


def test_weight_decay_can_leave_out_norms_and_biases():
    model = SetClassifier(
        make_backbone(last=nn.BatchNorm2d(64)),
        GlobalAvgPool,
        num_classes=3,
        optimizer=partial(torch.optim.SGD, lr=1.0, weight_decay=0.5),
        decay_norms_and_biases=False,
    )
    optimizer, before = model.configure_optimizers(), {n: p.clone() for n, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert_close(parameter, before[name] * (0.5 if parameter.ndim > 1 else 1))


@pytest.mark.parametrize(
    ("scheduler", "interval", "expected"),
    [
        (partial(StepLR, step_size=1, gamma=0.1), None, 0.1),
        (partial(StepLR, step_size=1, gamma=0.1), "step", 0.001),
        (partial(OneCycleLR, max_lr=1.0, total_steps=30), None, 0.336312),
    ],
)
def test_schedule_advances_each_epoch_or_each_step(scheduler, interval, expected, make_trainer):
    optimizer = partial(torch.optim.SGD, lr=1.0)
    model = make_model(optimizer=optimizer, scheduler=scheduler, scheduler_interval=interval)
    make_trainer(max_epochs=1).fit(model, Batches(4, 4, 4), Batches(4))
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(expected)
    assert model.trainer.callback_metrics["train/learning_rate"] > 0


def test_schedule_can_watch_a_metric(make_trainer):
    scheduler = partial(ReduceLROnPlateau, factor=0.5, patience=0, threshold=1e9, threshold_mode="abs")
    model = make_model(optimizer=partial(torch.optim.SGD, lr=1.0), scheduler=scheduler)
    make_trainer(max_epochs=4, check_val_every_n_epoch=2).fit(model, Batches(4), Batches(4))
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == 0.5  # the second validation was no better


@pytest.mark.parametrize("scheduler", [WarmupCosine, partial(OneCycleLR, max_lr=1.0)])
def test_schedule_over_all_steps_ends_with_the_training(scheduler, make_trainer):
    model = SetClassifier(
        *(SmallCNN(in_channels=1), GlobalAvgPool, 10),
        optimizer=partial(torch.optim.SGD, lr=1.0),
        scheduler=scheduler,
    )
    data = Digits(num_train=100, batch_size=32)
    trainer = make_trainer(max_epochs=2, accumulate_grad_batches=2, limit_val_batches=1)
    trainer.fit(model, datamodule=data)
    schedule = trainer.lr_scheduler_configs[0].scheduler
    assert (trainer.global_step, schedule.last_epoch) == (4, 4)
    assert getattr(schedule, "total_steps", 4) == 4
    assert trainer.optimizers[0].param_groups[0]["lr"] < 0.3


@pytest.mark.parametrize("scaler", [None, torch.amp.GradScaler("cpu")], ids=["bfloat16", "float16"])
def test_gradients_of_fused_optimizers_are_clipped_in_mixed_precision(scaler, make_trainer):
    model = make_model(optimizer=partial(torch.optim.SGD, lr=1.0, fused=True))
    before = copy.deepcopy(model)
    precision = MixedPrecision("16-mixed" if scaler else "bf16-mixed", "cpu", scaler)
    trainer = make_trainer(max_epochs=1, gradient_clip_val=0.01, plugins=[precision])
    trainer.fit(model, Batches(4), Batches(4))
    moved = [new - old for new, old in zip(model.parameters(), before.parameters(), strict=True)]
    assert torch.nn.utils.get_total_norm(moved).item() == pytest.approx(0.01, rel=0.02)


def test_lbfgs_takes_the_weights(make_trainer):
    model = make_model(optimizer=partial(torch.optim.LBFGS, max_iter=2))
    make_trainer(max_epochs=1).fit(model, Batches(4), Batches(4))


def test_weights_of_another_run_are_taken(make_trainer, tmp_path, caplog):
    source = SetClassifier(SmallCNN(in_channels=1), partial(SAN, out_features=32), num_classes=5)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "source.ckpt")
    model = make_model(init_from=str(tmp_path / "source.ckpt"), optimizer=partial(torch.optim.SGD, lr=0.0))
    own = model.head.classifier.weight.clone()
    caplog.set_level("INFO", logger="lightning.pytorch")
    make_trainer(max_epochs=1).fit(model, Batches(4), Batches(4))
    assert_close(dict(model.backbone.state_dict()), dict(source.backbone.state_dict()))
    assert_close(model.head.classifier.weight, own)
    assert "head.classifier.weight (is (5, 32), expected (3, 32))" in caplog.text


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


SEVERAL = {"train": [(SIZE, SIZE)], "val": [(16, 16), (SIZE, SIZE)], "test": [(SIZE, 12), (100, 3)]}


@pytest.mark.parametrize(("factory", "image_size"), [(Flatten, (SIZE, SIZE)), (partial(Conv1x1, set_size=4), None)])
def test_images_of_several_sizes_are_refused(factory, image_size):
    """The message names each size once, sorted by height."""
    with pytest.raises(ValueError, match=r": got images of 8x8, 8x12, 16x16, 100x3, expected one .* 4 elements"):
        make_model(factory, image_size=image_size).check_image_sizes(SEVERAL)
    make_model(image_size=image_size).check_image_sizes(SEVERAL)  # SAN takes them


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
def test_images_whose_sets_are_of_one_size_are_accepted(sizes):
    make_model(Flatten, image_size=(SIZE, 12)).check_image_sizes(sizes)


@pytest.mark.parametrize("when", ["built", "checked"])
def test_looking_at_sizes_leaves_a_frozen_layer_frozen(when):
    backbone = make_backbone(last=nn.BatchNorm2d(64).eval())
    model = SetClassifier(backbone, Flatten, num_classes=3, image_size=(SIZE, SIZE))
    if when == "checked":
        backbone.layers[-1].eval()
        model.check_image_sizes({"train": [(SIZE, SIZE)]})
    assert backbone.training
    assert not backbone.layers[-1].training


def test_trainer_refuses_another_size_at_the_test(make_trainer):
    model = SetClassifier(SmallCNN(in_channels=1), Flatten, num_classes=10, image_size=(16, 16))
    trainer = make_trainer(limit_val_batches=1)
    trainer.validate(model, datamodule=Digits(), verbose=False)
    with pytest.raises(ValueError, match="Flatten: got images of 8x8, 16x16"):
        trainer.test(model, datamodule=Digits(sizes=[8, 16]))


ONE_FOR_ALL = torch.__version__ >= "2.15"  # 2.11 has one program for odd and one for even sizes where pooling rounds up
MANY_SIZES = [(side, side + side % 3) for side in range(8, 12)]


def sized(sizes, num=4):
    """A batch of each size, as data modules make them."""
    torch.manual_seed(3)
    batches = [(torch.randn(num, 1, *size), torch.randint(3, (num,))) for size in sizes]
    return DataLoader([(x.to(memory_format=torch.channels_last), y) for x, y in batches], batch_size=None)


@pytest.fixture
def compiler(monkeypatch, unchecked_shapes):
    """Counter of the programs of ``torch.compile``, which are not optimised: that takes long."""
    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    yield counter
    torch._dynamo.reset()


@pytest.mark.slow
def test_images_of_all_sizes_share_a_program(compiler, make_trainer):
    """One of training and one of evaluation."""
    model = make_model(positions="trigonometric", compile=True)
    assert compiler.frame_count == 0
    loader = sized(MANY_SIZES)
    make_trainer(max_epochs=2).fit(model, loader, loader)
    if ONE_FOR_ALL:
        assert compiler.frame_count == 2


@pytest.mark.slow
def test_compiled_gives_the_same_logits_and_gradients_and_shares_checkpoints(compiler):
    compiled, model = make_model(compile=True), make_model()
    for images, labels in sized(MANY_SIZES[:2]):
        for each in (compiled, model):
            each.zero_grad()
            F.cross_entropy(each(images), labels).backward()
        assert_close(compiled(images), model(images))
        for ours, theirs in zip(compiled.parameters(), model.parameters(), strict=True):
            assert_close(ours.grad, theirs.grad)
    assert compiler.frame_count > 0
    # They share checkpoints, too.
    assert list(compiled.state_dict()) == list(model.state_dict())
    with torch.no_grad():
        model.head[-1].weight.mul_(2)
    assert not torch.allclose(compiled(images), model(images))
    compiled.load_state_dict(model.state_dict())
    assert_close(compiled(images), model(images))


@pytest.mark.slow
def test_a_copy_of_a_compiled_model_has_its_own_weights(compiler):
    """As the averaged model of ``WeightAveraging`` has."""
    model = make_model(compile=True)
    twin = copy.deepcopy(model)
    nn.init.zeros_(twin.head[-1].weight)
    nn.init.zeros_(twin.head[-1].bias)
    assert not twin(torch.randn(2, 1, SIZE, SIZE)).any()


class OneFactorForEachSize(nn.Module):
    """Needs a program for each size."""

    def forward(self, x):
        return x * list(range(30))[x.shape[2]]


@pytest.mark.slow
def test_a_program_for_each_size_is_an_error(compiler):
    model = SetClassifier(make_backbone(first=OneFactorForEachSize()), GlobalAvgPool, num_classes=3, compile=True)
    with torch._dynamo.config.patch(recompile_limit=2), pytest.raises(FailOnRecompileLimitHit):
        _ = [model(images) for images, _ in sized(MANY_SIZES)]


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")
def test_accuracy_of_mixed_labels_counts_the_larger_share():
    class Keep(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.outputs = outputs

    torch.manual_seed(0)
    optimizer = partial(torch.optim.SGD, lr=0.0)
    model, keep = SetClassifier(SmallCNN(3), GlobalAvgPool, num_classes=5, optimizer=optimizer), Keep()
    images = torch.rand(8, 3, 8, 8)
    with torch.no_grad():
        probabilities = model(images).softmax(1)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=keep,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, DataLoader([(images, probabilities)], batch_size=None))
    assert keep.outputs["accuracy"] == 1
    entropy = -(probabilities * probabilities.log()).sum(1).mean()
    torch.testing.assert_close(keep.outputs["loss"], entropy)


def test_predictions_are_probabilities():
    model, (images, _) = make_model().eval(), Batches(4).joined()
    assert_close(model.predict_step((images,), 0), model(images).softmax(1))
