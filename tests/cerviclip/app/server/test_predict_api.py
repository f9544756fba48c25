"""The API gives the predictor's own numbers, records each answer first, and knows its clients."""

from __future__ import annotations

import base64
import io
import json
import logging
import resource
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cerviclip.app.audit_log import verify
from cerviclip.app.server.access import RateLimit
from cerviclip.app.server.answers import PredictModel
from cerviclip.app.server.settings import Limits

sys.path.insert(0, str(Path(__file__).parent))
from test_jobs import wait_for  # noqa: E402

USE = "Research use only"


def audit_of(client):
    path = client.app.state.context.audit.path
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_numbers_are_those_of_predict(client, predictor, pictures, parts):
    answer = client.post("/v1/predict", files=parts(pictures[:6]))
    assert answer.status_code == 200 and USE in answer.headers["x-use"]
    said = answer.json()
    assert PredictModel.model_validate(said, strict=True).model_dump() == said
    wanted = predictor.predict(pictures[:6])
    for number, (one, truth) in enumerate(zip(said["answers"], wanted, strict=True), start=1):
        assert (one["file"], one["predicted"]) == (number, truth.predicted)
        assert one["name"] == pictures[number - 1].name
        assert one["probabilities"] == pytest.approx(truth.by_class, abs=1e-6)
        assert one["positive_probability"] == pytest.approx(truth.positive_probability, abs=1e-6)
    assert USE in said["use"] and said["model_id"] == predictor.model_id
    assert len({one["entry"] for one in said["answers"]}) == 6


def test_a_turned_and_a_deep_picture_are_read_as_training_reads_them(client, predictor, tmp_path):
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(rng.integers(0, 255, (20, 60, 3), dtype=np.uint8))
    wide.save(tmp_path / "turned.jpg", exif=exif)
    deep = rng.integers(0, 65535, (24, 24), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    wide.save(tmp_path / "plain.bmp")
    paths = sorted(tmp_path.iterdir())
    files = [("files", (p.name, p.read_bytes())) for p in paths]
    said = client.post("/v1/predict", files=files).json()["answers"]
    for one, truth in zip(said, predictor.predict(paths), strict=True):
        assert one["probabilities"] == pytest.approx(truth.by_class, abs=1e-6)
    assert said[1]["probabilities"] != pytest.approx(said[2]["probabilities"], abs=1e-6)


def test_an_answer_is_in_the_audit_log_without_picture_or_name(client, pictures, parts, caplog):
    name = "Zhang_San_1962.png"
    with caplog.at_level(logging.DEBUG):
        files = [("files", (name, pictures[0].read_bytes()))]
        said = client.post("/v1/predict?model=m", files=files).json()["answers"][0]
        files = [("files", (name, b"no picture"))]
        assert client.post(f"/v1/predict?patient={name}", files=files).status_code == 415
    entry = audit_of(client)[-1]
    assert said["entry"] == f"{entry['n']}-{entry['hash'][:12]}"
    assert entry["input"] == said["sha256"] and entry["who"] == "local"
    assert entry["output"]["probabilities"] == said["probabilities"]
    assert "POST /v1/predict 200" in caplog.text
    # What its own client says is left out.
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("httpx")]
    text = "\n".join(ours) + client.app.state.context.audit.path.read_text()
    assert "Zhang" not in text and "San_" not in text
    assert verify(client.app.state.context.audit.path)[1] == []


def test_a_full_disk_refuses_answers(make_client, pictures, parts, tmp_path):
    with make_client(tmp_path) as client:
        assert client.post("/v1/predict", files=parts(pictures[:1])).status_code == 200
        path = tmp_path / "audit.jsonl"
        size, before = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        try:
            full = client.post("/v1/predict", files=parts(pictures[:1]))
            taken = client.post("/v1/jobs", files=parts(pictures[:1]))
            job = wait_for(client, taken.json()["job"], "done", "interrupted")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert path.stat().st_size == size
        assert full.status_code == 507 and "answers" not in full.json()
        # the job's own file was small enough for its first line, and the audit log was full
        assert taken.status_code == 202
        assert (job["state"], job["finished"], job["missing"]) == ("interrupted", 0, [1])
        again = client.post(f"/v1/jobs/{job['job']}/files", files=parts(pictures[:1]))
        assert again.status_code == 202
        assert wait_for(client, job["job"], "done")["results"][0]["answers"]
        assert client.post("/v1/predict", files=parts(pictures[:1])).status_code == 200
        assert client.get("/health").status_code == 200
    assert verify(path)[1] == []


