"""Clients of the Open Inference Protocol, Label Studio and MONAI Label get what they expect."""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from cerviclip.app.audit_log import verify
from cerviclip.app.server.application import create_app
from cerviclip.app.server.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from hostile import dicom  # noqa: E402

CONFIG = (
    '<View><Image name="img" value="$scan"/><Choices name="cls" toName="img">'
    '<Choice value="red"/><Choice value="green"/><Choice value="blue"/></Choices></View>'
)


def infer(client, path="m", **tensor):
    body = {"id": "7", "inputs": [{"name": "image", **tensor}]}
    return client.post(f"/v2/models/{path}/infer", content=json.dumps(body).encode(), headers=JSON)


JSON = {"content-type": "application/json"}


def test_inference_protocol(client, predictor, pictures):
    arrays = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in pictures[:3]])
    wanted = [list(a.probabilities) for a in predictor.predict(pictures[:3])]
    pixels = infer(client, shape=list(arrays.shape), datatype="UINT8", data=arrays.ravel().tolist())
    files = [base64.b64encode(p.read_bytes()).decode() for p in pictures[:3]]
    coded = infer(
        client, f"m/versions/{predictor.model_id}", shape=[3], datatype="BYTES", data=files
    )
    for answer in (pixels, coded):
        said = answer.json()
        assert said["id"] == "7" and said["model_version"] == predictor.model_id
        probs, predicted, entry = said["outputs"]
        assert probs["shape"] == [3, 3]
        np.testing.assert_allclose(np.reshape(probs["data"], (3, 3)), wanted, rtol=0, atol=1e-6)
        assert predicted["data"] == [a.predicted for a in predictor.predict(pictures[:3])]
        assert len(entry["data"]) == 3 and "Research" in said["parameters"]["use"]
    for path in ("health/live", "health/ready", "models/m/ready", "models/m"):
        assert client.get(f"/v2/{path}").status_code == 200
    assert client.get("/v2/models/m").json()["outputs"][0]["shape"] == [-1, 3]
    assert client.get("/v2/models/n").json()["error"] == (
        "no model 'n'; name one that is served: m"
    )
    assert client.get("/v2/models/m/versions/1").status_code == 404


@pytest.mark.parametrize(
    "tensor, status",
    [
        ({"shape": [1, 2, 2, 3], "datatype": "UINT8", "data": [0] * 11}, 400),
        ({"shape": [1, 2, 2, 3], "datatype": "UINT8", "data": [256] * 12}, 400),
        ({"shape": [1, 2, 2, 3], "datatype": "UINT8", "data": [0.5] * 12}, 400),
        ({"shape": [1, 2, 2, 3], "datatype": "UINT8", "data": [[1], 2]}, 400),
        ({"shape": [2, 2], "datatype": "UINT8", "data": [0] * 4}, 400),
        ({"shape": [0, 2, 2, 3], "datatype": "UINT8", "data": []}, 400),
        ({"shape": [1, 0, 2, 3], "datatype": "UINT8", "data": []}, 400),
        ({"shape": [1, 2**30, 2**30, 3], "datatype": "UINT8", "data": []}, 413),
        ({"shape": [1], "datatype": "FP32", "data": [1.0]}, 400),
        ({"shape": [1], "datatype": "BYTES", "data": ["%"]}, 400),
        ({"shape": [1], "datatype": "BYTES", "data": [""]}, 400),
        ({"shape": [2], "datatype": "BYTES", "data": [""]}, 400),
        ({"shape": [9], "datatype": "BYTES", "data": [""] * 9}, 413),
        ({"shape": [-1], "datatype": "BYTES", "data": []}, 422),
    ],
)
def test_inference_protocol_refuses(client, tensor, status):
    answer = infer(client, **tensor)
    assert answer.status_code == status and answer.json()["error"]


