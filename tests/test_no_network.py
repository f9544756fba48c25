"""No network: not at import, not for the command's help, not in tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

#: Runs one line and prints the audit events of sockets that it caused, as JSON.
SPY = """
import json, sys
seen = []
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith("socket.") else None)
{line}
print(json.dumps(seen))
"""


def socket_events(line: str, repo_dir) -> list[str]:
    """The socket events of a line in a new process."""
    env = {**os.environ, "PYTHONPATH": str(repo_dir)}
    done = subprocess.run(
        [sys.executable, "-c", SPY.format(line=line)], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "line",
    [
        "import dassl, cerviclip",
        pytest.param(
            "import dassl.engine, cerviclip; cerviclip.Predictor, cerviclip.list_trainers()",
            marks=pytest.mark.slow,
        ),
        "from cerviclip.cli import main; assert main(['--help']) == 0",
    ],
)
def test_nothing_opens_a_socket(line, repo_dir):
    assert socket_events(line, repo_dir) == []


def test_the_spy_sees_a_socket(repo_dir):
    assert "socket.__new__" in socket_events("import socket; socket.socket().close()", repo_dir)


def test_tests_cannot_connect_outside():
    address = ("192.0.2.1", 80)  # TEST-NET-1: nobody's
    with pytest.raises(RuntimeError, match="network"), socket.socket() as opened:
        opened.connect(address)
    with pytest.raises(RuntimeError, match="network"), socket.socket() as opened:
        opened.connect_ex(address)
    with pytest.raises(RuntimeError, match="network"):
        socket.create_connection(address, timeout=1)


def test_tests_cannot_look_up_a_name():
    with pytest.raises(RuntimeError, match="getaddrinfo"):
        socket.create_connection(("example.org", 443), timeout=1)
    with pytest.raises(RuntimeError, match="gethostbyname"):
        socket.gethostbyname("example.org")


def test_tests_cannot_send_a_datagram_outside():
    with (
        pytest.raises(RuntimeError, match="network"),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened,
    ):
        opened.sendto(b"x", ("192.0.2.1", 53))


def test_loopback_and_unix_sockets_work(tmp_path, monkeypatch):
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
    monkeypatch.chdir(tmp_path)  # a Unix address has room for about 100 characters
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("here")
        server.listen()
        client.connect("here")