def test_roles(guarded, as_role, pictures, parts):
    files = parts(pictures[:1])
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic %%%"}):
        refused = guarded.post("/v1/predict", files=files, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["www-authenticate"] == "Bearer"
    said = guarded.post("/v1/predict", files=files, headers=as_role("reader")).json()["answers"][0]
    correction = {"entry": said["entry"], "class_name": "red"}
    for role, status in (("reader", 403), ("annotator", 201), ("admin", 201)):
        answer = guarded.post("/v1/corrections", json=correction, headers=as_role(role))
        assert answer.status_code == status
    entry = audit_of(guarded)[-1]
    assert (entry["kind"], entry["who"], entry["of"]) == ("correction", "admin_1", said["entry"])
    correction["class_name"] = "violet"
    wrong = guarded.post("/v1/corrections", json=correction, headers=as_role("admin"))
    assert wrong.status_code == 422 and "blue, green, red" in wrong.json()["detail"]
    token = as_role("reader")["Authorization"].split()[1]
    basic = base64.b64encode(f"ls:{token}".encode()).decode()
    assert guarded.get("/v1/models", headers={"Authorization": f"Basic {basic}"}).is_success
    assert guarded.get("/metrics").status_code == 401
    assert guarded.get("/health").status_code == guarded.get("/ready").status_code == 200


def test_a_correction_is_of_the_model_that_answered(
    make_client, predictor, pictures, parts, tmp_path, monkeypatch
):
    with make_client(tmp_path) as client:
        said = client.post("/v1/predict", files=parts(pictures[:1])).json()
    (entry,) = [one["entry"] for one in said["answers"]]
    monkeypatch.setattr(type(predictor), "model_id", "another")
    monkeypatch.setattr(type(predictor), "classnames", ("violet",))
    with make_client(tmp_path) as client:  # the same log, and a newer model
        right = {"entry": entry, "class_name": "red"}
        assert client.post("/v1/corrections", json=right).status_code == 201
        assert audit_of(client)[-1]["model"] == said["model_id"] != "another"
        for more, status in (
            ({"class_name": "violet"}, 422),
            ({"model": "m"}, 422),  # which answers now, and did not then
            ({"model": "n"}, 404),
            ({"entry": "1-" + 12 * "0"}, 404),
            ({"entry": "999-" + 12 * "0"}, 404),
            ({"entry": "2-" + audit_of(client)[-1]["hash"][:12]}, 404),  # the correction itself
        ):
            assert client.post("/v1/corrections", json=right | more).status_code == status
        assert len(audit_of(client)) == 2


JSON_ROUTES = (
    "/v1/corrections",
    "/v1/tiles",
    "/v2/models/m/infer",
    "/predict",
    "/setup",
    "/webhook",
    "/activelearning/random",
)


@pytest.mark.parametrize("route", JSON_ROUTES)
def test_a_body_without_a_token_is_not_parsed(guarded, as_role, route):
    broken = {"content": b'{"broken": ', "headers": {"content-type": "application/json"}}
    assert guarded.post(route, **broken).status_code == 401
    broken["headers"] |= as_role("admin")
    assert guarded.post(route, **broken).status_code == 422


@pytest.mark.parametrize("route", ("/v1/corrections", "/v1/tiles", "/setup"))
def test_json_without_pictures_is_small(guarded, as_role, route):
    for body in (b" " * (1 << 20) + b"{}", (b" " * 65536 for _ in range(17))):
        answer = guarded.post(route, content=body, headers=as_role("admin"))
        assert answer.status_code == 413 and "1048576 bytes" in answer.json()["detail"]
    large = {"entry": "1-" + 12 * "0", "class_name": "red", "model": "m"}
    content = json.dumps(large).encode() + b" " * (1 << 20)
    picture = guarded.post("/predict", content=content, headers=as_role("admin"))
    assert picture.status_code == 422  # its tasks may hold pictures


def test_the_limit_of_requests_comes_before_the_body(make_client, tmp_path):
    with make_client(tmp_path, Limits(per_minute=2)) as client:
        said = [client.post("/v1/corrections", json={}).status_code for _ in range(3)]
        assert said == [422, 422, 429]
        assert client.get("/health").status_code == 200
        assert client.get("/v2/models/m/ready").status_code == 200


def test_another_page_may_not_use_a_server_without_tokens(client):
    assert client.get("/v1/models", headers={"Origin": "http://evil"}).status_code == 403
    assert client.get("/v1/models", headers={"Origin": "http://testserver"}).status_code == 200


def test_the_limit_of_requests():
    limit = RateLimit(60)
    assert [limit.wait_for("a", 0) for _ in range(60)] == [0] * 60
    assert limit.wait_for("a", 0) == pytest.approx(1)
    assert limit.wait_for("b", 0) == 0 and limit.wait_for("a", 1.01) == 0
    assert RateLimit(0).wait_for("a") == 0


def test_models_and_metrics(client, predictor, pictures, parts):
    client.post("/v1/predict", files=parts(pictures[:4]))
    (model,) = client.get("/v1/models").json()["models"]
    assert model["classes"] == list(predictor.classnames) and model["positive"] == ["blue", "red"]
    text = client.get("/metrics").text
    for name in (
        'cerviclip_request_seconds_count{route="/v1/predict",status="200"}',
        'cerviclip_queue_pictures{model="m"} 0',
        'cerviclip_out_of_distribution_total{model="m",said="no"}',
    ):
        assert name in text
    shares = [float(line.split()[-1]) for line in text.splitlines() if "class_share{" in line]
    assert len(shares) == 3 and sum(shares) == pytest.approx(1)
    absent = client.post("/v1/predict?model=mm", files=parts(pictures[:1]))
    assert absent.status_code == 404 and "that is served: m" in absent.json()["detail"]


def test_explain_itself(client, predictor, pictures, parts):
    pytest.importorskip("pytorch_grad_cam")
    from cerviclip.app.explain import explain, methods_of

    said = client.post("/v1/explain", files=parts(pictures[:1], "file"))
    assert said.status_code == 200, said.text
    said, truth = said.json(), predictor.predict(pictures[0])
    assert said["class_name"] == said["answer"]["predicted"] == truth.predicted
    assert said["method"] == methods_of(predictor)[0]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(said["map_png"]))))
    wanted = explain(predictor, pictures[0], truth.predicted)
    assert shown.max() > 0 and np.abs(shown / 255 - wanted).max() <= 0.5 / 255 + 1e-6
    form = {"files": parts(pictures[:1], "file"), "data": {"method": "magic"}}
    assert client.post("/v1/explain", **form).status_code == 422