def test_label_studio(client, predictor, pictures):
    def task(number, address):
        return {"id": number, "data": {"scan": address}}

    inside = "data:image/png;base64," + base64.b64encode(pictures[0].read_bytes()).decode()
    asked = {"tasks": [task(1, inside), task(2, "http://10.0.0.1/x")], "label_config": CONFIG}
    said = client.post("/predict", json=asked).json()
    good, refused = said["results"]
    truth = predictor.predict(pictures[0])
    (region,) = good["result"]
    assert (region["from_name"], region["to_name"]) == ("cls", "img")
    assert region["value"] == {"choices": [truth.predicted]}
    assert good["score"] == pytest.approx(truth.probability, abs=1e-6)
    assert refused["result"] == [] and "--label-studio" in refused["error"]
    assert client.post("/setup", json={"schema": CONFIG}).json()["model_version"].startswith("m@")
    lacking = client.post("/setup", json={"schema": CONFIG.replace("green", "grass")})
    assert lacking.status_code == 422 and "green" in lacking.json()["detail"]
    event = {
        "action": "ANNOTATION_CREATED",
        "annotation": {"result": [{**region, "value": {"choices": ["green"]}}]},
        "task": {"id": 5},
    }
    assert client.post("/webhook", json=event).json()["status"] == "recorded"
    entry = json.loads(client.app.state.context.audit.path.read_text().splitlines()[-1])
    assert (entry["of"], entry["task"]) == (region["id"], 5)
    assert entry["output"] == {"predicted": "green"}
    event["annotation"]["result"].append({"id": "own", "value": {"choices": ["red"]}})
    assert len(client.post("/webhook", json=event).json()["entries"]) == 2
    count = len(client.app.state.context.audit.path.read_text().splitlines())
    event["annotation"]["result"].append({"id": "1-" + 12 * "0", "value": {"choices": ["red"]}})
    assert client.post("/webhook", json=event).status_code == 404
    event["annotation"]["result"][-1] = {"id": "own", "value": {"choices": ["violet"]}}
    assert client.post("/webhook", json=event).status_code == 422
    assert len(client.app.state.context.audit.path.read_text().splitlines()) == count
    event["annotation"]["result"] = []
    assert client.post("/webhook", json=event).status_code == 422
    event["action"] = "TASKS_DELETED"
    assert client.post("/webhook", json=event).json()["status"] == "ignored"


def test_an_annotation_made_anew_names_its_model_or_none(predictor, tmp_path):
    from starlette.testclient import TestClient

    models = {"first": predictor, "second": predictor}
    app = create_app(models, Settings(audit_log=tmp_path / "a.jsonl", jobs=tmp_path / "j.jsonl"))
    event = {
        "action": "ANNOTATION_CREATED",
        "annotation": {"result": [{"id": "own", "value": {"choices": ["red"]}}]},
    }
    version = f"second@{predictor.model_id}"
    stated = {**event, "task": {"id": 1, "predictions": [{"model_version": version}]}}
    of_annotation = {**event["annotation"], "prediction": {"model_version": version}}
    with TestClient(app) as client:
        for sent in (event, stated, {**event, "annotation": of_annotation}):
            assert client.post("/webhook", json=sent).json()["status"] == "recorded"
        gone = {**event, "task": {"predictions": [{"model_version": "gone@0"}]}}
        assert client.post("/webhook", json=gone).json()["status"] == "recorded"
        event["annotation"]["result"][0]["value"]["choices"] = ["violet"]
        assert client.post("/webhook", json=event).status_code == 422
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    said = [json.loads(line)["model"] for line in lines]
    assert said == [None, predictor.model_id, predictor.model_id, None]
    assert verify(tmp_path / "a.jsonl")[1] == []


