"""A SLURM of one machine in a folder of its own, with its own configuration, key, sockets and ports."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_DAEMONS = ("munged", "slurmctld", "slurmd")
_CLIENTS = ("sbatch", "scancel", "scontrol", "sinfo", "srun")
# Lightning looks for the first rank at the name of the first node, which has to be one that can be resolved.
_NODE = "localhost"
# A node with more CPUs than it has cores, so that two ranks find room on the smallest machine.
_CONFIGURATION = """
ClusterName=san
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={daemon_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={requeue_delay}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldParameters=enable_configless
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1{scheduler_parameters}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{more}
KillWait={kill_wait}
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes={node} Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace_time} MaxTime=INFINITE
PartitionName=high Nodes={node} PriorityTier=2 PreemptMode=OFF MaxTime=INFINITE
"""


@dataclass(frozen=True)
class Slurm:
    """A running SLURM with one node of two CPUs and two partitions: jobs in ``high`` take the place of those in
    ``low``, the default one, which are requeued.

    Args:
        folder: where all of it lies.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What the commands of SLURM, and programs that call them, need to know."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        return {**outside, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(self, *command: object) -> str:
        """Runs one of SLURM's commands and gives what it prints.

        Raises:
            RuntimeError: it failed.
        """
        words = [str(word) for word in command]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def submit(self, *arguments: object) -> int:
        """Submits a job: the arguments of ``sbatch``; gives its number."""
        return int(self.run("sbatch", "--parsable", *arguments))

    def job(self, number: int) -> dict[str, str]:
        """What ``scontrol show job`` says about a job, such as ``JobState``, ``Restarts`` and ``Reason``."""
        words = self.run("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait_for(self, number: int, *states: str, seconds: float = 60) -> dict[str, str]:
        """Waits until a job is in one of the states, and gives what there is to know about it.

        Raises:
            TimeoutError: it was not, for so long.
        """
        deadline = time.monotonic() + seconds
        while (job := self.job(number))["JobState"] not in states:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"job {number} is {job['JobState']} ({job.get('Reason')}), not {' or '.join(states)}"
                )
            time.sleep(0.2)
        return job


def skip_without_slurm() -> None:
    """Skips a test where there is no SLURM to start, or no right to."""
    if os.geteuid() != 0:
        pytest.skip("a SLURM of one's own needs root")
    for program in (*_DAEMONS, *_CLIENTS):
        if shutil.which(program) is None:
            pytest.skip(f"a SLURM of one's own needs {program} (Debian: slurm-wlm and munge)")


@contextlib.contextmanager
def one_machine_slurm(
    folder: Path,
    grace_time: int = 30,
    kill_wait: int = 10,
    requeue_delay: int = 5,
    scheduler_parameters: str = "",
    more: str = "",
) -> Iterator[Slurm]:
    """Starts SLURM, and stops it with all its jobs.

    Args:
        folder: an empty one; its path must be short (100 characters), for that of a socket is added.
        grace_time: seconds that a job which is preempted has between SIGTERM and the end.
        kill_wait: seconds that a job which is cancelled has between SIGTERM and SIGKILL.
        requeue_delay: seconds for which a requeued job has to wait; SLURM's default is 120.
        scheduler_parameters: more of them.
        more: further lines of ``slurm.conf``.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    host = socket.gethostname().split(".")[0]
    controller_port, daemon_port = _free_ports(2)
    configuration = _CONFIGURATION.format(
        folder=folder,
        host=host,
        node=_NODE,
        controller_port=controller_port,
        daemon_port=daemon_port,
        grace_time=grace_time,
        kill_wait=kill_wait,
        requeue_delay=requeue_delay,
        scheduler_parameters=scheduler_parameters and f",{scheduler_parameters}",
        more=more,
    )
    (folder / "slurm.conf").write_text(configuration)
    slurm = Slurm(folder)
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    commands = {
        "munged": ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
        "slurmctld": ["slurmctld", "-D", "-f", f"{folder}/slurm.conf"],
        "slurmd": ["slurmd", "-D", "-N", _NODE, "-f", f"{folder}/slurm.conf"],
    }
    with contextlib.ExitStack() as running:
        for name, command in commands.items():
            running.enter_context(_daemon(command, slurm, folder / f"{name}.out"))
            if name == "munged":
                _wait_until((folder / "munge.socket").exists, "munged has no socket", folder)
        _wait_until(lambda: _node_is_idle(slurm), "the node does not become idle", folder)
        try:
            yield slurm
        finally:
            with contextlib.suppress(RuntimeError, TimeoutError):
                _end_jobs(slurm)


@contextlib.contextmanager
def _daemon(command: list[str], slurm: Slurm, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=slurm.environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_jobs(slurm: Slurm) -> None:
    slurm.run("scancel", "--signal=KILL", "--full", "--user=root")
    slurm.run("scancel", "--user=root")
    deadline = time.monotonic() + 30
    while slurm.run("squeue", "--noheader") and time.monotonic() < deadline:
        time.sleep(0.2)


def _node_is_idle(slurm: Slurm) -> bool:
    try:
        return slurm.run("sinfo", "--noheader", "--format=%T", "--partition=low") == "idle"
    except RuntimeError:
        return False  # slurmctld does not listen yet


def _wait_until(condition, complaint: str, folder: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(log.read_text(errors="replace")[-2000:] for log in sorted(folder.glob("*.out")))
            raise TimeoutError(f"{complaint} after {seconds:.0f} s:\n{logs}")
        time.sleep(0.1)


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as sockets:
        taken = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [one.getsockname()[1] for one in taken]
