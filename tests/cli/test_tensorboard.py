"""TensorBoard in place of the other loggers, or beside them, by one option."""

import sys

import pytest

from tests.cli.test_runs import only_run, read_metrics
from tests.support.cli_runner import CSV, DIGITS, ROOT, SHORT, files_in, run_cli

pytestmark = pytest.mark.e2e

FILE = ROOT / "configs" / "logger" / "tensorboard.yaml"
SPEED = "throughput/images_per_second"  # which metrics.csv leaves out: it is the same for the same run
CSV_TOO = (*CSV, f"--trainer.logger+={FILE}")


def read_events(folder):
    """Metric -> step and value of each time it was written, over all event files of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # takes a second

    values, plugins = {}, set()
    for file in sorted(folder.glob("events.out.tfevents.*")):
        events = EventAccumulator(str(file)).Reload()
        plugins |= set(events.summary_metadata)
        for tag in events.Tags()["scalars"]:
            values.setdefault(tag, []).extend((event.step, event.value) for event in events.Scalars(tag))
    return values, plugins


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Folder of a run that wrote metrics.csv too."""
    here = tmp_path_factory.mktemp("both")
    code, _, err = run_cli(here, "fit", *DIGITS, *SHORT, *CSV_TOO)
    assert code == 0, err
    return only_run(here)


def test_values_are_those_of_the_metrics_file(both):
    values, _ = read_events(both)
    rows = read_metrics(both)
    metrics = {name for row in rows for name in row} - {"epoch", "step"}
    assert set(values) == metrics | {"epoch", "hp_metric", SPEED}
    for name in metrics:
        written = [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows if name in row]
        assert values[name] == written


def test_without_its_package_one_line_says_what_to_install(here, monkeypatch):
    for name in ("tensorboard", "tensorboardX"):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, err = run_cli(here, "fit", *DIGITS, *SHORT, "--trainer.logger", FILE)
    assert (code, len(err.splitlines())) == (1, 1)
    assert "pip install tensorboard" in err
    assert files_in(here) == set()
