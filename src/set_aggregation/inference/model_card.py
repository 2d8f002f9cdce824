"""The model card: description of a model in Markdown, saved beside its weights."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = """\
---
library_name: set-aggregation
pipeline_tag: image-classification
metrics:
- accuracy
---
"""
_NUM_NAMES = 20  # classes whose names are listed


def model_card(
    *,
    aggregator: str,
    arguments: str,
    backbone: str,
    class_names: Sequence[str],
    usage: str,
    takes: str,
    converted: str,
    num_parameters: Mapping[str, int],
    measured: Mapping[str, str],
    training: Mapping[str, Any],
) -> str:
    """Return a page with the metadata that the Hugging Face Hub reads."""
    num = len(class_names)
    names = [*class_names[:_NUM_NAMES], *([f"{num - _NUM_NAMES} more"] if num > _NUM_NAMES else [])]
    parts = ", ".join(f"{part} {count:,}" for part, count in num_parameters.items() if part != "all")
    rows = {
        **_training_rows(training),
        "parameters": f"{num_parameters['all']:,} ({parts})",
        **measured,
        **_environment_rows(training.get("environment", {})),
    }
    table = "".join(f"| {key} | {' '.join(value.split()).replace('|', '&#124;')} |\n" for key, value in rows.items())
    return f"""{_HEAD}
# {aggregator}{f" on {training['data']}" if "data" in training else ""}

Classifier of {num} classes ({", ".join(names)}): {backbone}, {aggregator}({arguments}) and a head.

```python
{usage.strip()}
```

Input: {takes}. Image files are converted to
{converted}, as `main.py predict` does.

Output: logits (batch, {num}), in the order of the classes; softmax gives probabilities.

| | |
|---|---|
{table}"""


def _training_rows(training: Mapping[str, Any]) -> dict[str, str]:
    metrics = training.get("metrics", {})
    sizes = [f"{found[1]} {metrics[key]:.4f}" for key in metrics if (found := re.fullmatch(r"test/accuracy/(.+)", key))]
    accuracy = f"{metrics['test/accuracy']:.4f}" if "test/accuracy" in metrics else "not measured"
    settings = [f"{name} {value}" for name, value in training.get("data_settings", {}).items() if value is not None]
    rows = {
        "data": ", ".join([training.get("data", "unknown"), *settings]),
        "test accuracy": accuracy + (f" ({', '.join(sizes)})" if sizes else ""),
    }
    if "seed" in training:
        rows["seed"] = f"{training['seed']} (one run)"
    if "epoch" in training:
        rows["epochs"] = f"{training['epoch']}" + (f" of {training['epochs']}" if "epochs" in training else "")
    return rows


def _environment_rows(environment: Mapping[str, str]) -> dict[str, str]:
    names = {"devices": "trained on", "system": "system", "versions": "versions", "commit": "commit"}
    rows = {row: environment[name] for name, row in names.items() if name in environment}
    return rows | ({"command": f"`{environment['command']}`"} if "command" in environment else {})
