"""Selection of the run to resume, and the settings that may differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from set_aggregation.runs.directory import RunDirectory
from set_aggregation.runs.files import warn
from set_aggregation.runs.settings import HARDWARE, IRRELEVANT, changed, settings_of


def find_run(resume: Literal["auto"] | Path | None, asked: RunDirectory, has_name: bool, config: str) -> RunDirectory:
    """Return the run that a command writes."""
    if resume is None:
        return asked
    if resume != "auto":
        folder = Path(resume)
        folder = folder.absolute() if not folder.parent.parent.name else folder
        run = RunDirectory.at(folder)
        if not run.exists:
            raise ValueError(f"got --resume {resume}, expected the folder of a run, with its config.yaml, or auto")
        return run
    if has_name:
        if asked.exists and not asked.config_file.exists():
            warn(f"{asked.config_file} is missing; resuming with the configuration of this command")
        elif asked.exists and (other := _differences(asked.config_file, config)):
            raise ValueError(
                f"got --resume auto for the run {asked.folder}, which has other {', '.join(other)}; use the same "
                f"configuration, another --run.name, or --resume {asked.folder} to resume it with the new one"
            )
        return asked
    folders = [file.parent for file in (asked.root / asked.experiment).glob("[!.]*/config.yaml")]
    for folder in sorted(folders, key=lambda folder: (folder / "config.yaml").stat().st_mtime, reverse=True):
        run = RunDirectory.at(folder)
        if not run.results.exists() and not _differences(run.config_file, config) and run.lock():
            return run
    return asked


def _differences(file: Path, config: str) -> list[str]:
    """Return the settings in which two configurations differ, among those that can change a result."""
    try:
        configs = [yaml.safe_load(text) for text in (file.read_text(), config)]
    except (OSError, yaml.YAMLError):
        return ["config.yaml"]
    return changed(*(settings_of(each, (*IRRELEVANT, *HARDWARE)) for each in configs))


def changed_optimizer_arguments(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the arguments of the optimizer that a resumed run changes.

    Example:
        >>> adam = lambda lr: {"optimizer": {"class_path": "Adam", "init_args": {"lr": lr}}, "scheduler": None}
        >>> changed_optimizer_arguments(adam(0.1), adam(0.2))
        ['lr']
    """
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
