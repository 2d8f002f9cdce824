"""Training on two machines by torchrun, played by two network namespaces."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.cli_runner import CSV, DIGITS, ROOT, environment_of_a_person, run_cli
from tests.support.network_namespaces import skip_without_namespaces, two_nodes

SHORT = (
    *("--trainer.max_epochs=2", "--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false"),
    # Equal batches on all ranks: two halves of a batch then weigh what the whole of it does on one.
    *("--model.aggregator.out_features=8", "--data.num_train=1024"),
)
pytestmark = pytest.mark.e2e
TWO_NODES = ("--trainer", str(ROOT / "configs" / "trainer" / "multinode.yaml"))
ONE_CPU = ("--trainer.accelerator=cpu", "--trainer.devices=1")


@pytest.fixture
def nodes(tmp_path):
    skip_without_namespaces()
    with two_nodes(tmp_path) as both:
        yield both


def c10d(nodes, number):
    return ("--rdzv-backend=c10d", f"--rdzv-endpoint={nodes[0].hostname}:29500", "--rdzv-id=san")


def static(nodes, number):
    return (f"--node-rank={number}", f"--master-addr={nodes[0].hostname}", "--master-port=29500")


def start(nodes, folder, rendezvous, *arguments):
    """The command of docs/clusters.md on each of the nodes, in a folder that they share."""
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1")
    fit = (ROOT / "main.py", "fit", *DIGITS, *TWO_NODES, *CSV, *ONE_CPU, *arguments)
    return [
        subprocess.Popen(
            node.command(*torchrun, *rendezvous(nodes, number), *fit),
            cwd=folder,
            env={**environment_of_a_person(), "HOME": str(folder), "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, node in enumerate(nodes)
    ]


def wait(nodes, running, seconds):
    """What the commands print until they end; a test fails with where each process hangs if one does not end."""
    deadline = time.monotonic() + seconds
    try:
        return [process.communicate(timeout=max(0, deadline - time.monotonic()))[0] for process in running]
    except subprocess.TimeoutExpired:
        for node in nodes:
            for process in node.processes():  # torchrun and the rank
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGABRT)
        printed = [process.communicate(timeout=60)[0] for process in running]
        pytest.fail(f"did not end within {seconds} s\n" + "\n".join(printed))


def read_metrics(run):
    with (run / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def column(rows, name):
    return [row[name] for row in rows if name in row]


@pytest.mark.parametrize("rendezvous", [c10d, pytest.param(static, marks=pytest.mark.nightly)], ids=["c10d", "static"])
def test_two_nodes_make_one_run_and_the_numbers_of_one_process(nodes, tmp_path, rendezvous):
    for name in ("two", "one"):
        (tmp_path / name).mkdir()
    running = start(nodes, tmp_path / "two", rendezvous, *SHORT, "--data.batch_size=64")
    printed = wait(nodes, running, 240)
    assert [process.returncode for process in running] == [0, 0], "\n".join(printed)
    (run,) = (tmp_path / "two" / "lightning_logs" / "san_digits").iterdir()
    assert [text.count("everything is in") for text in printed] == [1, 0]

    code, _, err = run_cli(tmp_path / "one", "fit", *DIGITS, *CSV, *SHORT, "--data.batch_size=128")
    assert code == 0, err
    (alone,) = (tmp_path / "one" / "lightning_logs" / "san_digits").iterdir()
    ours, theirs = read_metrics(run), read_metrics(alone)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]  # nothing is written twice
    assert len(column(ours, "val/loss")) == 2
    for name in ("val/loss", "test/loss"):
        assert column(ours, name) == pytest.approx(column(theirs, name), rel=1e-3)
    assert column(ours, "test/accuracy") == pytest.approx(column(theirs, "test/accuracy"), abs=0.01)


@pytest.mark.nightly
def test_rank_that_dies_takes_the_others_along(nodes, tmp_path):
    running = start(nodes, tmp_path, c10d, "--trainer.max_epochs=100000", "--run.name=run")
    checkpoint = tmp_path / "lightning_logs" / "san_digits" / "run" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    (worker,) = set(nodes[1].processes()) - {running[1].pid}
    os.kill(worker, signal.SIGKILL)
    printed = wait(nodes, running, 60)
    assert [process.returncode for process in running] == [1, 1], "\n".join(printed)
    assert "SIGKILL" in printed[1]
    assert checkpoint.exists()


@pytest.mark.nightly
def test_a_signal_to_one_node_stops_both_and_the_same_commands_go_on(nodes, tmp_path):
    commands = (nodes, tmp_path, c10d, *SHORT, "--trainer.max_epochs=12", "--run.name=run", "--resume=auto")
    running = start(*commands)
    run = tmp_path / "lightning_logs" / "san_digits" / "run"
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "previous.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    (worker,) = set(nodes[1].processes()) - {running[1].pid}
    os.kill(worker, signal.SIGTERM)
    printed = wait(nodes, running, 60)
    assert "the same command resumes it" in printed[0], "\n".join(printed)
    assert running[0].returncode == 1  # torchrun's, whatever its ranks end with
    assert not (run / "results.json").exists()

    running = start(*commands)
    printed = wait(nodes, running, 240)
    assert [process.returncode for process in running] == [0, 0], "\n".join(printed)
    steps = column([row for row in read_metrics(run) if "train/loss" in row], "step")
    assert steps == list(range(len(steps)))
    assert len(column(read_metrics(run), "val/loss")) == 12
