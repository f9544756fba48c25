"""Every method goes through an export and, where ONNX can hold it, through ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from cases import trainer_cases

from cerviclip import Predictor
from cerviclip.app.export_command import main
from dassl.errors import UserError

#: Methods without an export -> what the refusal says.
REFUSED = {
    "TransCLIP": "predicts all images of a set together",
    "TransCLIPZS": "predicts all images of a set together",
}

#: Methods with an export but without ONNX -> what the refusal says. CoCoOp encodes a text for each
#: pair of image and class, in chunks whose number depends on the batch.
WITHOUT_ONNX = {"CoCoOp": "works on batches of one size, so it has no ONNX file"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(trainer_cases()))
def test_an_export_answers_as_its_run(name, run, image_root, tmp_path):
    case = trainer_cases()[name]
    folder, _ = run(name, *case.opts, **case.run_options)
    out = tmp_path / "out"
    if name in REFUSED:
        with pytest.raises(UserError, match=REFUSED[name]):
            main([str(folder), str(out)])
        return
    words = [str(folder), str(out)]
    if name in WITHOUT_ONNX:
        with pytest.raises(UserError, match=WITHOUT_ONNX[name]):
            main([*words, "--onnx"])
        assert main(words) == 0
    else:
        assert main([*words, "--onnx"]) == 0  # which compares ONNX Runtime's numbers
        assert (out / "model.onnx").is_file()
    paths = sorted(image_root.rglob("*.png"))[::5]
    answers = [Predictor.from_run(one, device="cpu").predict(paths) for one in (folder, out)]
    ours, theirs = ([a.probabilities for a in said] for said in answers)
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6)
    assert answers[0][0].reasons == answers[1][0].reasons
