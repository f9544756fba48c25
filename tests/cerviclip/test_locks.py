"""Claims: one holder at a time, and a dead one holds nobody up."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from recovery_fixtures import Life, until

from cerviclip import locks
from cerviclip.locks import AtWorkError, claimed, locked


def hold(place: Path, then=lambda: time.sleep(60)) -> Life:
    """A process that holds a place until it is killed."""

    def work() -> int:
        with claimed(place):
            place.with_name("held").touch()
            then()
        return 0

    life = Life(work)
    until(place.with_name("held").exists)
    place.with_name("held").unlink()
    return life


def test_a_place_is_held_by_one_and_free_again_afterwards(tmp_path):
    place = tmp_path / "a" / "b" / "run"
    with claimed(place):
        with pytest.raises(AtWorkError, match=f"process {os.getpid()} on .* {place}; wait until"):
            with claimed(place):
                raise AssertionError("two held it")
        with claimed(place.with_name("other")):
            assert not place.exists()
    with claimed(place):
        assert place.parent.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays(tmp_path):
    place = tmp_path / "a" / "run"
    place.parent.mkdir()
    with claimed(place):
        place.mkdir()
    assert [path.name for path in place.parent.iterdir()] == ["run"]


def test_a_killed_holder_holds_nobody_up(tmp_path):
    place = tmp_path / "run"
    life = hold(place)
    with pytest.raises(AtWorkError, match=f"process {life.pid} on {socket.gethostname()}"):
        with claimed(place):
            raise AssertionError("two held it")
    life.kill()
    assert (tmp_path / ".run.lock").exists()
    with claimed(place):
        assert f"process {os.getpid()} " in (tmp_path / ".run.lock").read_text()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("holder", [f"process {os.getppid()} on {socket.gethostname()}",
                                    "process 1 on another-machine", "", "\0" * 300])  # fmt: skip
def test_what_a_left_file_says_of_its_holder_is_not_believed(tmp_path, holder):
    """As after a reboot: the number is another process's now, or the machine is another."""
    (tmp_path / ".run.lock").write_text(holder)
    with claimed(tmp_path / "run"):
        assert holder not in ("", (tmp_path / ".run.lock").read_text()) or not holder


def test_a_worker_that_outlives_the_holder_does_not_hold_the_place(tmp_path):
    place, child = tmp_path / "run", tmp_path / "child"

    def fork_and_sleep():
        pid = os.fork()  # as a loader's worker
        if not pid:
            time.sleep(60)
            os._exit(0)
        child.write_text(str(pid))
        time.sleep(60)

    life = Life(lambda: _holding(place, fork_and_sleep))
    until(lambda: child.exists() and child.read_text())
    os.kill(life.pid, signal.SIGKILL)
    life.wait()
    worker = int(child.read_text())
    os.kill(worker, 0)  # it lives
    try:
        until(lambda: _is_free(place), seconds=2)
    finally:
        os.kill(worker, signal.SIGKILL)


def _holding(place, then):
    with claimed(place):
        then()
    return 0


def _is_free(place):
    try:
        with claimed(place):
            return True
    except AtWorkError:
        return False


@pytest.mark.parametrize("end", ["ends", "is killed"])
def test_who_waits_comes_in_when_the_holder_is_gone(tmp_path, end):
    place, go = tmp_path / "run", tmp_path / "go"
    life = hold(place, then=lambda: until(go.exists))
    waiting = Life(lambda: _wait_and_tell(place, tmp_path / "in"))
    time.sleep(0.2)
    assert not (tmp_path / "in").exists()
    if end == "ends":
        go.touch()
        assert life.wait() == 0
    else:
        life.kill()
    assert waiting.wait() == 0
    assert (tmp_path / "in").exists() and not (tmp_path / ".run.lock").exists()


def _wait_and_tell(place, told):
    with claimed(place, wait=True):
        told.touch()
    return 0


def test_many_at_once_never_two_inside(tmp_path):
    """The file is removed and made anew all the time, under the eyes of those who wait."""
    place, inside = tmp_path / "run", tmp_path / "inside"

    def work():
        for _ in range(50):
            with claimed(place, wait=True):
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
                inside.unlink()
        return 0

    lives = [Life(work) for _ in range(4)]
    assert [life.wait() for life in lives] == [0] * 4


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="keeps no locks"), claimed(tmp_path / "run"):
        assert (tmp_path / ".run.lock").exists()


def test_where_no_file_can_be_written_the_block_runs_and_says_so_itself(tmp_path):
    (tmp_path / "file").touch()
    with claimed(tmp_path / "file" / "run"):
        assert locks._held == {-1}
    assert locks._held == set()


def test_a_lock_that_stays(tmp_path):
    with locked(tmp_path / "a" / "lock"):
        assert (tmp_path / "a" / "lock").is_file()
    with locked(tmp_path / "a" / "lock"):
        assert (tmp_path / "a" / "lock").is_file()
