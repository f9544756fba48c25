"""The audit log: every way to tamper with it shows; what cannot be written is not half there."""

from __future__ import annotations

import errno
import json
import os

import pytest

from cerviclip.app.append_file import DiskFullError
from cerviclip.app.audit_log import AuditLog, digest_of, head_path, read_head, verify
from cerviclip.cli import main
from dassl.errors import UserError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    for number in range(3):
        log.append([{"kind": "answer", "who": "anna", "input": f"{number}{i}"} for i in range(2)])
    log.close()
    return path


def faults(path, noted=""):
    return [fault.line for fault in verify(path, noted)[1]]


def test_a_log_holds(path, capsys):
    assert faults(path) == []
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["n"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert entries[4]["previous"] == entries[3]["hash"] == digest_of(entries[3])
    assert main(["audit-log", "verify", str(path)]) == 0
    assert "6 entries" in capsys.readouterr().out
    assert main(["audit-log", "verify", str(path), "--head", entries[1]["hash"]]) == 0
    assert main(["audit-log", "verify", str(path), "--head", "0" * 64]) == 1


def test_every_changed_byte_shows(path):
    data = path.read_bytes()
    for at in range(0, len(data), 29):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert faults(path), f"byte {at}"
    path.write_bytes(data)
    assert not faults(path)


@pytest.mark.parametrize("gone", range(6))
def test_a_dropped_line_shows(path, gone, capsys):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:gone] + lines[gone + 1 :]))
    assert faults(path)
    assert main(["audit-log", "verify", str(path)]) == 1
    assert "line" in capsys.readouterr().out


def test_an_inserted_line_shows(path):
    lines = path.read_text().splitlines(keepends=True)
    for at in range(7):
        path.write_text("".join([*lines[:at], lines[2], *lines[at:]]))
        assert faults(path), at
    entry = {**json.loads(lines[-1]), "n": 7, "previous": json.loads(lines[-1])["hash"]}
    entry["hash"] = digest_of(entry)  # a forger who knows the chain, but not the head file
    forged = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    path.write_text("".join([*lines, forged + "\n"]))
    assert faults(path) == [7]


def test_a_kill_between_two_writes_is_recorded(path):
    lines, head = path.read_text().splitlines(keepends=True), head_path(path).read_text()
    log = AuditLog(path)
    log.append([{"kind": "answer"}])
    log.close()
    head_path(path).write_text(head)  # killed before the head file was written
    with open(path, "a") as handle:
        handle.write('{"half a li')
    assert faults(path)
    AuditLog(path).close()
    assert faults(path) == []
    said = json.loads(path.read_text().splitlines()[-1])
    assert (said["kind"], said["entries_past_head"], said["bytes_cut"]) == ("recovered", 1, 11)
    assert read_head(path)[0] == len(lines) + 2


def test_a_broken_log_is_not_gone_on_with(path):
    data = path.read_text()
    path.write_text(data.replace("anna", "otto", 1))
    with pytest.raises(UserError, match="line 1: entry 1 was changed"):
        AuditLog(path)
    path.write_text("\n".join(data.splitlines()[:4]) + "\n")
    with pytest.raises(UserError, match="tail is cut: 6 entries"):
        AuditLog(path)
    path.write_text(data)
    head_path(path).unlink()
    with pytest.raises(UserError, match="missing"):
        AuditLog(path)


def test_two_servers_do_not_share_a_log(path):
    log = AuditLog(path)
    with pytest.raises(UserError, match="in use by another server"):
        AuditLog(path)
    log.close()


def test_a_full_disk_leaves_no_half_entry(path, monkeypatch):
    before = path.read_bytes()
    log = AuditLog(path)
    write = os.write

    def full(handle, data):
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[: len(data) - 50])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskFullError):
        log.append([{"kind": "answer", "who": "anna"}])
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert log.append([{"kind": "answer"}])[0].startswith("7-")
    log.close()
    assert faults(path) == []


def test_the_last_answers_are_known_by_their_entries(tmp_path, monkeypatch):
    monkeypatch.setattr("cerviclip.app.audit_log.MOST_ANSWERS", 3)
    answer = {"kind": "answer", "model": "m1", "output": {"probabilities": {"a": 0.5, "b": 0.5}}}
    log = AuditLog(tmp_path / "a.jsonl")
    others = [{"kind": "correction", "model": "m1", "output": {"predicted": "a"}}]
    others += [{"kind": "answer", "model": "m1", "output": {"error": "unreadable"}}]
    ids = log.append([answer] * 3 + others)
    ids += log.append([{**answer, "model": "m2"}])
    known = [log.answered(id) for id in ids]
    log.close()
    assert [one.model if one else "" for one in known] == ["", "m1", "m1", "", "", "m2"]
    assert known[1].classes == ("a", "b") and known[1] is known[2]
    log = AuditLog(tmp_path / "a.jsonl")  # of the last three lines one is an answer
    assert [log.answered(id) for id in ids] == [None] * 5 + [known[5]]
    log.close()
