"""Machines of a cluster, played by network namespaces of this one: each has an address and a host name of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_NETWORK = "192.0.2"  # set aside for examples: belongs to no machine that this one could want to reach
_INTERFACE = "node0"


@dataclass(frozen=True)
class Node:
    """One of the machines.

    Args:
        namespace: name of its network namespace.
        address: by which the others reach it.
        hostname: what it calls itself, and the others call it.
        hosts: what stands in its ``/etc/hosts``.
        interface: the network interface with the address.
    """

    namespace: str
    address: str
    hostname: str
    hosts: Path
    interface: str = _INTERFACE

    def command(self, *arguments: object) -> list[str]:
        """What to start in place of a command to have it run on this machine; it stays one process."""
        prepare = f'hostname {self.hostname} && mount --bind {self.hosts} /etc/hosts && exec "$@"'
        own_names = ("unshare", "--uts", "--mount", "sh", "-c", prepare, "sh")
        return ["ip", "netns", "exec", self.namespace, *own_names, *map(str, arguments)]

    def processes(self) -> list[int]:
        """The processes on this machine."""
        done = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True)
        return [int(pid) for pid in done.stdout.split()]


def skip_without_namespaces() -> None:
    """Skips a test where there is no right, or no program, to make them."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    for program in ("ip", "unshare"):
        if shutil.which(program) is None:
            pytest.skip(f"network namespaces need {program} (of iproute2 and util-linux)")
    probe = f"san-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "delete", probe], capture_output=True)
    if made.returncode:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")


@contextlib.contextmanager
def two_nodes(folder: Path) -> Iterator[tuple[Node, Node]]:
    """Two machines with a cable between them, and no way to anywhere else; what still runs on them at the end is
    killed.

    Args:
        folder: where the file with their names lies. All other folders of this machine are theirs too, as if shared.
    """
    hosts = folder / "hosts"
    nodes = tuple(Node(f"san-{os.getpid()}-{i}", f"{_NETWORK}.{i}", f"san-node-{i}", hosts) for i in (1, 2))
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{node.address} {node.hostname}\n" for node in nodes))
    try:
        for node in nodes:
            _ip("netns", "add", node.namespace)
        first, second = (node.namespace for node in nodes)
        # Made inside: an interface of this name on the machine itself is not in the way.
        _ip("-netns", first, "link", "add", _INTERFACE, "type", "veth", "peer", "name", _INTERFACE, "netns", second)
        for node in nodes:
            _ip("-netns", node.namespace, "address", "add", f"{node.address}/24", "dev", _INTERFACE)
            for interface in ("lo", _INTERFACE):
                _ip("-netns", node.namespace, "link", "set", interface, "up")
        yield nodes[0], nodes[1]
    finally:
        for node in nodes:
            _remove(node)


def _remove(node: Node) -> None:
    with contextlib.suppress(subprocess.CalledProcessError):  # it may not have been made
        deadline = time.monotonic() + 10
        while (pids := node.processes()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        _ip("netns", "delete", node.namespace)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
