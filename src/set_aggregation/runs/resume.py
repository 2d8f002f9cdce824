"""Finds the run that a command goes on with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from set_aggregation.callbacks import RunDirectory

# What changes nothing in what a run computes: where and how it runs, and what it says.
_FREE = ("run", "resume", "recovery", "test_after_fit", "test_last")
_FREE_OF_TRAINER = (
    *("accelerator", "strategy", "devices", "num_nodes", "logger", "default_root_dir", "profiler"),
    *("enable_progress_bar", "enable_model_summary"),
)


def find_run(resume: Literal["auto"] | Path | None, asked: RunDirectory, has_name: bool, config: str) -> RunDirectory:
    """The folder of the run that a command is to write.

    Args:
        resume: None for a new run; the folder of a run to go on with; or ``"auto"``, which goes on with what is
            there: the run of the name that was given, else the newest run of the experiment that has the same
            configuration, has not finished and is not being written. Without such it is a new run.
        asked: the folder of a new run.
        has_name: whether the name of the run was given.
        config: the complete configuration.

    Raises:
        ValueError: no such run, or one of this name with another configuration.
    """
    if resume is None:
        return asked
    if resume != "auto":
        folder = Path(resume)
        if not (folder / "config.yaml").is_file():
            raise ValueError(f"got --resume {folder}, expected the folder of a run, which holds a config.yaml, or auto")
        folder = folder.absolute() if not folder.parent.parent.name else folder
        return RunDirectory(folder.parent.name, folder.parent.parent, folder.name)
    if has_name:
        if asked.config_file.is_file() and (other := _differences(asked.config_file, config)):
            raise ValueError(
                f"got --resume auto for the run {asked.folder}, which has other {', '.join(other)}; expected the same "
                f"configuration; give another --run.name, or --resume {asked.folder} to go on with it all the same"
            )
        return asked
    folders = [file.parent for file in (asked.root / asked.experiment).glob("[!.]*/config.yaml")]
    for folder in sorted(folders, key=lambda folder: (folder / "config.yaml").stat().st_mtime, reverse=True):
        run = RunDirectory(asked.experiment, asked.root, folder.name)
        if not run.results.exists() and not _differences(run.config_file, config) and run.lock():
            run.unlock()  # the process locks it again, by the object that it keeps
            return run
    return asked


def _differences(file: Path, config: str) -> list[str]:
    """The settings in which two configurations differ, as far as they change what is computed."""
    try:
        before = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError):
        return ["config.yaml"]
    return sorted(_different(_that_counts(before), _that_counts(yaml.safe_load(config)), ""))


def _that_counts(config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    kept = {name: value for name, value in config.items() if name not in _FREE}
    trainer = kept.get("trainer")
    if isinstance(trainer, Mapping):
        kept["trainer"] = {name: value for name, value in trainer.items() if name not in _FREE_OF_TRAINER}
    return kept


def _different(a: Any, b: Any, key: str) -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        names = dict.fromkeys((*a, *b))
        below = [_different(a.get(name), b.get(name), f"{key}.{name}" if key else str(name)) for name in names]
        return [each for some in below for each in some]
    return [] if a == b else [key]
