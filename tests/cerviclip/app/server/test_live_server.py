"""A real server process on loopback: many clients, kill -9, SIGTERM, and requests by its schema."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from cerviclip.app.audit_log import verify
from cerviclip.app.server import command
from dassl.errors import UserError

LOAD_SECONDS = 30


class Live:
    """``cerviclip serve`` in a process of its own."""

    def __init__(self, run: Path, folder: Path, *words: str) -> None:
        self.log = folder / "server.log"
        command = [sys.executable, "-m", "cerviclip.cli", "serve", f"m={run}", "--port", "0"]
        command += ["--audit-log", str(folder / "audit.jsonl")]
        command += ["--jobs", str(folder / "jobs.jsonl"), *words]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.url = self._wait()
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def _wait(self) -> str:
        for _ in range(1200):
            found = re.search(r"running on (http://\S+)", self.log.read_text())
            if found:
                return found[1]
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def stop(self, how: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.client.close()
        return self.process.wait(60)


def test_the_start_says_where_its_files_are(probe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "serve", lambda *_: 0)
    assert command.main([str(probe), "--port", "0", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    for name in ("audit.jsonl", "jobs.jsonl"):
        assert str(tmp_path / name) in said
    assert "audit.jsonl.head" in said and "--audit-log" in said and "--jobs" in said


@pytest.fixture
def live(probe, tmp_path):
    """``live("--flag", ...)``: a server; all that were started end with the test."""
    started: list[Live] = []

    def start(*words: str) -> Live:
        started.append(Live(probe, tmp_path, *words))
        return started[-1]

    yield start
    for one in started:
        one.stop(signal.SIGKILL)


@pytest.mark.slow
def test_eight_clients(live, predictor, pictures, parts, tmp_path):
    server = live()
    wanted = {
        p.name: a.by_class for p, a in zip(pictures, predictor.predict(pictures), strict=True)
    }
    failures: list[object] = []
    counts = [0] * 8
    end = time.monotonic() + LOAD_SECONDS

    def work(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while time.monotonic() < end:
                path = pictures[(counts[number] + number) % len(pictures)]
                answer = client.post("/v1/predict", files=parts([path]))
                counts[number] += 1
                if answer.status_code != 200:
                    failures.append(answer.text)
                    continue
                said = answer.json()["answers"][0]["probabilities"]
                if said != pytest.approx(wanted[path.name], abs=1e-6):
                    failures.append(said)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and min(counts) > 10
    assert server.stop() in (0, -signal.SIGTERM)
    lines, faults = verify(tmp_path / "audit.jsonl")
    assert not faults and lines == sum(counts)


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_job(live, pictures, parts, tmp_path):
    server = live("--batch", "2")
    files = [(field, (str(n), data)) for n in range(40) for field, (_, data) in parts(pictures)]
    id = server.client.post("/v1/jobs", files=files).json()["job"]
    address = f"/v1/jobs/{id}?count=1000"
    while len(seen := server.client.get(address).json()["results"]) < 10:
        time.sleep(0.01)
    server.stop(signal.SIGKILL)
    assert len(seen) < len(files), "the job had ended: this test would prove nothing"
    server = live()
    job = server.client.get(address).json()
    assert job["state"] == "interrupted" and job["results"][: len(seen)] == seen
    left = [files[n - 1] for n in job["missing"]]
    assert server.client.post(f"/v1/jobs/{id}/files", files=left).status_code == 202
    # graceful: SIGTERM comes while the rest is at work, and the server finishes it
    assert server.stop() in (0, -signal.SIGTERM)
    server = live()
    job = server.client.get(address).json()
    assert job["state"] == "done" and job["finished"] == len(files)
    assert job["results"][: len(seen)] == seen
    server.stop()
    assert verify(tmp_path / "audit.jsonl")[1] == []
    assert not list(tmp_path.rglob("*.png")), "a picture was kept"


@pytest.mark.slow
def test_requests_by_the_schema_find_no_5xx(live, tmp_path):
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("needs schemathesis: pip install schemathesis")
    server = live()
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    command += ["--checks", "not_a_server_error", "--max-examples", "30", "--seed", "1"]
    if importlib.util.find_spec("pytorch_grad_cam") is None:  # then it says 501
        command += ["--exclude-path", "/v1/explain"]
    words = {"capture_output": True, "text": True, "cwd": tmp_path}
    done = subprocess.run(command, **words)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert server.client.get("/ready").status_code == 200


@pytest.mark.slow
def test_the_page_runs_as_it_stands(live, repo_dir, pictures, tmp_path):
    """Every block of ``sh`` of docs/serve.md, in its order, against a server."""
    tifffile = pytest.importorskip("tifffile")
    (tmp_path / "slides").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    tifffile.imwrite(tmp_path / "slides" / "S1.tiff", pixels, photometric="rgb", tile=(64, 64))
    server = live("--slides", str(tmp_path / "slides"))
    text = (repo_dir / "docs" / "serve.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    assert len(blocks) >= 4
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(pictures[ord(name[0]) % 2].read_bytes())
    env = {**os.environ, "API": server.url, "AUTH": "Authorization: Bearer none", "MODEL": "m"}
    for block in blocks:
        script = "set -eu\n" + block.replace("cerviclip ", f"{sys.executable} -m cerviclip.cli ")
        words = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True}
        done = subprocess.run(["bash", "-c", script], **words)
        assert done.returncode == 0, block + done.stdout + done.stderr
        assert "Research use only" in done.stdout or "entries" in done.stdout, block + done.stdout


@pytest.mark.parametrize(
    "words, said",
    [
        (["--host", "0.0.0.0", "run"], "needs --tokens"),
        ([], "no run is given"),
        (["a/x", "b/x"], "two runs are named x"),
        (["run", "--max-pixels", "1000000000"], "CERVICLIP_MAX_PIXELS"),
        (["run", "--max-files", "0"], "--max-files 0 is too small"),
        (["run", "--tokens", "none.txt"], "no file of tokens none.txt"),
        (["--new-token", "anna", "king"], "a role of reader, annotator, admin"),
    ],
)
def test_what_is_to_be_corrected_is_one_line(words, said):
    from cerviclip.app.server.command import main

    with pytest.raises(UserError, match=said):
        main(words)


def test_a_new_token_lets_its_owner_in(capsys):
    from cerviclip.app.server.access import parse_tokens, who_is
    from cerviclip.app.server.command import main

    assert main(["--new-token", "anna", "reader"]) == 0
    shown, line = (text.split(": ", 1)[1].strip() for text in capsys.readouterr().out.splitlines())
    tokens = parse_tokens(line, "test")
    assert who_is(f"Bearer {shown}", tokens) == tokens[0] and shown not in line
    assert who_is(f"Bearer {shown}x", tokens) is None and who_is("", tokens) is None
    assert tokens[0].may("reader") and not tokens[0].may("annotator")
