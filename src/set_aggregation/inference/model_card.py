"""The model card: description of a model in Markdown, saved beside its weights."""

from collections.abc import Mapping
from typing import Any

from set_aggregation.models import SetClassifier
from set_aggregation.models.description import num_parameters
from set_aggregation.reports.summary import accuracy_by_size

_HEAD = """\
---
library_name: set-aggregation
pipeline_tag: image-classification
metrics:
- accuracy
---
"""
_NUM_NAMES = 20  # classes whose names are listed
_ENVIRONMENT = {"devices": "trained on", **{name: name for name in ("system", "versions", "commit", "command")}}


def model_card(
    network: SetClassifier,
    config: Mapping[str, Any],
    usage: str,
    takes: str,
    more: Mapping[str, str] | None = None,
) -> str:
    """Return a page with the Hugging Face Hub's metadata; ``takes`` describes the input."""
    images, training, aggregator = config["images"], config["training"], network.aggregator
    name, names = type(aggregator).__name__, images["class_names"]
    num = len(names)
    if num > _NUM_NAMES:
        names = [*names[:_NUM_NAMES], f"{num - _NUM_NAMES} more"]
    converted = "left at their own size"
    if size := images.get("image_size"):
        converted = f"resized (bicubic, antialiased) to {size[0]}x{size[1]}"
    elif side := images.get("max_side"):
        converted += f", up to {side} pixels a side"
    numbers, environment = num_parameters(network), dict(training.get("environment", {}))
    if "command" in environment:
        environment["command"] = f"`{environment['command']}`"
    metrics = training.get("metrics", {})
    sizes = [f"{size} {accuracy:.4f}" for size, accuracy in accuracy_by_size(metrics).items()]
    accuracy = f"{metrics['test/accuracy']:.4f}" if "test/accuracy" in metrics else "not measured"
    settings = [f"{name} {value}" for name, value in training.get("data_settings", {}).items() if value is not None]
    epochs = " of ".join(str(training[name]) for name in ("epoch", "epochs") if name in training)
    parts = ", ".join(f"{part} {count:,}" for part, count in numbers.items() if part != "all")
    rows = {
        "data": ", ".join([training.get("data", "unknown"), *settings]),
        "test accuracy": accuracy + (f" ({', '.join(sizes)})" if sizes else ""),
        **({"seed": f"{training['seed']} (one run)"} if "seed" in training else {}),
        **({"epochs": epochs} if "epoch" in training else {}),
        "parameters": f"{numbers['all']:,} ({parts})",
        **(more or {}),
        **{row: environment[name] for name, row in _ENVIRONMENT.items() if name in environment},
    }
    table = "".join(f"| {key} | {' '.join(value.split()).replace('|', '&#124;')} |\n" for key, value in rows.items())
    return f"""{_HEAD}
# {name}{f" on {training['data']}" if "data" in training else ""}

Classifier of {num} classes ({", ".join(names)}): {type(network.backbone).__name__}, \
{name}({aggregator.extra_repr()}) and a head.

```python
{usage.strip()}
```

Input: {takes}. The model divides by 255{" and normalises" if images.get("mean") else ""} itself. Image files are \
converted to
{"RGB" if images["in_channels"] == 3 else "grey"} and {converted}, as `main.py predict` does.

Output: logits (batch, {num}), in the order of the classes; softmax gives probabilities.

| | |
|---|---|
{table}"""
