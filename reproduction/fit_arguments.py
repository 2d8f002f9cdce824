"""The command line of a run: ``main.py fit`` with a configuration and what differs from it."""

from collections.abc import Iterator

from reproduction.pooling import LIKE
from reproduction.presets import open_point_arguments
from reproduction.settings import Settings

_CONFIG_OF_DATA = {"cifar10": "cifar", "fashion_mnist": "fashion_mnist", "digits": "cifar"}


def fit_arguments(settings: Settings) -> list[str]:
    """What is given to ``main.py fit``, in the folder of the project.

    Args:
        settings: of the run.

    Example:
        >>> print(*fit_arguments(Settings("cifar10", "san", 1024, seed=0, epochs=15)))
        --config=configs/san_cifar.yaml --width=1024 --seed_everything=0 --trainer.max_epochs=15
    """
    return list(_arguments(settings))


def _arguments(settings: Settings) -> Iterator[str]:
    backbone = "" if settings.backbone == "small_cnn" else f"_{settings.backbone}"
    several = "_multires" if settings.train_sizes else ""
    network = LIKE.get(settings.aggregator, settings.aggregator)
    yield f"--config=configs/san{backbone}_{_CONFIG_OF_DATA[settings.data]}{several}.yaml"
    if network != "san":
        yield f"--model=configs/model/{network}.yaml"
    if network != settings.aggregator:
        yield f"--model.aggregator=configs/aggregator/{settings.aggregator}.yaml"
    if settings.data == "digits":  # the networks of CIFAR-10 on what needs no download
        yield f"--data=configs/data/digits{several}.yaml"
        yield "--trainer.log_every_n_steps=10"  # they are few
    # The width of original is that of the feature map.
    yield f"--width={'null' if settings.aggregator == 'original' else settings.size}"
    yield f"--seed_everything={settings.seed}"
    yield f"--trainer.max_epochs={settings.epochs}"
    if settings.train_sizes not in (None, "all"):
        yield f"--data.train_sizes={settings.train_sizes}"
    if settings.dropout:
        yield f"--model.dropout={settings.dropout}"
    yield from open_point_arguments(settings)
