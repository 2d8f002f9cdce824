"""Claims and test results (single runs) of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_."""

CLAIMS = (
    "Replacing global pooling by SAN raises accuracy on CIFAR-10 (Table 2).",
    "SAN needs fewer parameters than flatten for the same accuracy (Table 2, Fashion-MNIST).",
    "Max-pooling and conv-1x1 overfit more than SAN; average pooling underfits (Figures 3 and 4).",
    "SAN converges faster than average pooling on Fashion-MNIST (Figure 4).",
    "Dropout makes flatten comparable to SAN (Section 4.1).",
    "SAN is ahead at almost every resolution, most so when trained at one resolution only (Table 3).",
    "SAN in ResNet-56 lowers the error (Table 4).",
    "SAN's embedding of a set is unique once M is large enough (Theorem 1), and max-pooling is its limit (Remark 1).",
)
DATA = {"cifar10": "CIFAR-10", "fashion_mnist": "Fashion-MNIST"}
NAMES = {"flatten": "flatten", "avg": "avg", "max": "max", "conv1x1": "conv-1x1", "san": "SAN", "original": "original"}
FLATTEN_ROW = 4096  # in which Table 2 has flatten, whose last dense layer has 128 inputs
MARGIN = 0.015  # smaller differences between two of the paper's runs are within the noise of single runs

TABLE2_SIZES = (128, 256, 512, 1024, 2048, 4096)  # inputs of the last dense layer
_TABLE2 = {  # at TABLE2_SIZES
    ("fashion_mnist", "avg"): (0.852, 0.877, 0.879, 0.888, 0.889, 0.912),
    ("fashion_mnist", "max"): (0.901, 0.908, 0.906, 0.914, 0.912, 0.900),
    ("fashion_mnist", "conv1x1"): (0.916, 0.916, 0.918, 0.912, 0.914, 0.914),
    ("fashion_mnist", "san"): (0.912, 0.911, 0.910, 0.915, 0.919, 0.912),
    ("cifar10", "avg"): (0.624, 0.649, 0.671, 0.659, 0.697, 0.738),
    ("cifar10", "max"): (0.690, 0.697, 0.701, 0.683, 0.686, 0.708),
    ("cifar10", "conv1x1"): (0.731, 0.738, 0.722, 0.722, 0.707, 0.709),
    ("cifar10", "san"): (0.738, 0.739, 0.730, 0.756, 0.733, 0.762),
}
TABLE2 = {  # accuracy by data, size and aggregator
    ("fashion_mnist", FLATTEN_ROW, "flatten"): 0.919,
    ("cifar10", FLATTEN_ROW, "flatten"): 0.720,
    **{(data, size, name): row[i] for (data, name), row in _TABLE2.items() for i, size in enumerate(TABLE2_SIZES)},
}

_SIDES = {"fashion_mnist": (14, 22, 28, 42, 56), "cifar10": (16, 24, 32, 40, 48)}  # of the test images
_TABLE3 = {  # at _SIDES
    ("fashion_mnist", "all", "max"): (0.8788, 0.8969, 0.9023, 0.9020, 0.8913),
    ("fashion_mnist", "all", "avg"): (0.8753, 0.9002, 0.9078, 0.9041, 0.8960),
    ("fashion_mnist", "all", "san"): (0.8810, 0.9064, 0.9111, 0.9033, 0.8966),
    ("fashion_mnist", "original", "max"): (0.2519, 0.7380, 0.9062, 0.5548, 0.3274),
    ("fashion_mnist", "original", "avg"): (0.2700, 0.8010, 0.9040, 0.6511, 0.3809),
    ("fashion_mnist", "original", "san"): (0.2884, 0.8247, 0.9150, 0.6893, 0.4515),
    ("cifar10", "all", "max"): (0.5593, 0.6450, 0.6729, 0.6739, 0.6770),
    ("cifar10", "all", "avg"): (0.5820, 0.6935, 0.7018, 0.6914, 0.6625),
    ("cifar10", "all", "san"): (0.6305, 0.7317, 0.7565, 0.7430, 0.7626),
    ("cifar10", "original", "max"): (0.3251, 0.6409, 0.7131, 0.6512, 0.5325),
    ("cifar10", "original", "avg"): (0.2714, 0.6130, 0.7637, 0.6780, 0.5366),
    ("cifar10", "original", "san"): (0.3808, 0.6956, 0.7534, 0.7234, 0.6264),
}
TABLE3 = {  # accuracy by data, sizes trained on, side of the test images and aggregator
    (data, trained_on, side, name): accuracy
    for (data, trained_on, name), row in _TABLE3.items()
    for side, accuracy in zip(_SIDES[data], row, strict=True)
}

TABLE4 = {"original": 0.0735, "avg": 0.0724, "max": 0.0782, "conv1x1": 0.0780, "san": 0.0697}  # error by aggregator
