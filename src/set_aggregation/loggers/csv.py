"""A CSV logger whose ``metrics.csv`` is exact after any interruption."""

import csv
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from set_aggregation.runs.files import atomic_write, warn


class MetricsFile(CSVLogger):
    """Lightning's CSVLogger for runs that may be interrupted.

    A run that resumes from a checkpoint keeps the rows that were logged before the checkpoint: none is repeated, none
    is missing. Whenever the program stops, only the last row of the file can be torn. If the file cannot be written,
    as on a full disk, it warns once and keeps the rows in memory to write them later.
    """

    _warned = False

    @property
    def experiment(self) -> Any:
        """Writer of the file."""
        if rank_zero_only.rank == 0 and self._experiment is None:  # type: ignore[attr-defined]
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._experiment = _Writer(self.log_dir)
        return super().experiment

    @property
    def file(self) -> Path:
        """Path of ``metrics.csv``."""
        return Path(self.log_dir) / ExperimentWriter.NAME_METRICS_FILE

    @rank_zero_only
    def save(self) -> None:
        """Write the rows to the file."""
        try:
            self.experiment.save()
        except OSError as error:
            if not self._warned:
                warn(f"got {self.log_dir}, where metrics.csv cannot be written ({error})")
            self._warned = True

    def state_dict(self) -> dict[str, Any]:
        """Return number of rows and columns of the file; call :meth:`save` before."""
        writer = self._experiment
        return {"rows": writer.num_rows, "columns": list(writer.metrics_keys)} if isinstance(writer, _Writer) else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remove the rows written after the state."""
        if self.file.exists() and state_dict and isinstance(self.experiment, _Writer):
            self.experiment.cut(state_dict["rows"], state_dict["columns"])


class _Writer(ExperimentWriter):
    """Append rows to the file, or rewrite it if there are new columns."""

    def __init__(self, log_dir: str) -> None:  # without super: it would remove the file
        self.log_dir = log_dir
        self.metrics: list[dict[str, Any]] = []
        self.metrics_keys: list[str] = []
        self.hparams: dict[str, Any] = {}
        self.num_rows = 0  # in the file
        self._is_torn = True  # the file may continue after these rows
        self._file = Path(log_dir) / self.NAME_METRICS_FILE

    def cut(self, num_rows: int, columns: list[str]) -> None:
        self.metrics_keys, self.num_rows = list(columns), num_rows
        # These rows have no value in columns added after the state.
        rows = [{name: row[name] for name in columns} for row in self._read()]
        self.num_rows = len(rows)
        self._rewrite(rows)

    def save(self) -> None:
        if not self.metrics:
            return
        has_new_columns, was_torn, self._is_torn = self._record_new_keys(), self._is_torn, True
        if has_new_columns or was_torn:
            self._rewrite([*self._read(), *self.metrics])
        else:
            with self._file.open("a", newline="") as file:
                csv.DictWriter(file, self.metrics_keys).writerows(self.metrics)
        self._is_torn = False
        self.num_rows += len(self.metrics)
        self.metrics = []

    def _read(self) -> list[dict[str, Any]]:
        if not self.num_rows:
            return []
        with self._file.open(newline="") as file:
            return list(csv.DictReader(file))[: self.num_rows]

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        with atomic_write(self._file) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
        self._is_torn = False
