"""Lines of ``results/*.jsonl`` as finished runs write them, without training."""

import json

import numpy as np

SIZES = ("16x16", "24x24", "32x32", "40x40", "48x48")
FASHION_SIZES = ("14x14", "22x22", "28x28", "42x42", "56x56")
ENVIRONMENT = {
    "command": "python main.py fit",
    "commit": "0123abc",
    "devices": "1 x cpu",
    "system": "Linux",
    "versions": "torch 2.15.0",
}


def line(
    aggregator="san",
    size=1024,
    seed=0,
    accuracy=0.7,
    *,
    data="cifar10",
    preset="paper",
    epochs=3,
    backbone="small_cnn",
    train_sizes=None,
    dropout=0.0,
    overrides=(),
    split="paper",
    gap=0.05,
    last=None,
    curve=None,
    parameters=None,
    per_size=None,
    **more,
):
    """Return a line.

    Args:
        accuracy: on the test set, of the best weights.
        gap: between training and test set after the last epoch.
        last: accuracy after the last epoch; by default that of the best.
        curve: test accuracy after each epoch; by default it rises to the last.
        parameters: of the aggregator, and so many again of its head; by default the size.
        per_size: accuracy at each size, where there are several; by default that of all.
        more: other keys.
    """
    last = accuracy if last is None else last
    curve = [last * epoch / epochs for epoch in range(1, epochs + 1)] if curve is None else curve
    sizes = {} if train_sizes is None else dict.fromkeys(SIZES if data == "cifar10" else FASHION_SIZES, accuracy)
    sizes = sizes if per_size is None else per_size
    number = size if parameters is None else parameters
    return {
        "settings": {
            "preset": preset,
            "data": data,
            "backbone": backbone,
            "aggregator": aggregator,
            "size": size,
            "train_sizes": train_sizes,
            "dropout": dropout,
            "overrides": dict(overrides),
            "epochs": epochs,
            "seed": seed,
        },
        "split": split,
        "test_accuracy": {"best": accuracy, "last": last},
        "test_accuracy_per_size": {"best": sizes, "last": sizes} if sizes else {},
        "val_accuracy": {"best": accuracy, "last": last},
        "best_epoch": epochs,
        "curves": [
            {
                "epoch": epoch,
                "train_accuracy": test + gap,
                "val_accuracy": test,
                "test_accuracy": test,
                "gap": gap,
                "train_loss": 1.0,
                "test_loss": 1.1,
            }
            for epoch, test in enumerate(curve, start=1)
        ],
        "parameters": {"backbone": 55744, "aggregator": number, "head": number, "all": 55744 + 2 * number},
        "seconds": 402.1,
        "finished": "2026-11-25T03:40:00Z",
        "environment": ENVIRONMENT,
        **more,
    }


def theory(experiment, measured, **settings):
    """Return a line of a measurement."""
    return {
        "settings": {"experiment": experiment, **settings},
        "measured": measured,
        "seconds": 1.0,
        "environment": ENVIRONMENT,
    }


def write(folder, lines, name="table2"):
    """Write lines to a file of a folder, which is made, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(each, sort_keys=True) + "\n" for each in lines)
    (folder / f"{name}.jsonl").write_text(text)
    return folder


def everything(seeds=(0, 1, 2), epochs=4):
    """Yield all of the paper's runs and measurements, with the effects that it claims and noise between seeds."""
    noise = np.random.default_rng(0)

    def run(aggregator, size, seed, accuracy, **more):
        accuracy = round(accuracy + noise.normal(0, 0.003), 4)
        high = {"san": 0.99, "avg": 0.5}.get(aggregator, 0.7)
        curve = [round(accuracy * (high + (1 - high) * epoch / epochs), 4) for epoch in range(1, epochs + 1)]
        gap = {"san": 0.03, "avg": 0.01}.get(aggregator, 0.12) + round(noise.normal(0, 0.002), 4)
        return line(aggregator, size, seed, accuracy, curve=curve, gap=gap, epochs=epochs, **more)

    tops = {"avg": 0.65, "max": 0.69, "conv1x1": 0.72, "san": 0.75}
    for seed in seeds:
        for data, more in (("cifar10", 0.0), ("fashion_mnist", 0.17)):
            for size in (128, 256, 512, 1024, 2048, 4096):
                for name, top in tops.items():
                    yield run(name, size, seed, top + more, data=data)
            yield run("flatten", 128, seed, 0.72 + more, data=data, parameters=200_000)
            yield run("flatten", 128, seed, 0.748 + more, data=data, dropout=0.5, parameters=200_000)
            for train_sizes, lead in (("all", 0.05), ("original", 0.1)):
                for name, top in (("max", 0.6), ("avg", 0.6), ("san", 0.6 + lead)):
                    yield run(name, 1024, seed, top, data=data, train_sizes=train_sizes)
        for name, top in (("original", 0.92), ("avg", 0.925), ("max", 0.92), ("conv1x1", 0.92), ("san", 0.94)):
            yield run(name, 64 if name == "original" else 4096, seed, top, backbone="resnet56")
        yield run("san", 1024, seed, 0.70, overrides={"reduction": "mean"})
        for name in ("san", "max"):
            yield run(name, 1024, seed, tops[name] + 0.02, overrides={"initialization": "torch"})
        for elements in (2, 5):
            for size in (16, 64):
                for name in ("san", "max", "avg"):
                    error = 1e-6 if name == "san" and size == 64 else 0.3
                    measured = {"error": error, "residual": 1e-9}
                    settings = {"elements": elements, "features": 2, "aggregator": name, "size": size, "seed": seed}
                    yield theory("theorem1", measured, **settings)
        for p in (1, 10, 100, 1000):
            yield theory("remark1", {"difference": 1.5 / p}, p=p, seed=seed)
