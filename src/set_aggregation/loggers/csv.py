"""The file ``metrics.csv``, which goes on where a checkpoint left it."""

import csv
import os
import warnings
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter


class MetricsFile(CSVLogger):
    """Lightning's CSVLogger for runs that may be interrupted.

    A run that goes on from a checkpoint has the rows that there were when the checkpoint was written, then its own:
    none twice, none missing. The file is whole whenever the program stops, but for the last row. Where it cannot be
    written, as on a full disk, a warning says so once, and the rows are kept to be written later.

    Args:
        *args: as of Lightning's CSVLogger.
        **kwargs: the same.
    """

    _warned = False

    @property
    def experiment(self) -> Any:
        """The writer of the file."""
        if rank_zero_only.rank == 0 and self._experiment is None:  # type: ignore[attr-defined]
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = _Writer(self.log_dir)
        return super().experiment

    @rank_zero_only
    def save(self) -> None:
        """Writes the rows to the file."""
        try:
            self.experiment.save()
        except OSError as error:
            if not self._warned:
                # Of no line of the code, which would be shown too.
                warnings.warn(f"got {self.log_dir}, where metrics.csv cannot be written ({error})", stacklevel=1000)
            self._warned = True

    @property
    def file(self) -> Path:
        """Where the metrics are."""
        return Path(self.log_dir) / ExperimentWriter.NAME_METRICS_FILE

    def state_dict(self) -> dict[str, Any]:
        """What the file holds; call :meth:`save` before."""
        writer = self._experiment
        return {"rows": writer.num_rows, "columns": list(writer.metrics_keys)} if isinstance(writer, _Writer) else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Cuts off what was written after the state.

        Args:
            state_dict: of this file; the file of a new run stays empty.
        """
        writer = self.experiment
        if isinstance(writer, _Writer) and state_dict:
            writer.cut(state_dict["rows"], state_dict["columns"])


class _Writer(ExperimentWriter):
    """Writes rows to the end of the file, and all of it anew when there are new columns."""

    def __init__(self, log_dir: str) -> None:  # without super: it would remove the file
        self.log_dir = log_dir
        self.metrics: list[dict[str, Any]] = []
        self.metrics_keys: list[str] = []
        self.hparams: dict[str, Any] = {}
        self.num_rows = 0  # in the file
        self._is_torn = True  # there may be something behind them
        self._file = Path(log_dir) / self.NAME_METRICS_FILE

    def cut(self, num_rows: int, columns: list[str]) -> None:
        if not self._file.exists():
            return
        # Of columns that came after the state, all these rows have nothing.
        rows = [{name: row[name] for name in columns} for row in self._read(num_rows)]
        self.metrics_keys, self.num_rows = list(columns), len(rows)
        self._rewrite(rows)

    def save(self) -> None:
        if not self.metrics:
            return
        if self._record_new_keys() or self._is_torn:
            self._is_torn = True
            self._rewrite([*self._read(self.num_rows), *self.metrics])
        else:
            self._is_torn = True
            with self._file.open("a", newline="") as file:
                csv.DictWriter(file, self.metrics_keys).writerows(self.metrics)
            self._is_torn = False
        self.num_rows += len(self.metrics)
        self.metrics = []

    def _read(self, num_rows: int) -> list[dict[str, Any]]:
        if not num_rows:
            return []
        with self._file.open(newline="") as file:
            return list(csv.DictReader(file))[:num_rows]

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        unfinished = self._file.with_suffix(".tmp")
        with unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(unfinished, self._file)  # noqa: PTH105
        self._is_torn = False
