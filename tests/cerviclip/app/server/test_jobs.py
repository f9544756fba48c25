"""Batch jobs: a broken file stops nothing, results outlive the server, others' jobs are hidden."""

from __future__ import annotations

import base64
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cerviclip.app.append_file import AppendFile, DiskFullError
from cerviclip.app.server.settings import Limits
from cerviclip.app.server.uploads import read_upload
from dassl.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))
from hostile import picture  # noqa: E402


def wait_for(client, id, *states, headers=None):
    for _ in range(400):
        job = client.get(f"/v1/jobs/{id}?count=1000", headers=headers).json()
        if job["state"] in states:
            return job
        time.sleep(0.02)
    raise AssertionError(f"the job is {job['state']}")


def test_one_bad_file_never_fails_the_rest(client, predictor, pictures, parts):
    files = parts(pictures[:3]) + [("files", ("x.png", b"bad"))] + parts(pictures[3:6])
    taken = client.post("/v1/jobs", files=files)
    assert taken.status_code == 202
    job = wait_for(client, taken.json()["job"], "done")
    assert (job["files"], job["finished"], job["failed"]) == (7, 7, 1)
    assert [one["file"] for one in job["results"]] == list(range(1, 8))
    assert "415" not in job["results"][3]["error"] and "no picture" in job["results"][3]["error"]
    good = [one["answers"][0] for one in job["results"] if not one["error"]]
    for one, truth in zip(good, predictor.predict(pictures[:6]), strict=True):
        assert one["probabilities"] == pytest.approx(truth.by_class, abs=1e-6)
        assert one["entry"] and one["name"] == ""
    page = client.get(f"/v1/jobs/{job['job']}?first=4&count=2").json()["results"]
    assert [one["file"] for one in page] == [4, 5]
    assert job["job"] in [one["job"] for one in client.get("/v1/jobs").json()["jobs"]]
    assert client.delete(f"/v1/jobs/{job['job']}").status_code == 409
    assert client.get("/v1/jobs/none").status_code == 404


@pytest.fixture
def fails_on_dark(predictor, monkeypatch):
    """The model fails on any batch that holds a dark picture."""
    predict = predictor.predict

    def fails(arrays):
        if any(np.mean(one) < 1 for one in arrays):
            raise RuntimeError("out of memory")
        return predict(arrays)

    monkeypatch.setattr(predictor, "predict", fails)


def test_a_file_that_the_model_fails_on_fails_alone(client, pictures, parts, fails_on_dark):
    bad = ("files", ("dark.png", picture(dark=True)))
    files = [*parts(pictures[:2]), bad, *parts(pictures[2:4])]
    job = wait_for(client, client.post("/v1/jobs", files=files).json()["job"], "done")
    assert [one["error"] for one in job["results"]] == ["", "", "the model failed on the file"] + [
        ""
    ] * 2
    assert all(one["answers"] for one in job["results"] if not one["error"])


def test_a_request_that_the_model_fails_on_fails_alone(client, pictures, fails_on_dark):
    context = client.app.state.context
    served, limits = context.served(), context.settings.limits
    data = [pictures[0].read_bytes(), picture(dark=True), pictures[1].read_bytes()]
    with served.lock:  # so that they go through the model together
        futures = [served.submit(read_upload("", d, limits, None), "me", "test") for d in data]
    for number in (0, 2):
        assert futures[number].result(10)[0].prediction.predicted
    assert futures[1].exception(10).status_code == 500


def test_a_picture_that_the_model_fails_on_leaves_the_others_their_answers(
    client, pictures, parts, fails_on_dark
):
    bad = ("files", ("dark.png", picture(dark=True)))
    answer = client.post("/v1/predict", files=[*parts(pictures[:1]), bad, *parts(pictures[1:2])])
    assert answer.status_code == 200
    good, failed, other = answer.json()["answers"]
    assert good["predicted"] and other["predicted"] and good["entry"]
    assert failed["error"] == "the model failed on this picture" and not failed["predicted"]
    assert client.post("/v1/predict", files=[bad, bad]).status_code == 500


