"""Writes folders as runs leave them, without training."""

import json
from pathlib import Path

import yaml

SIZES = {"SAN": "model.aggregator.init_args.out_features"}  # of the others it is the hidden layer


def history(epochs=4, top=0.8, gap=0.1, every=1, val=True):
    """Curves that rise to ``top`` on the training set."""
    rows = []
    for epoch in range(every, epochs + 1, every):
        train = top * epoch / epochs
        test = train - gap * epoch / epochs
        row = {"epoch": epoch, "step": 20 * epoch, "curve/train_accuracy": train, "curve/train_loss": 1 - train}
        row |= {"curve/test_accuracy": test, "curve/test_loss": 1 - test, "curve/gap": train - test}
        if val:
            row |= {"curve/val_accuracy": test - 0.01, "curve/val_loss": 1.01 - test}
        rows.append(row)
    return rows


def write_run(
    folder,
    aggregator="SAN",
    data="CIFAR10",
    width=128,
    seed=0,
    epochs=4,
    trained=None,
    settings=(),
    curves=None,
    without=(),
    **results,
):
    """Writes ``config.yaml`` and ``results.json``, and gives the folder back.

    Args:
        folder: where to; made with those above it.
        epochs: as the configuration says.
        trained: how many it went through, by default all.
        settings: values by dotted name, over those of the configuration.
        curves: the history; by default one that goes on to the last epoch.
        without: keys to leave out of ``results.json``, or ``"results.json"`` or ``"config.yaml"``.
        results: other values for ``results.json``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    values = {
        "seed_everything": seed,
        "trainer.max_epochs": epochs,
        "trainer.logger": [{"class_path": "CSVLogger", "init_args": {"save_dir": "."}}],
        "model.aggregator.class_path": f"set_aggregation.aggregators.{aggregator}",
        **({"model.aggregator.init_args.reduction": "sum"} if aggregator == "SAN" else {}),
        "model.hidden_features": None,
        SIZES.get(aggregator, "model.hidden_features"): width,
        "model.optimizer.class_path": "torch.optim.Adam",
        "model.optimizer.init_args.lr": 0.001,
        "data.class_path": f"set_aggregation.data.{data}",
        "data.init_args.batch_size": 256,
        "run.experiment": folder.parent.name,
        "run.name": None,
        "curves.every_n_epochs": 1,
        **dict(settings),
    }
    config = {}
    for name, value in values.items():
        *above, last = name.split(".")
        inner = config
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = value
    curves = history(epochs) if curves is None else curves
    content = {
        "experiment": folder.parent.name,
        "run": folder.name,
        **{"aggregator": aggregator, "data": data, "width": width, "seed": seed},
        "epochs": epochs if trained is None else trained,
        "best": {"epoch": 2, "val/accuracy": 0.6},
        "metrics": {"test/accuracy": 0.625},
        "parameters": {"backbone": 1000, "aggregator": 200, "head": 34, "all": 1234},
        "curves": curves,
        **results,
    }
    if "config.yaml" not in without:
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    if "results.json" not in without:
        (folder / "results.json").write_text(json.dumps({k: v for k, v in content.items() if k not in without}))
    return folder
