"""The ends of a run in a group, of a process that is alone (several: tests/cerviclip/parallel)."""

from __future__ import annotations

import signal

import pytest

from cerviclip.parallel.agreement import check_can_be_shared, check_enough_images
from cerviclip.runs.run.process.in_group import TIMEOUT, in_group, timeout_s
from dassl.errors import UserError
from dassl.utils import distributed


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", TIMEOUT):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("error", "line", "status"),
    [
        (UserError("no such\nfolder"), "error: no such folder\n", 2),
        (OSError("disk full"), "error: disk full\n", 1),
        (KeyboardInterrupt(), "error: interrupted\n", 130),
    ],
)
def test_an_error_is_one_line_and_a_status(capsys, error, line, status):
    def work() -> int:
        raise error

    before = signal.getsignal(signal.SIGTERM)
    assert in_group(work) == status
    assert capsys.readouterr() == ("", line)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_traceback_is_shown_when_asked_for(capsys):
    assert in_group(lambda: 1 // 0, debug=True) == 1
    assert "Traceback" in (error := capsys.readouterr().err) and "ZeroDivisionError" in error


def test_what_the_work_says_is_the_status(capsys):
    assert in_group(lambda: print("done") or 0) == 0
    assert capsys.readouterr() == ("done\n", "")


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan"])
def test_a_wrong_time_is_refused(monkeypatch, text):
    monkeypatch.setenv(TIMEOUT, text)
    with pytest.raises(UserError, match=f"{TIMEOUT} is '{text}'"):
        timeout_s()


def test_a_method_that_is_fitted_in_one_go_names_those_that_can_be_shared(monkeypatch):
    from cerviclip import plugins

    monkeypatch.setattr(distributed, "_place", distributed._Place(0, 2, 0))
    for name in ("LinearProbe", "TransCLIPZS"):
        with pytest.raises(UserError, match=f"{name} works in one") as caught:
            check_can_be_shared(plugins.ensure_loaded("trainer", name), name)
        names = str(caught.value).rpartition(": ")[2].split(", ")
        wanted = {"CNNBaseline", "FullFineTune", "CLIPLoRA", "SAVLT", "BitFit", "LNTuning", "FLYP"}
        assert wanted | {"CoOp", "KgCoOp", "MaPLe", "VPT"} <= set(names)
        assert not {"LinearProbe", "TipAdapter", "GDA", "TransCLIP"} & set(names)
    check_can_be_shared(plugins.ensure_loaded("trainer", "CoOp"), "CoOp")


@pytest.mark.parametrize(("count", "size", "refused"), [(1, 8, True), (8, 1, True), (2, 2, False)])
def test_a_batch_has_an_image_for_each_process(monkeypatch, count, size, refused):
    monkeypatch.setattr(distributed, "_place", distributed._Place(0, 2, 0))
    if refused:
        with pytest.raises(UserError, match="a batch of 1 images .* start at most 1"):
            check_enough_images(count, size)
    else:
        check_enough_images(count, size)
