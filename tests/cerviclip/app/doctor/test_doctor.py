"""``cerviclip doctor`` finds what is planted."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from cerviclip.app.doctor import command, machine, packages
from cerviclip.app.doctor.check import FAULT, NOTE, OK, Check


@pytest.fixture(autouse=True)
def healthy(monkeypatch, tmp_path):
    """A machine with everything, so that each test plants one thing."""
    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: _usage(100))


def _usage(gib: float):
    from types import SimpleNamespace

    return SimpleNamespace(free=gib * 2**30)


def test_json_and_status(tmp_path, capsys, monkeypatch):
    words = ["--json", "--output-dir", str(tmp_path / "o"), "--root", str(tmp_path)]
    assert command.main(words) == 0
    told = json.loads(capsys.readouterr().out)
    names = {one["name"] for one in told["checks"]}
    assert told["healthy"] is True
    assert {"Python", "packages", "threads", "GPU", "gated access", "fonts"} <= names
    assert {"folder output", "folder data", "folder cache", "port 8501", "port 8000"} <= names
    assert not (tmp_path / "o").exists()
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: _usage(0.5))
    assert command.main(words) == 1
    told = json.loads(capsys.readouterr().out)
    faults = {one["name"]: one for one in told["checks"] if one["state"] == FAULT}
    assert set(faults) == {"folder output", "folder data", "folder cache"}
    assert all(one["remedy"] for one in faults.values())


def test_a_check_that_breaks_stops_no_other(monkeypatch, tmp_path):
    def broken():
        raise RuntimeError("planted")

    monkeypatch.setattr(machine, "check_gpu", broken)
    found = {one.name: one for one in command.run_checks(tmp_path, tmp_path)}
    assert found["GPU"].state == FAULT and "planted" in found["GPU"].found
    assert "port 8000" in found


def test_the_table_says_what_to_do(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(machine, "chinese_font", lambda: None)
    monkeypatch.setenv("COLUMNS", "200")
    command.main(["--output-dir", str(tmp_path), "--root", str(tmp_path)])
    assert machine.REMEDY in capsys.readouterr().out


def test_no_word_is_broken_on_a_narrow_terminal(monkeypatch, tmp_path, capsys):
    checks = [
        Check("extra segment", OK, "segmentation-models-pytorch and many other words behind it"),
        Check("weights PhantomCLIP", NOTE, "x" * 90, "install it if you need it, then try again"),
    ]
    monkeypatch.setenv("COLUMNS", "80")
    command._print(checks)
    said = capsys.readouterr().out.split()
    assert {"segmentation-models-pytorch", "PhantomCLIP", "note"} <= set(said)
    assert {"install", "then", "again"} <= set(said)


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_no_letter_of_what_to_do_is_lost(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    remedy = 'pip install -e ".[coverage,mutants,release,docs]" in the folder of the checkout'
    checks = [
        Check("extras of developers", NOTE, "lacks segmentation-models-pytorch", remedy),
        Check("threads", OK, "2 of 2", "no word of it is lost, however long the line may be " * 2),
    ]
    command._print(checks)
    out = capsys.readouterr().out
    last = out.splitlines()[0].index("what to do")
    cells = "".join(line[last:] for line in out.splitlines()[1:-1])
    assert "".join(cells.split()) == "".join(one.remedy.replace(" ", "") for one in checks)


def test_the_extras_of_developers_have_one_line(monkeypatch):
    groups = {"app": ["yacs"], "docs": ["surely-not-there"], "release": ["not-there"], "test": []}
    for wanted in groups.values():
        wanted[:] = map(Requirement, wanted)
    asked = [f'{one}; extra == "{extra}"' for extra, wanted in groups.items() for one in wanted]
    monkeypatch.setattr(packages.metadata, "requires", lambda _: asked)
    meta = type("Meta", (), {"get_all": lambda self, _: list(groups)})()
    monkeypatch.setattr(packages.metadata, "metadata", lambda _: meta)
    core, *extras = packages.check_packages()
    assert [one.name for one in extras] == ["extra app", "extras of developers"]
    assert extras[1].state == NOTE and ".[release,docs]" in extras[1].remedy


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert machine._port(port, "x").state == NOTE
    assert machine._port(port, "x").state == OK


def test_weights_that_were_cut_off(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "cache_dir", lambda: tmp_path)
    phantom, openai = machine.check_weights()
    assert (phantom.state, openai.state) == (OK, NOTE)
    (tmp_path / "ViT-B-16.pt").write_bytes(b"version https://git-lfs")
    assert machine.check_weights()[1].state == FAULT
    with open(tmp_path / "ViT-B-16.pt", "wb") as file:
        file.truncate(2**21)
    openai = machine.check_weights()[1]
    assert openai.state == OK and "ViT-B/16" in openai.found


def test_a_token_is_found_and_never_shown(monkeypatch, tmp_path):
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert machine.check_access().state == NOTE
    (tmp_path / "token").write_text("hf_planted\n")
    check = machine.check_access()
    assert check.state == OK and "planted" not in str(check)


def test_threads_within_a_quota(monkeypatch, tmp_path):
    quota = tmp_path / "cpu.max"
    quota.write_text("50000 100000\n")
    assert machine.usable_processors(quota) == 0.5
    quota.write_text("max 100000\n")
    assert machine.usable_processors(quota) == machine.usable_processors(tmp_path / "none")
    monkeypatch.setattr(machine, "usable_processors", lambda: 2.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    check = machine.check_threads()
    assert check.state == NOTE and "OMP_NUM_THREADS to at most 2" in check.remedy


def test_packages_that_are_absent_or_old():
    wanted = list(map(Requirement, ["numpy>=1", "torch>=999", "surely-not-there>=1"]))
    assert [one.split()[0] for one in packages.lacking(wanted)] == ["torch", "surely-not-there"]
    more = [Requirement('plotly>=5; extra == "app"'), Requirement("yacs")]
    assert packages.by_extra(more, ["app", "test"]) == {"app": [more[0]], "": [more[1]]}


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    assert machine._folder("folder output", tmp_path / "file" / "runs").state == FAULT


def test_it_needs_no_torch():
    code = (
        "import sys; from cerviclip.cli import main; main(['doctor', '--json'])\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