def test_explain_without_its_library(client, pictures, parts, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    form = {"files": parts(pictures[:1], "file")}
    absent = client.post("/v1/explain", **form, data={"method": "gradcam"})
    assert absent.status_code == 501 and '".[explain]"' in absent.json()["detail"]
    without = client.post("/v1/explain", **form, data={"method": "occlusion"})
    assert without.status_code == 200


def test_explain(client, pictures, parts, monkeypatch, predictor):
    name = "cerviclip.app.explain"
    monkeypatch.setitem(sys.modules, name, None)
    absent = client.post("/v1/explain", files=parts(pictures[:1], "file"))
    assert absent.status_code == 501
    module = types.ModuleType(name)

    def explain(given, image, class_name, method):
        assert given is predictor and (class_name, method) == ("red", "gradcam")
        return np.linspace(0, 1, image.width * image.height).reshape(image.height, image.width)

    module.explain, module.methods_of = explain, lambda given: ["gradcam", "rollout"]
    monkeypatch.setitem(sys.modules, name, module)
    form = {"files": parts(pictures[:1], "file"), "data": {"class_name": "red"}}
    said = client.post("/v1/explain", **form).json()
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(said["map_png"]))))
    assert said["method"] == "gradcam"
    assert shown.shape == (said["height"], said["width"]) == (32, 32)
    assert shown[0, 0] == 0 and shown[-1, -1] == 255
    form["data"] = {"class_name": "violet"}
    assert client.post("/v1/explain", **form).status_code == 422


def test_openapi_has_an_example_of_every_answer(client):
    description = client.get("/openapi.json").json()
    assert len(description["paths"]) > 20
    predict = description["paths"]["/v1/predict"]["post"]
    assert "application/problem+json" in predict["responses"]["413"]["content"]
    schemas = description["components"]["schemas"]
    for name in ("PredictModel", "JobModel", "ProblemModel", "InferRequest", "PredictRequest"):
        assert schemas[name]["example"]


def test_requests_that_come_together_share_a_forward_pass(client, predictor, pictures, monkeypatch):
    from cerviclip.app.server.access import EVERYBODY
    from cerviclip.app.server.uploads import read_upload

    context = client.app.state.context
    served, sizes, predict = context.served(), [], predictor.predict
    limits = context.settings.limits

    def counted(arrays):
        sizes.append(len(arrays))
        return predict(arrays)

    monkeypatch.setattr(served.predictor, "predict", counted)
    uploads = [read_upload("", p.read_bytes(), limits, None) for p in pictures[:8]]
    with served.lock:  # the model is busy with another's picture
        futures = [served.submit(one, EVERYBODY.name, "test") for one in uploads]
    said = [future.result(10)[0] for future in futures]
    assert sum(sizes) == 8 and len(sizes) <= 2
    for one, truth in zip(said, predict(pictures[:8]), strict=True):
        assert one.prediction.probabilities == pytest.approx(truth.probabilities, abs=1e-6)
