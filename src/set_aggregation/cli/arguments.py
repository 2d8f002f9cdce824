"""The options of the command line beside those of Lightning, the model and the data."""

from pathlib import Path
from typing import Literal

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning.pytorch.cli import LightningArgumentParser

from set_aggregation.callbacks import BestCheckpoint, LearningCurves, NonFinite, Recovery
from set_aggregation.runs.directory import RunDirectory

_CHECKPOINT = {
    "monitor": "val/accuracy",
    "mode": "max",
    "filename": "best",
    "enable_version_counter": False,
}


def add_arguments(parser: LightningArgumentParser, command: str) -> None:
    """Links the data to the model and adds what every run has.

    Args:
        parser: of the command.
        command: its name.
    """
    parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
    parser.link_arguments("data.image_size", "model.image_size", apply_on="instantiate")
    parser.link_arguments("data.in_channels", "model.backbone.init_args.in_channels", apply_on="instantiate")
    parser.add_class_arguments(RunDirectory, "run", instantiate=False)
    parser.add_lightning_class_args(LearningCurves, "curves")
    parser.add_lightning_class_args(Recovery, "recovery")
    parser.add_lightning_class_args(NonFinite, "non_finite")
    parser.add_lightning_class_args(BestCheckpoint, "checkpoint")
    parser.set_defaults({f"checkpoint.{name}": value for name, value in _CHECKPOINT.items()})
    parser.add_argument(
        "--ckpt_path",
        type=Path | None,
        help="A checkpoint: what validate, test and predict measure; fit starts a new run from it.",
    )
    if command == "predict":
        parser.add_argument("--images", type=Path, nargs="+", required=True, help="Image files and folders of them.")
    parser.add_argument(
        "--resume",
        type=Literal["auto"] | Path | None,
        help="The folder of a run to go on with; or auto, to go on with what an interrupted run of this configuration "
        "(or of this --run.name) has left, if there is one, so that one command starts a run and continues it.",
    )
    parser.add_argument(
        "--width",
        type=PositiveInt | None,
        help="Number of inputs of the last dense layer, the size in the paper's tables: the hidden_features of the "
        "model where it has them, else the out_features of the aggregator.",
    )
    parser.add_argument(
        "--test_after_fit", type=bool, default=True, help="Whether fit ends with a test of the best checkpoint."
    )
    parser.add_argument(
        "--test_last",
        type=bool,
        default=False,
        help="Whether fit ends with a test of the weights of the last epoch, too.",
    )


def set_width(model: Namespace, width: int) -> None:
    """Sets the number of inputs of the last dense layer.

    Args:
        model: configuration of the model, which is changed.
        width: the number.

    Raises:
        ValueError: it is the number of channels of the feature map, which the backbone says.
    """
    aggregator = model.aggregator
    if model.hidden_features is not None:
        model.hidden_features = width
    elif "out_features" in aggregator.get("init_args", {}):
        aggregator.init_args.out_features = width
    else:
        name = aggregator.class_path.rsplit(".", 1)[-1]
        raise ValueError(
            f"got --width {width} for {name} without a hidden layer, whose width is that of the feature map; expected "
            "an aggregator with out_features, or a hidden layer: --model.hidden_features"
        )


def tags(config: Namespace) -> list[str]:
    """What a run can be found by: aggregator, data and, where the configuration says it, width.

    Args:
        config: of the subcommand.

    Example:
        >>> san = Namespace(class_path="set_aggregation.aggregators.SAN", init_args=Namespace(out_features=1024))
        >>> data = Namespace(class_path="set_aggregation.data.CIFAR10")
        >>> tags(Namespace(model=Namespace(aggregator=san, hidden_features=None), data=data))
        ['SAN', 'CIFAR10', 'width 1024']
    """
    aggregator = config.model.aggregator
    width = config.model.hidden_features or aggregator.get("init_args", {}).get("out_features")
    names = [part.class_path.rsplit(".", 1)[-1] for part in (aggregator, config.data)]
    return [*names, f"width {width}"] if width else names
