"""Keeps the tests of the data sets away from the network."""

import socket

import pytest


@pytest.fixture(autouse=True)
def this_machine_only(monkeypatch):
    """Fails a test that looks up or connects to any address but this machine's own."""
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def look_up_here(host, *arguments, **options):
        assert host == "127.0.0.1", f"a test looks up {host}"
        return look_up(host, *arguments, **options)

    def connect_here(self, address):
        assert self.family == socket.AF_UNIX or address[0] == "127.0.0.1", f"a test connects to {address}"
        return connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    monkeypatch.setattr(socket.socket, "connect", connect_here)
    monkeypatch.setenv("no_proxy", "*")
