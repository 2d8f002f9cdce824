"""Which pooling: every aggregator in one network of equal parameters, on images of one size and of several."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from reproduction.settings import Settings

# Few images, so that fifteen aggregators and several seeds take hours without a GPU; small batches, for enough steps.
_TRAINING: Mapping[str, int] = {"num_train": 10_000, "batch_size": 64}

CLASSES = {
    "attention_pool": "AttentionPool",
    "avg": "GlobalAvgPool",
    "avg_max_pool": "AvgMaxPool",
    "conv1x1": "Conv1x1",
    "covariance_pool": "CovariancePool",
    "deep_sets": "DeepSets",
    "flatten": "Flatten",
    "fs_pool": "FSPool",
    "gem": "GeM",
    "log_sum_exp": "LogSumExp",
    "max": "GlobalMaxPool",
    "mean_std_pool": "MeanStdPool",
    "pma": "PMA",
    "power_mean_san": "PowerMeanSAN",
    "san": "SAN",
}
# Each gives, with the dense layers behind it, as nearly as whole units allow the 78,858 parameters of SAN with M = 1024
# on the 64 channels of the small network: M of those whose output is free, and the units of a hidden layer of the rest.
OF_FREE_SIZE = {"san": 1024, "power_mean_san": 1024, "deep_sets": 244}
_HIDDEN_UNITS = {
    "avg": 1051,
    "max": 1051,
    "gem": 1051,
    "log_sum_exp": 1051,
    "attention_pool": 1050,
    "fs_pool": 1033,
    "avg_max_pool": 567,
    "mean_std_pool": 567,
    "pma": 714,
    "covariance_pool": 38,
}
_FOR_ONE_SIZE = {  # which depend on the number of elements
    ("cifar10", "conv1x1"): 1050,
    ("cifar10", "flatten"): 19,
    ("fashion_mnist", "conv1x1"): 1313,
    ("fashion_mnist", "flatten"): 25,
    ("digits", "conv1x1"): 5252,
    ("digits", "flatten"): 295,
}
# Those for which configs/ has no network of their own, and one that differs in nothing but the aggregator.
LIKE: Mapping[str, str] = {
    name: "san" if name in OF_FREE_SIZE else "max"
    for name in CLASSES
    if name not in ("avg", "conv1x1", "flatten", "max", "san")
}


def at_equal_parameters(settings: Settings) -> Iterator[Settings]:
    """Gives the run of an aggregator, unless it cannot take images of several sizes.

    Args:
        settings: with any size.

    Raises:
        ValueError: another preset, which would change the network.

    Example:
        >>> runs = list(at_equal_parameters(Settings("cifar10", "gem", size=1, seed=0, epochs=15)))
        >>> runs[0].size, runs[0].overrides
        (1051, {'num_train': 10000, 'batch_size': 64, 'hidden_activation': 'relu'})
    """
    if settings.preset != "paper":
        raise ValueError(f"got --preset {settings.preset} for pooling, expected paper: its networks are of one kind")
    name = settings.aggregator
    for_one_size = _FOR_ONE_SIZE.get((settings.data, name))
    if settings.train_sizes is not None and for_one_size is not None:
        return
    free = OF_FREE_SIZE.get(name)
    yield replace(
        settings,
        size=free or for_one_size or _HIDDEN_UNITS[name],
        overrides=({} if settings.data == "digits" else dict(_TRAINING))  # of digits there are fewer
        | ({} if free else {"hidden_activation": "relu"}),
    )
