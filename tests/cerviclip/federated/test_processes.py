"""The processes of a federation on one machine: what they are told, and what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from cerviclip.federated import processes
from dassl.errors import UserError


def test_a_centres_own_error_is_said_once(tmp_path):
    class Ended:
        def poll(self):
            return 2

    (tmp_path / "east.txt").write_text("INFO: Flower\nerror: a class is missing\nbye\n")
    with pytest.raises(UserError, match=r"^east failed: a class is missing \(.*east.txt\)$"):
        processes._wait_for({"east": Ended()}, tmp_path)


def test_the_servers_key_is_no_part_of_the_results(plan, tmp_path, monkeypatch):
    pytest.importorskip("cryptography", reason="needs the extra 'federated'")
    seen = {}

    def run(plan, logs, words):
        server, centre = words["server"], words["east"]
        seen["keys"] = Path(server[server.index("--certificates") + 1]) / "server.key"
        assert seen["keys"].is_file() and Path(centre[centre.index("--ca") + 1]).is_file()

    monkeypatch.setattr(processes, "_run_processes", run)
    processes.federate_here(plan, tmp_path / "out")
    assert not seen["keys"].exists() and not list(tmp_path.rglob("*.key"))
    assert tmp_path / "out" not in seen["keys"].parents
