"""Lightning's logger for W&B, in a thread of its own: nothing that W&B does stops or slows training."""

import atexit
import logging
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from tempfile import NamedTemporaryFile
from typing import Any, ClassVar

import numpy as np
from lightning.fabric.loggers.logger import _DummyExperiment, rank_zero_experiment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger

from set_aggregation.loggers.background_thread import BackgroundThread
from set_aggregation.loggers.wandb_history import num_rows_with, remove_empty, wait_for_writers
from set_aggregation.loggers.wandb_media import checkpoint_artifact, confusion_chart, mistake_images
from set_aggregation.loggers.wandb_service import check_server, end_service, tear_down

_FILE_OF_ID = "wandb_run_id"
_STEP = "trainer/global_step"  # each row has it
_EACH_EPOCH = ("curve/", "val/", "test/")
_WITH_BEST = ("curve/", "val/")


class BackgroundWandbLogger(WandbLogger):
    """Lightning's WandbLogger, talking to W&B from a thread of its own.

    Training hands over what is to be logged and goes on; it waits for W&B at the start and at the end only, and there
    a limited time. Whatever fails, W&B's process or its disk, the network or a value that W&B does not take, gives one
    warning; the rest of the run is then not sent to W&B, and training goes on. Online, where nobody is logged in or
    the server does not answer, the run is kept offline.

    ``epoch`` is the x axis of what is measured once an epoch: ``curve/``, ``val/`` and ``test/``. The summary of the
    run has the best and the last of each accuracy and loss in ``curve/`` and ``val/``, and the last of all else.

    The id of the run lies in ``wandb_run_id`` in ``save_dir``; a run that finds it there goes on with that W&B run.
    Each row has a number, that of the call, which stands in the checkpoints (``state_dict``). A run that goes on from
    a checkpoint leaves out the rows that W&B's files have, and sends those again that the checkpoint counts and a
    killed W&B process did not write: none comes twice, none is missing.

    Args:
        *args: as of Lightning's WandbLogger. With ``log_model`` the best checkpoint, and only that one, becomes an
            artifact when training ends, offline too.
        **kwargs: the same.

    Attributes:
        seconds_for_server: how long the server may take to answer at the start.
        seconds_to_start: how long W&B may take to start.
        seconds_to_upload: how long W&B may take to send the rest at the end; ``WANDB_FINISH_TIMEOUT`` goes before it.
        seconds_to_write: how long W&B may take to write the rest at the end.
        seconds_in_memory: how long a row may be in W&B's memory before it is in its file.
        max_waiting: how many calls may wait for W&B before it is given up.
    """

    seconds_for_server: ClassVar[float] = 5.0
    seconds_to_start: ClassVar[float] = 60.0
    seconds_to_upload: ClassVar[float] = 60.0
    seconds_to_write: ClassVar[float] = 10.0
    seconds_in_memory: ClassVar[float] = 10.0
    max_waiting: ClassVar[int] = 10_000
    _open: ClassVar[set["BackgroundWandbLogger"]] = set()  # those with a run that has not ended

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Lightning gives it even where nobody asked for it, and W&B warns of it.
        self._wandb_init.pop("anonymous", None)
        # Not a run of before, which may be broken.
        self._wandb_init["reinit"] = self._wandb_init.get("reinit") or "create_new"
        self._thread: BackgroundThread | None = None
        self._closed = self._ended = False
        self._news: deque[str] = deque()  # found by the thread, for training to say: filters of warnings are its own
        self._folder: Path | None = None
        self._url: str | None = None
        self._axes: set[str] = set()  # metrics that were defined
        self._goes_on = False  # with a W&B run of before
        self._best: tuple[str, dict[str, Any]] | None = None
        self._num_rows = 0  # that were handed over in the whole run, by this process and those before it
        self._num_written = 0  # of them, by those before
        self._step = 0  # of the last row
        self._recent: deque[tuple[float, int, dict[str, Any]]] = deque()  # rows that may be in no file yet

    def __getstate__(self) -> dict[str, Any]:
        """Without the thread: a process that was spawned logs nothing to W&B."""
        news = deque(["W&B gets nothing from a process that was spawned; use --trainer.strategy ddp"])
        return {**self.__dict__, "_thread": None, "_experiment": None, "_closed": True, "_news": news}

    @rank_zero_only
    def start(self) -> None:
        """Starts the W&B run: where that cannot be done online, offline; where it cannot be done at all, without."""
        if self._thread is not None or self._closed:
            return
        os.environ.setdefault("WANDB_SILENT", "true")  # what a person has to know is said here, in one line
        os.environ.setdefault("WANDB_INIT_TIMEOUT", "20")
        os.environ.setdefault("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", "2")  # or a killed run loses 15 s
        os.environ.setdefault("WANDB_FINISH_TIMEOUT", str(self.seconds_to_upload))
        os.environ.setdefault("WANDB_FINISH_TIMEOUT_RAISES", "true")
        self._owns_data_dir = "WANDB_DATA_DIR" not in os.environ
        if self._owns_data_dir:  # tables would lie in the home folder until they are sent
            os.environ["WANDB_DATA_DIR"] = str(self._root / "wandb")
        self._thread = BackgroundThread("W&B", self.max_waiting, self._give_up)
        self._open.add(self)
        self._thread.call(self._begin)
        if not self._thread.wait(self.seconds_to_start):
            self._thread.fail(TimeoutError(f"it did not start within {self.seconds_to_start:.0f} s"))
        atexit.register(self.finish)  # now, after W&B's own, and so called before it
        self._warn()
        if self._url:
            print(f"W&B: {self._url}")  # noqa: T201

    def finish(self, exit_code: int | None = None) -> None:
        """Ends the W&B run, if one was started, and waits for that a limited time.

        Args:
            exit_code: 0 if all went well; by default that of the process.
        """
        if self._thread is None or self._closed:
            return
        self._closed = True
        atexit.unregister(self.finish)
        self._open.discard(self)
        seconds = self.seconds_to_write
        if self._url and not self._thread.failed:  # it gives up by itself, then it still writes what it has
            seconds += float(os.environ["WANDB_FINISH_TIMEOUT"])
        try:
            self._thread.call(self._end, exit_code, always=True)
            if not self._thread.wait(seconds):
                self._thread.fail(TimeoutError(f"it did not finish within {seconds:.0f} s"))
        finally:
            self._thread.close()
            if not self._ended:
                end_service()
            if self._owns_data_dir:
                os.environ.pop("WANDB_DATA_DIR", None)
        self._warn()

    @property
    def offline_folder(self) -> Path | None:
        """The folder of the offline run, which ``wandb sync`` sends; None online and where W&B did not start."""
        return None if self._url else self._folder

    @property
    def url(self) -> str | None:
        """The page of the online run; None offline and where W&B did not start."""
        return self._url

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run itself; what is called on it talks to W&B from the thread of the caller."""
        self.start()
        over = self._ended or self._thread is None or self._thread.failed
        return _DummyExperiment() if over or self._experiment is None else self._experiment

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs numbers.

        Args:
            metrics: name and value of each.
            step: the optimizer steps so far.
        """
        if step is None or self._wandb_init.get("sync_tensorboard"):
            self._later(self._log_row, dict(metrics))
        else:
            self._step = step
            self._add_row({**metrics, _STEP: step})

    def state_dict(self) -> dict[str, Any]:
        """How many rows the run has, and those that W&B may not have written yet."""
        now = time.monotonic()
        while self._recent and self._recent[0][0] < now - self.seconds_in_memory:
            self._recent.popleft()
        plain = [[number, row] for _, number, row in self._recent if _is_plain(row)]
        return {"rows": self._num_rows, "recent": plain}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the rows of the run that a checkpoint is of.

        Args:
            state_dict: of this W&B run; a new one counts anew.
        """
        if self._goes_on:
            for number, row in state_dict["recent"]:
                self._num_rows = number
                self._add_row(row)
            self._num_rows = state_dict["rows"]

    def log_hyperparams(self, params: Any) -> None:
        """Adds to the configuration of the run.

        Args:
            params: dictionary or namespace, of any depth.
        """
        self._later(super().log_hyperparams, params)

    def log_evaluation(
        self,
        confusion: np.ndarray,
        class_names: Sequence[str],
        mistakes: Sequence[tuple[np.ndarray, str, str, float]],
    ) -> None:
        """Logs the panels ``test/confusion_matrix`` and ``test/worst_mistakes``.

        Args:
            confusion: how many images of each class (rows) were taken for each class (columns).
            class_names: names of the classes.
            mistakes: pixels (H W C or H W, 0 to 255), class, answer and loss of each image to show.
        """
        self._later(self._log_evaluation, self._num_rows, self._step, confusion, class_names, mistakes)
        self._num_rows += 1

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Notes the best checkpoint."""
        best, score = checkpoint_callback.best_model_path, checkpoint_callback.best_model_score
        if self._log_model and checkpoint_callback.monitor and best:
            metadata = {"monitor": checkpoint_callback.monitor, "score": None if score is None else float(score)}
            self._best = best, metadata

    def finalize(self, status: str) -> None:
        """Logs the best checkpoint, if that was asked for; the run goes on, for the test."""
        if status == "success" and self._best is not None:
            self._later(self._log_checkpoint, *self._best)
            self._best = None

    @property
    def _root(self) -> Path:
        return Path(self.save_dir or ".").absolute()

    def _add_row(self, row: dict[str, Any]) -> None:
        number, self._num_rows = self._num_rows, self._num_rows + 1
        self._recent.append((time.monotonic(), number, row))
        self._later(self._log_row, row, number)

    @rank_zero_only
    def _later(self, call: Callable[..., object], *arguments: object) -> None:
        self.start()
        if self._thread is not None and not self._closed:
            self._thread.call(call, *arguments)
        self._warn()

    def _warn(self) -> None:
        while self._news:
            # Of no line of the code, which would be printed, too.
            warnings.warn(self._news.popleft(), stacklevel=1000)

    def _give_up(self, reason: BaseException) -> None:
        kept = f"; what it has lies in {self._folder}, `wandb sync` may send that" if self._folder else ""
        self._news.append(f"W&B failed ({_words(reason)}): the run goes on without it{kept}")
        if isinstance(reason, TimeoutError):  # it hangs: without its process nothing waits for it any more
            end_service()

    def _begin(self) -> None:
        import wandb  # takes a second; only where it is used
        from wandb.sdk.lib import import_hooks

        # On a full disk each line of its log would print a traceback; a process that is gone is said in one line.
        logging.getLogger("wandb").setLevel(logging.CRITICAL + 1)
        logging.getLogger("asyncio").addFilter(_is_not_of_a_closed_socket)
        settings = self._wandb_init
        mode = "offline" if self._offline else settings.get("mode") or os.environ.get("WANDB_MODE", "online")
        settings["mode"] = mode
        if mode != "disabled":
            self._choose_id()
        if self._goes_on:
            wait_for_writers(self._root / "wandb", self.seconds_to_write)
            remove_empty(self._root / "wandb")
            self._num_written = num_rows_with(_STEP, self._root / "wandb")
        if mode == "online" and self._experiment is None:
            try:
                check_server(self.seconds_for_server)
                self._experiment = wandb.init(**settings)
            except Exception as error:
                if self._thread is None or self._thread.failed:
                    raise
                end_service()  # to it the run goes on, under this id
                settings["mode"] = "offline"
                self._news.append(
                    f"W&B cannot be reached ({_words(error)}): this run is kept offline, `wandb sync` can send it later"
                )
        run = self._experiment = self._experiment or wandb.init(**settings)
        # They make an import on the training thread wait for W&B, and fail when W&B has died.
        import_hooks.unregister_all_post_import_hooks()
        if run.settings.mode in ("online", "offline"):
            self._folder = Path(run.dir).absolute().parent
            self._url = run.url if run.settings.mode == "online" else None
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)

    def _choose_id(self) -> None:
        """Takes the id of the sweep, of the folder, as given, or a new one, and writes it down."""
        settings, file = self._wandb_init, self._root / _FILE_OF_ID
        if "WANDB_SWEEP_ID" in os.environ:  # its agent has set these, and W&B warns of others
            for name in ("project", "entity", "id"):
                settings.pop(name, None)
            run_id = os.environ.get("WANDB_RUN_ID", "")
        else:
            stored = file.read_text().strip() if file.exists() else ""
            self._goes_on = bool(stored)
            run_id = stored or settings.get("id") or os.environ.get("WANDB_RUN_ID") or token_hex(4)
            settings["id"] = run_id
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(run_id)

    def _log_row(self, row: dict[str, Any], number: int | None = None) -> None:
        if number is not None and number < self._num_written:
            return
        prefix = f"{self._prefix}{self.LOGGER_JOIN_CHAR}" if self._prefix else ""
        named = {f"{prefix}{name}" if prefix and name != _STEP else name: value for name, value in row.items()}
        for name in named:
            # One by one: of two patterns that match, such as "val/*" and the "*" above, either may hold.
            if name.startswith(_EACH_EPOCH) and name not in self._axes:
                best = {"accuracy": "max", "loss": "min"}.get(name.replace("_", "/").rsplit("/", 1)[-1])
                summary = f"{best},last" if best and name.startswith(_WITH_BEST) else None
                self.experiment.define_metric(name, step_metric="epoch", summary=summary)
                self._axes.add(name)
        self.experiment.log(named)

    def _log_evaluation(
        self,
        number: int,
        step: int,
        confusion: np.ndarray,
        names: Sequence[str],
        mistakes: Sequence[tuple[np.ndarray, str, str, float]],
    ) -> None:
        if number >= self._num_written:
            panels = {"confusion_matrix": confusion_chart(confusion, names), "worst_mistakes": mistake_images(mistakes)}
            self.experiment.log({f"test/{name}": panel for name, panel in panels.items()} | {_STEP: step})

    def _log_checkpoint(self, path: str, metadata: dict[str, Any]) -> None:
        name = self._checkpoint_name or f"model-{self.experiment.id}"
        self.experiment.log_artifact(checkpoint_artifact(name, path, metadata), aliases=["best", "latest"])

    def _end(self, exit_code: int | None) -> None:
        if self._experiment is None:
            return
        import wandb

        try:
            self._experiment.finish(exit_code=exit_code)
        finally:
            if not self._open and wandb.run is None:  # its process has all on the disk only when it ends
                tear_down()
        self._ended = True
        if self._folder is not None:  # W&B says nothing of a disk that is full
            with NamedTemporaryFile(dir=self._folder) as file:
                file.write(bytes(1 << 16))


def _is_plain(row: Mapping[str, Any]) -> bool:
    """Whether a checkpoint may hold it: no code is needed to read it back."""
    return all(isinstance(value, bool | int | float | str | None) for value in row.values())


def _words(reason: BaseException) -> str:
    return " ".join(str(reason).split()) or type(reason).__name__


def _is_not_of_a_closed_socket(record: logging.LogRecord) -> bool:
    return record.getMessage() != "socket.send() raised exception."
