"""One short training that the tests look at, and no network."""

import fcntl
import os
import pickle
import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Fails a test that connects to any address but this machine's own."""
    connect = socket.socket.connect

    def connect_here(self, address):
        assert self.family == socket.AF_UNIX or address[0] == "127.0.0.1", f"a test connects to {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture
def here(tmp_path):
    """The working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Working folder and outcome of ``fit`` on digits, with W&B and metrics.csv; one run for all workers."""
    # Not above: tests/conftest.py sets TRITON_INTERPRET after pytest has imported this file, before the package.
    from tests.support.cli_runner import DIGITS, SHORT, run_cli

    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "trained"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        outcome = folder.with_suffix(".pickle")
        if not outcome.exists():
            folder.mkdir()
            outcome.write_bytes(pickle.dumps(run_cli(folder, "fit", *DIGITS, *SHORT)))
        return folder, pickle.loads(outcome.read_bytes())


@pytest.fixture(scope="session")
def run_folder(trained):
    """The folder of that run."""
    (folder,) = (trained[0] / "lightning_logs" / "san_digits").iterdir()
    return folder
