"""configs/slurm/paper.sbatch, with stand-ins for what SLURM brings; fit.sbatch is run under a real one."""

import os
import subprocess

import pytest

from tests.support.cli_runner import ROOT

SCRIPT = ROOT / "configs" / "slurm" / "paper.sbatch"


@pytest.fixture
def submitted(tmp_path):
    """Runs the script as a job of an array, whose srun ends with a code; gives its code and what it has called."""

    def submitted(code, *arguments):
        for name, end in {"srun": code, "scontrol": 0}.items():
            command = tmp_path / name
            command.write_text(f'#!/bin/bash\necho {name} $SRUN_CPUS_PER_TASK "$@" >> {tmp_path}/calls\nexit {end}\n')
            command.chmod(0o755)
        array = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "25", "SLURM_JOB_ID": "107"}
        done = subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "4", **array},
            check=False,
        )
        return done.returncode, (tmp_path / "calls").read_text().splitlines()

    return submitted


def test_job_makes_its_share(submitted):
    code, calls = submitted(0, "table2", "--seeds", "0-4")
    assert (code, calls) == (0, ["srun 4 python -m reproduction run table2 --seeds 0-4 --shard 3/25"])


def test_interrupted_job_waits_in_the_queue_again(submitted):
    code, calls = submitted(75, "table2")
    assert (code, calls[1:]) == (75, ["scontrol 4 requeue 107"])


def test_failed_job_does_not(submitted):
    code, calls = submitted(1, "table2")
    assert (code, len(calls)) == (1, 1)
