"""log.txt is what was printed; no log overwrites another; the console comes back."""

from __future__ import annotations

import re
import sys

from dassl.utils import setup_logger


def test_tee_and_console_again(tmp_path, capsys):
    console = sys.stdout
    logger = setup_logger(tmp_path / "run")
    print("epoch [1/50]")
    assert sys.stdout is logger
    assert (tmp_path / "run" / "log.txt").read_text() == "epoch [1/50]\n"  # readable while it runs
    logger.close()
    assert sys.stdout is console
    print("after")
    assert (tmp_path / "run" / "log.txt").read_text() == "epoch [1/50]\n"
    assert capsys.readouterr().out == "epoch [1/50]\nafter\n"


def test_existing_log_is_kept_and_the_new_one_has_the_time(tmp_path):
    with setup_logger(str(tmp_path)):
        print("first")
    with setup_logger(str(tmp_path)):
        print("second")
    assert (tmp_path / "log.txt").read_text() == "first\n"
    (other,) = tmp_path.glob("log.txt-*")
    assert re.fullmatch(r"log\.txt-\d{4}(-\d\d){5}", other.name)
    assert other.read_text() == "second\n"


def test_file_name_instead_of_folder_and_none(tmp_path):
    with setup_logger(str(tmp_path / "mine.log")):
        print("x")
    assert (tmp_path / "mine.log").read_text() == "x\n"
    console = sys.stdout
    assert setup_logger(None) is None
    assert sys.stdout is console


def test_many_runs_in_one_process_keep_their_logs_apart(tmp_path):
    console = sys.stdout
    for run in range(3):
        with setup_logger(tmp_path / str(run)):
            print(f"run {run}")
    assert sys.stdout is console
    assert [(tmp_path / str(run) / "log.txt").read_text() for run in range(3)] == [
        "run 0\n",
        "run 1\n",
        "run 2\n",
    ]


def test_stands_in_for_stdout(tmp_path):
    with setup_logger(tmp_path) as logger:
        assert logger.encoding == logger.console.encoding
        assert logger.write("ab") == 2
        logger.flush()
