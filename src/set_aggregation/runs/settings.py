"""Settings of runs, to be compared."""

import json
from collections.abc import Mapping
from typing import Any

# Settings that cannot change a result, with everything below them.
IRRELEVANT = (
    "run",
    "resume",
    "recovery",
    "non_finite",
    "test_after_fit",
    "test_last",
    "checkpoint.dirpath",
    "checkpoint.filename",
    "checkpoint.verbose",
    "trainer.logger",
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
    "trainer.profiler",
    "data.init_args.data_dir",
    "data.init_args.num_workers",
)
# Hardware may change when a run is resumed; several devices multiply the batch, so comparisons keep such runs apart.
WIDTH_KEYS = ("model.hidden_features", "model.aggregator.init_args.out_features")  # the first that is not null
HARDWARE = ("trainer.accelerator", "trainer.strategy", "trainer.devices", "trainer.num_nodes")


def settings_of(config: Any, ignored: tuple[str, ...] = IRRELEVANT) -> dict[str, str]:
    """Return settings as JSON by dotted name, such as ``{"model.dropout": "0"}``."""
    tops = tuple(f"{name}." for name in ignored)
    return {name: text for name, text in _flat(config, "").items() if not f"{name}.".startswith(tops)}


def _flat(value: Any, name: str) -> dict[str, str]:
    if isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        parts = (_flat(each, f"{name}.{key}" if name else str(key)) for key, each in value.items())
        return {name: text for part in parts for name, text in part.items()}
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1 and 1.0 are equal settings
    return {name: json.dumps(value, ensure_ascii=False, default=str)}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of settings that differ; a missing one counts as null."""
    return sorted(name for name in {*before, *now} if before.get(name, "null") != now.get(name, "null"))


def changed_optimizer_arguments(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the arguments of the optimizer that a resumed run changes, such as ``["lr"]``."""
    if not before or not now:  # a model that was not built by the command line
        return []
    parts = ("optimizer", "scheduler", "scheduler_interval")
    names = changed(*(settings_of({part: each.get(part) for part in parts}, ()) for each in (before, now)))
    start = "optimizer.init_args."
    scheduled = {f"{start}{name}" for name in ("lr", "momentum", "betas")} if now.get("scheduler") else set()
    if refused := [name for name in names if not name.startswith(start) or name in scheduled]:
        raise ValueError(
            f"got another model.{', model.'.join(refused)} for a resumed run, which continues with the optimizer and "
            "the schedule of its checkpoint; keep these settings, or start a new run"
        )
    return [name.removeprefix(start).split(".")[0] for name in names]
