"""model.onnx: the run's probabilities for any number of images, and what a program must know."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from cerviclip import Predictor
from cerviclip.app.export_command import main
from cerviclip.engine.inference import batch_builder
from dassl.errors import UserError

FAMILIES = {
    "LinearProbe": (),
    "CoOp": ("OPTIM.MAX_EPOCH", "1"),
    "CLIPLoRA": (),
    "SAVLT": ("TRAINER.SAVLT.ROI.SOURCE", "surface"),
    "CNNBaseline": ("INPUT.SIZE", "(64,64)", "MODEL.BACKBONE.PRETRAINED", "False"),
}


def answers_of(path, predictor, pictures) -> np.ndarray:
    """What a program does that has the ONNX file and pixels."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    builder = batch_builder(predictor.members[0].trainer)
    samples = [builder.sample_of(_open(p), str(p)) for p in pictures]
    keys = {"pixels": "img", "roi": "roi"}
    fed = {
        one.name: np.stack([sample[keys[one.name]].numpy() for sample in samples])
        for one in session.get_inputs()
    }
    return session.run(["probabilities"], fed)[0]


def _open(path):
    from PIL import Image

    return Image.open(path).convert("RGB")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(make_run, cells, tmp_path, name):
    pytest.importorskip("onnx")
    opts = FAMILIES[name]
    if name == "CNNBaseline":
        opts = (*opts, "MODEL.BACKBONE.NAME", "torchvision:squeezenet1_0", "MODEL.INIT_WEIGHTS", "")
    run = make_run(name, cells, tmp_path / "run", "DATASET.POSITIVE", "('red','blue')", *opts)
    out = tmp_path / "out"
    assert main([str(run), str(out), "--onnx"]) == 0
    predictor = Predictor.from_run(run, device="cpu")
    pictures = sorted(cells.rglob("*.png"))[::5]
    wanted = np.array([a.probabilities for a in predictor.predict(pictures)])
    assert np.ptp(wanted, axis=0).max() > 1e-4
    for count in (len(pictures), 5, 1):
        said = answers_of(out / "model.onnx", predictor, pictures[:count])
        np.testing.assert_allclose(said, wanted[:count], rtol=0, atol=1e-4)
    _check_metadata(out / "model.onnx", predictor)


def _check_metadata(path, predictor):
    import onnx

    (entry,) = onnx.load(path).metadata_props
    known = json.loads(entry.value)
    assert known["classes"] == list(predictor.classnames) and known["use"] == "research only"
    assert known["operating_points"] == dict(predictor.knowledge.home.thresholds)
    assert known["model"] == predictor.model_id and "ToTensor" in known["preprocessing"]["steps"]
    assert str(predictor.members[0].folder) not in entry.value


def test_what_onnx_cannot_do_is_a_line(probe, predictor, tmp_path, monkeypatch):
    from cerviclip.app.export import onnx_file

    both = Predictor([*predictor.members, *predictor.members])
    with pytest.raises(UserError, match="an ensemble has no single ONNX file"):
        onnx_file.write_onnx(both, tmp_path)
    monkeypatch.setattr(onnx_file, "to_onnx", lambda *_: b"")
    monkeypatch.setattr(onnx_file, "largest_difference", lambda *_: 2e-3)
    with pytest.raises(UserError, match=r"differ by 2.0e-03.*limit 1e-04"):
        onnx_file.write_onnx(predictor, tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r'--onnx needs onnx: pip install -e "\.\[onnx\]"'):
        main([str(probe), str(tmp_path / "out"), "--onnx"])
    assert not list(tmp_path.iterdir())


def test_a_method_on_batches_of_one_size_is_refused(predictor, monkeypatch):
    from cerviclip.app.export import onnx_file
    from cerviclip.app.export.graph import Program

    fixed = Program(["pixels"], [], [None, None], {}, batch=8)
    monkeypatch.setattr(onnx_file, "trace", lambda *_: fixed)
    with pytest.raises(UserError, match="LinearProbe works on batches of one size"):
        onnx_file.to_onnx(predictor.members[0], {})