def test_several_frames_are_refused(client, predictor):
    data = dicom(frames=2)
    coded = "data:image/dicom;base64," + base64.b64encode(data).decode()
    asked = {"tasks": [{"data": {"scan": coded}}], "label_config": CONFIG}
    (task,) = client.post("/predict", json=asked).json()["results"]
    assert task["result"] == [] and "has 2 frames" in task["error"]
    form = {"files": [("file", ("a.dcm", data))]}
    refused = client.post("/infer/m", **form)
    assert refused.status_code == 422 and "has 2 frames; choose" in refused.json()["detail"]
    chosen = client.post("/infer/m", **form, data={"frame": "1"}).json()
    (frame,) = chosen["params"]["answers"]
    assert frame["frame"] == 1
    values = (np.arange(480, 960) % 251).astype(np.uint8).reshape(20, 24)
    truth = predictor.predict(values)
    assert chosen["label"] == truth.predicted
    assert frame["probabilities"] == pytest.approx(truth.by_class, abs=1e-6)


def test_a_webhook_records_all_choices_or_none(client, monkeypatch):
    sizes, append = [], client.app.state.context.audit.append
    monkeypatch.setattr(
        client.app.state.context.audit, "append", lambda e: sizes.append(len(e)) or append(e)
    )
    choices = [{"id": "own", "value": {"choices": [name]}} for name in ("red", "blue")]
    event = {"action": "ANNOTATION_UPDATED", "annotation": {"result": choices}}
    assert client.post("/webhook", json=event).json()["status"] == "recorded"
    assert sizes == [2]


def test_pictures_are_fetched_from_one_label_studio_alone(make_client, pictures, tmp_path):
    asked = []

    def studio(request):
        asked.append((str(request.url), request.headers.get("authorization")))
        if "moved" in str(request.url):
            return httpx.Response(302, headers={"location": "http://10.0.0.1/"})
        return httpx.Response(200, content=pictures[0].read_bytes())

    home = "http://studio:8080"
    with make_client(tmp_path, label_studio=home, label_studio_key="k") as client:
        context = client.app.state.context
        context.client = httpx.AsyncClient(transport=httpx.MockTransport(studio))
        addresses = ["/data/a.png", f"{home}/b.png", "http://studio/c.png", "//evil/d.png"]
        addresses += ["file:///etc/passwd", "http://studio:8080@evil/e.png", "/moved", 5, None]
        tasks = [{"data": {"scan": address}} for address in addresses]
        said = client.post("/predict", json={"tasks": tasks, "label_config": CONFIG}).json()
    assert [bool(one["result"]) for one in said["results"]] == [True, True] + [False] * 7
    fetched = [f"{home}/data/a.png", f"{home}/b.png", f"{home}/moved"]
    assert asked == [(address, "Token k") for address in fetched]


def test_monai_label(client, predictor, pictures, parts):
    said = client.get("/info/").json()
    assert said["models"]["m"]["type"] == "classification"
    assert set(said["strategies"]) == {"uncertainty", "random"}
    answer = client.post("/infer/m?output=json", files=parts(pictures[:1], "file")).json()
    assert answer["label"] == predictor.predict(pictures[0]).predicted
    assert client.post("/infer/m?image=x", files=parts(pictures[:1], "file")).status_code == 404
    id = client.post("/v1/jobs", files=parts(pictures[:6])).json()["job"]
    while client.get(f"/v1/jobs/{id}").json()["state"] != "done":
        time.sleep(0.01)
    truths = predictor.predict(pictures[:6])
    entropy = [-sum(p * np.log(p) for p in one.probabilities) for one in truths]
    order, labeled = [], []
    for _ in range(6):
        body = {"job": id, "labeled": labeled}
        chosen = client.post("/activelearning/uncertainty", json=body).json()
        order.append(chosen["file"] - 1)
        labeled.append(chosen["id"])
    assert order == sorted(range(6), key=lambda n: -entropy[n])
    assert client.post("/activelearning/random", json={"job": id}).json()["job"] == id
    none = {"job": id, "labeled": labeled}
    assert client.post("/activelearning/uncertainty", json=none).status_code == 404
    assert client.post("/activelearning/first", json=none).status_code == 422
