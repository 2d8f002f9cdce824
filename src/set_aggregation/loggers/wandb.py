"""A W&B logger that falls back to offline mode, then to no W&B, and never ends a run."""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities import rank_zero_only

from set_aggregation.loggers.wandb_media import evaluation_media
from set_aggregation.runs.files import warn

PROJECT = "set-aggregation"  # unless the environment or the config names another
_SUMMARY = {"accuracy": "max,last", "loss": "min,last"}
_SETTINGS: dict[str, Any] = {  # of W&B, in seconds; environment variables such as WANDB_INIT_TIMEOUT override them
    **{"silent": True, "init_timeout": 8.0, "finish_timeout": 60.0, "finish_timeout_raises": True},
    "x_transaction_log_flush_interval": 2.0,  # a killed run may lose this much; W&B's default is 15 s
    "reinit": "create_new",  # otherwise a broken run of this process would be reused
}


def _guarded(method: Callable[..., Any]) -> Callable[..., None]:
    """Start the run, and turn the first error of W&B into a warning and every later call into a no-op."""

    @wraps(method)
    @rank_zero_only
    def call(self: "SafeWandbLogger", *args: Any, **kwargs: Any) -> None:
        if self._has_ended:
            return
        try:
            if self._experiment is None:
                self._begin()
            method(self, *args, **kwargs)
        except Exception as error:
            self._end()
            kept = f"; `wandb sync {self.offline_folder}` may send what it has" if self.offline_folder else ""
            warn(f"W&B failed ({error!r}): the run continues without it{kept}")
            _tear_down()  # its hooks for imports and for the exit of Python fail if its process has ended

    return call


class SafeWandbLogger(WandbLogger):
    """Lightning's WandbLogger for runs that must survive W&B.

    If nobody is logged in or the server does not answer, it warns once and keeps the run offline; if W&B fails later,
    the run continues without it. A resumed run reads its id from ``wandb_run_id`` in ``save_dir``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._log_model is True:
            self.add_file_policy = "immutable"  # the best checkpoint needs no copy
        self._axes: set[str] = set()  # metrics whose axis was defined
        self._owns_data_dir = self._has_ended = False
        self.offline_folder: Path | None = None  # which `wandb sync` uploads
        self.url: str | None = None  # of an online run

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """W&B run, which the first call starts, or an object that ignores every call."""
        _guarded(lambda self: None)(self)
        return DummyLogger().experiment if self._has_ended else self._experiment

    @rank_zero_only
    def finish(self, exit_code: int | None = None) -> None:
        """End the W&B run if one was started; ignore all later calls."""
        if self._experiment is not None:
            _guarded(lambda self: self.experiment.finish(exit_code))(self)
        self._end()

    @_guarded
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers at a number of optimizer steps; the summary also has the best of ``curve/`` and ``val/``."""
        row = dict(metrics)
        # Lightning counts epochs from 0 while it trains; in a test it gives the number of trained epochs.
        if "epoch" in row and not any(name.startswith("test/") for name in row):
            row["epoch"] += 1
        for name in set(row) - self._axes:  # one by one: if two patterns match a name, either may apply
            axis = "epoch" if name.startswith(("curve/", "val/", "test/")) else "trainer/global_step"
            kind = name.replace("_", "/").rsplit("/", 1)[-1] if name.startswith(("curve/", "val/")) else ""
            self.experiment.define_metric(name, step_metric=axis, summary=_SUMMARY.get(kind))
            self._axes.add(name)
        super().log_metrics(row, step)

    @_guarded
    def log_evaluation(self, *evaluation: Any) -> None:
        """Log confusion matrix and misclassifications, given as the arguments of ``evaluation_media``."""
        self.experiment.log(evaluation_media(*evaluation))

    log_hyperparams = _guarded(WandbLogger.log_hyperparams)
    after_save_checkpoint = _guarded(WandbLogger.after_save_checkpoint)
    finalize = _guarded(WandbLogger.finalize)

    def _begin(self) -> None:
        """Start an online run, or an offline one if W&B cannot be reached."""
        logging.getLogger("wandb").setLevel(logging.CRITICAL + 1)  # its log prints a traceback a line on a full disk
        folder = Path(self.save_dir or ".").absolute()
        if "WANDB_DATA_DIR" not in os.environ:  # otherwise tables stay in the home folder until they are uploaded
            os.environ["WANDB_DATA_DIR"], self._owns_data_dir = str(folder / "wandb"), True
        mode = "offline" if self._offline else self._wandb_init.get("mode") or os.environ.get("WANDB_MODE", "online")
        file = folder / "wandb_run_id"
        if "WANDB_SWEEP_ID" in os.environ:  # W&B warns about values that the agent did not set
            self._wandb_init |= dict.fromkeys(("project", "entity", "id"))
        elif file.exists():
            self._wandb_init["id"] = file.read_text().strip() or None
        if mode != "disabled":
            folder.mkdir(parents=True, exist_ok=True)
        try:
            run = self._open(mode)
        except Exception as error:
            if mode != "online":
                raise
            warn(f"W&B cannot be reached ({error!r}): the run is kept offline, `wandb sync` can send it later")
            _tear_down()  # its process still uses the id of the run
            run = self._open("offline")
        self._experiment = run
        if mode != "disabled":
            file.write_text(run.id)
        if run.settings.mode == "offline":
            self.offline_folder = Path(run.dir).absolute().parent
        elif run.settings.mode == "online":
            self.url = run.url
            print(f"W&B: {run.url}")  # noqa: T201

    def _open(self, mode: str) -> Any:
        import wandb  # takes a second

        ours = {name: value for name, value in _SETTINGS.items() if f"WANDB_{name.upper()}" not in os.environ}
        wandb.setup(wandb.Settings(**{**ours, "mode": mode}))
        if mode == "online" and not wandb.login(prompt=False, verify=False):
            raise ConnectionError("nobody is logged in, see `wandb login`")
        given = {name: value for name, value in self._wandb_init.items() if value is not None}  # W&B warns about some
        return wandb.init(**{**given, "mode": mode})

    def _end(self) -> None:
        self._has_ended = True
        if self._owns_data_dir:
            os.environ.pop("WANDB_DATA_DIR", None)
            self._owns_data_dir = False


def _tear_down() -> None:
    import wandb

    with suppress(Exception, SystemExit):
        wandb.teardown()