def test_a_task_that_the_model_fails_on_leaves_the_others_theirs(client, pictures, fails_on_dark):
    config = (
        '<View><Image name="i" value="$x"/><Choices name="c" toName="i"><Choice value="red"/>'
        '<Choice value="green"/><Choice value="blue"/></Choices></View>'
    )

    def task(data: bytes) -> dict:
        return {"data": {"x": "data:image/png;base64," + base64.b64encode(data).decode()}}

    tasks = [task(pictures[0].read_bytes()), task(picture(dark=True))]
    asked = {"tasks": tasks, "label_config": config}
    good, failed = client.post("/predict", json=asked).json()["results"]
    assert good["result"] and failed["result"] == [] and "the model failed" in failed["error"]
    assert client.post("/predict", json={**asked, "tasks": tasks[1:]}).status_code == 500


def test_a_job_whose_last_line_meets_a_full_disk_is_done(
    make_client, pictures, parts, tmp_path, monkeypatch
):
    def full_at_the_end(self, data):
        if b'"event":"done"' in data:
            raise DiskFullError(28, "full")
        return append(self, data)

    append = AppendFile.append
    monkeypatch.setattr(AppendFile, "append", full_at_the_end)
    with make_client(tmp_path) as client:
        id = client.post("/v1/jobs", files=parts(pictures[:1])).json()["job"]
        job = wait_for(client, id, "done", "interrupted")
        assert (job["state"], job["missing"]) == ("done", [])
    with make_client(tmp_path) as client:
        assert client.get(f"/v1/jobs/{id}").json()["state"] == "done"


def test_cancel_and_limit_of_jobs(make_client, pictures, parts, tmp_path):
    with make_client(tmp_path, Limits(waiting_jobs=2), batch=1, grace=0) as client:
        served = client.app.state.context.served()
        with served.lock:  # the model is busy
            first, second = (client.post("/v1/jobs", files=parts(pictures)).json() for _ in "ab")
            third = client.post("/v1/jobs", files=parts(pictures))
            assert third.status_code == 503 and third.headers["retry-after"]
            for job in (first, second):
                cancelled = client.delete(f"/v1/jobs/{job['job']}")
                assert cancelled.json()["state"] == "cancelled"
        job = wait_for(
            client, client.post("/v1/jobs", files=parts(pictures[:1])).json()["job"], "done"
        )
        assert client.get(f"/v1/jobs/{first['job']}").json()["finished"] <= 1
        assert job["finished"] == 1


def test_results_outlive_the_server_and_the_rest_is_sent_again(
    make_client, predictor, pictures, parts, tmp_path
):
    with make_client(tmp_path, batch=2, grace=0) as client:
        id = client.post("/v1/jobs", files=parts(pictures)).json()["job"]
        while client.get(f"/v1/jobs/{id}").json()["finished"] < 2:
            time.sleep(0.005)
    with open(tmp_path / "jobs.jsonl", "a") as handle:
        handle.write('{"job":"half')
    with make_client(tmp_path) as client:
        job = client.get(f"/v1/jobs/{id}").json()
        had = {one["file"]: one["answers"][0]["entry"] for one in job["results"]}
        assert job["state"] == "interrupted" and len(had) >= 2
        assert job["missing"] == [n for n in range(1, len(pictures) + 1) if n not in had]
        stranger = [("files", ("x", b"other"))]
        assert client.post(f"/v1/jobs/{id}/files", files=stranger).status_code == 422
        left = [pictures[n - 1] for n in job["missing"]]
        assert client.post(f"/v1/jobs/{id}/files", files=parts(left)).status_code == 202
        job = wait_for(client, id, "done")
        for one, truth in zip(job["results"], predictor.predict(pictures), strict=True):
            assert one["answers"][0]["probabilities"] == pytest.approx(truth.by_class, abs=1e-6)
            assert had.get(one["file"], one["answers"][0]["entry"]) == one["answers"][0]["entry"]
        assert client.post(f"/v1/jobs/{id}/files", files=parts(left)).status_code == 409


def test_others_do_not_see_a_job(guarded, as_role, pictures, parts):
    own = as_role("reader")
    id = guarded.post("/v1/jobs", files=parts(pictures[:1]), headers=own).json()["job"]
    wait_for(guarded, id, "done", headers=own)
    assert guarded.get(f"/v1/jobs/{id}", headers=as_role("annotator")).status_code == 404
    assert guarded.get(f"/v1/jobs/{id}", headers=as_role("admin")).status_code == 200


def test_another_file_is_no_file_of_jobs(make_client, tmp_path):
    (tmp_path / "jobs.jsonl").write_text("name,diagnosis\n")
    with pytest.raises(UserError, match="line 1, is no state of a job"):
        make_client(tmp_path)
