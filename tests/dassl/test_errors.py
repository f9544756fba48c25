"""How a command shows what a user can mend."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time

import pytest

from dassl.errors import UserError, cli_main, nearest_or_all, no_file, says_what_stays


def refuse(argv):
    raise UserError("no images in red/; check --root")


@pytest.mark.parametrize(
    "terminal, no_color, start",
    [(True, "", "\n\033[1;31merror:\033[0m "), (True, "1", "error: "), (False, "", "error: ")],
)
def test_an_error_stands_out_on_a_terminal_and_is_one_plain_line_elsewhere(
    monkeypatch, capsys, terminal, no_color, start
):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert cli_main(refuse, []) == 2
    assert capsys.readouterr().err == start + "no images in red/; check --root\n"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EFBIG])
def test_a_disk_that_gives_up_while_it_is_read_is_one_line(capsys, number):
    """``read`` raises without the file's name."""

    def broken(argv):
        raise OSError(number, os.strerror(number))

    assert cli_main(broken, []) == 2
    line = capsys.readouterr().err
    assert line == f"error: {os.strerror(number)}; check the path, its permissions and the disk\n"
    with pytest.raises(OSError):
        cli_main(broken, ["--debug"])


@pytest.mark.parametrize("text", ["", "3 of 9 runs are finished and stay"])
def test_ctrl_c_says_what_stays_where_that_is_known(capsys, text):
    def stopped(argv):
        raise KeyboardInterrupt(*([text] if text else []))

    assert cli_main(stopped, []) == 130
    assert capsys.readouterr().err == "interrupted" + (f": {text}" if text else "") + "\n"


def test_debug_shows_the_traceback():
    with pytest.raises(UserError):
        cli_main(refuse, ["--debug"])


def test_a_message_is_one_line_that_a_terminal_can_show(capsys):
    def refuse_odd(argv):
        raise UserError("no \x1b[31mclass\nfolder " + "x" * 10_000)

    assert cli_main(refuse_odd, []) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "\x1b" not in line and "\\x1b[31mclass folder" in line
    assert len(line) < 2300


def test_what_the_system_says_of_a_path_is_one_line(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "absent", tmp_path / ("x" * 300)):
        assert cli_main(lambda argv, path=path: len(path.read_bytes()), []) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and "check the path" in error
    with pytest.raises(OSError):
        cli_main(lambda argv: len(tmp_path.read_bytes()), ["--debug"])


def test_a_near_name_is_enough_and_else_all_are_named():
    names = ["LinearProbe", "CoOp"]
    near = nearest_or_all("LinaerProbe", names, "cerviclip list")
    assert near == ", did you mean 'LinearProbe'? (cerviclip list names all)"
    assert nearest_or_all("xyz", names, "cerviclip list") == " (known: LinearProbe, CoOp)"


def test_a_folder_is_no_absent_file(tmp_path):
    assert no_file(tmp_path) == "is a folder, and a file is needed"
    assert no_file(tmp_path / "x") == "does not exist"


@pytest.mark.parametrize("sent, status", [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_long_work_that_a_signal_stops_says_what_stays(capsys, sent, status):
    cleared = []

    def work(argv):
        with says_what_stays(lambda: "1 of 3 runs stay"), says_what_stays(lambda: "2 of 9 stages"):
            try:
                os.kill(os.getpid(), getattr(signal, sent))
                time.sleep(10)
            finally:
                if sent != "SIGINT":
                    os.kill(os.getpid(), signal.SIGTERM)  # a second one does not stop the clearing
                cleared.append(True)

    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {one: signal.signal(one, handler) for one, handler in handlers.items()}  # of nohup too
    try:
        assert cli_main(work, []) == status
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    by = "" if sent == "SIGINT" else f" by {sent}"
    told = f"interrupted{by}: 1 of 3 runs stay; the same command continues\n"
    assert capsys.readouterr().err == told and cleared == [True]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_signals_that_somebody_else_handles_or_ignores_stay_theirs():
    ours = [signal.SIG_IGN, lambda *_: seen.append(True)]
    seen = []
    for handler in ours:
        before = signal.signal(signal.SIGTERM, handler)
        try:
            with says_what_stays(lambda: "nothing"):
                os.kill(os.getpid(), signal.SIGTERM)
                assert signal.getsignal(signal.SIGTERM) is handler
        finally:
            signal.signal(signal.SIGTERM, before)
    assert seen == [True]


def test_work_in_a_thread_takes_no_signal():
    def work():
        with says_what_stays(lambda: "nothing"):
            found.append(signal.getsignal(signal.SIGTERM))

    found = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]
