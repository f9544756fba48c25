import numpy as np
import pytest
from cerviclip.app.explain import explain, explain_details, methods_of
from cerviclip import Predictor


@pytest.mark.parametrize(
    "name",
    ["LinearProbe", "SAVLT", "CoOp", "CLIPLoRA", "TipAdapterF", "MaPLe", "ProLIP", "VPT", "DAPD"],
)
def test_all(make_run, cells, tmp_path, name):
    p = Predictor.from_run(
        make_run(
            name,
            cells,
            tmp_path / name,
            *(
                {
                    "MaPLe": ("TRAINER.MAPLE.PROMPT_DEPTH", "2"),
                    "VPT": ("TRAINER.VPT.DEPTH", "2"),
                }.get(name, ())
            ),
        ),
        device="cpu",
    )
    path = sorted((cells / "green").iterdir())[0]
    ms = methods_of(p)
    print(name, ms)
    for m in ms:
        e = explain_details(p, path, None, m, scores=m == "gradcam")
        print(
            m,
            e.map.shape,
            e.map.min(),
            e.map.max(),
            e.seen,
            e.image.size,
            e.faithfulness,
            e.probability - p.predict(path).probability,
        )
