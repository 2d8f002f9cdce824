"""What a person should know of a model file, written beside it."""

import re
from collections.abc import Mapping
from typing import Any

from set_aggregation.inference.classifier import ImageClassifier
from set_aggregation.runs.results import parameters

_HEAD = """\
---
library_name: set-aggregation
pipeline_tag: image-classification
metrics:
- accuracy
---
"""
_NAMED = 20  # so many classes are named


def card(model: ImageClassifier, usage: str, takes: str, measured: Mapping[str, str]) -> str:
    """A page in Markdown, with what the Hugging Face Hub looks for at its head.

    Args:
        model: what it is about.
        usage: lines of Python that run it.
        takes: which images.
        measured: more rows of the table, such as the speed.
    """
    network, training = model.network, model.config["training"]
    backbone, aggregator = type(network.backbone).__name__, network.aggregator
    kind, num = type(aggregator).__name__, len(model.class_names)
    names = [*model.class_names[:_NAMED], *([f"{num - _NAMED} more"] if num > _NAMED else [])]
    rows = {**_training_rows(training), "parameters": _parameters(model), **measured, **_environment_rows(training)}
    table = "".join(f"| {key} | {' '.join(value.split()).replace('|', '&#124;')} |\n" for key, value in rows.items())
    return f"""{_HEAD}
# {kind}{f" on {training['data']}" if "data" in training else ""}

{backbone}, {kind}({aggregator.extra_repr()}) and a head that tells {num} classes apart: {", ".join(names)}.

```python
{usage.strip()}
```

Input: {takes}. The model divides by 255{" and normalises" if model.mean else ""} itself. Pictures are converted to
{"RGB" if model.in_channels == 3 else "grey"} and {_resized(model)}, as `main.py predict` does.

Output: logits (batch, {num}), in the order of the classes; softmax makes probabilities of them.

| | |
|---|---|
{table}"""


def _resized(model: ImageClassifier) -> str:
    if model.image_size is not None:
        return f"resized (bicubic, antialiased) to {model.image_size[0]}x{model.image_size[1]}"
    return "left at their own size" + (f", up to {model.max_side} pixels a side" if model.max_side else "")


def _training_rows(training: Mapping[str, Any]) -> dict[str, str]:
    metrics = training.get("metrics", {})
    sizes = [f"{found[1]} {metrics[key]:.4f}" for key in metrics if (found := re.fullmatch(r"test/accuracy/(.+)", key))]
    accuracy = f"{metrics['test/accuracy']:.4f}" if "test/accuracy" in metrics else "not measured"
    settings = [f"{name} {value}" for name, value in training.get("data_settings", {}).items() if value is not None]
    rows = {
        "data": ", ".join([training.get("data", "not said with the weights"), *settings]),
        "test accuracy": accuracy + (f" ({', '.join(sizes)})" if sizes else ""),
    }
    if "seed" in training:
        rows["seed"] = f"{training['seed']} (one run)"
    if "epochs" in training:
        best = training.get("best", {}).get("epoch")
        rows["epochs"] = f"{training['epochs']}" + (f", best after {best}" if best else "")
    return rows


def _parameters(model: ImageClassifier) -> str:
    counts = parameters(model.network)
    parts = ", ".join(f"{part} {count:,}" for part, count in counts.items() if part != "all")
    return f"{counts['all']:,} ({parts})"


def _environment_rows(training: Mapping[str, Any]) -> dict[str, str]:
    said = training.get("environment", {})
    names = {"devices": "trained on", "system": "system", "versions": "versions", "commit": "commit"}
    rows = {row: said[name] for name, row in names.items() if name in said}
    return rows | ({"command": f"`{said['command']}`"} if "command" in said else {})
