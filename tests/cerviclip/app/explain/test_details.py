"""Maps point at the evidence, on the image, by every method and for every kind of network."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from explain_fixtures import BlindNet, LightNet, predictor_of
from PIL import Image

from cerviclip import Predictor
from cerviclip.app.explain import explain, explain_details, methods_of
from cerviclip.app.explain.cams import CAMS
from cerviclip.app.explain.occlusion import occlusion
from cerviclip.app.explain.scorer import Scorer, log_odds
from dassl.errors import UserError

SPOT, CENTER, RADIUS = (150, 110), (62, 31), 9  # px: (width, height), (x, y)


@pytest.fixture(scope="module")
def spot() -> Image.Image:
    """A picture that is not square, with a bright spot left of its centre and above."""
    y, x = np.mgrid[: SPOT[1], : SPOT[0]]
    near = (x - CENTER[0]) ** 2 + (y - CENTER[1]) ** 2 < RADIUS**2
    return Image.fromarray(np.where(near, 255, 12).astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize("method", [*CAMS, "occlusion"])
def test_the_peak_lies_on_the_spot(light, spot, method):
    heat = explain(light, spot, "bright", method)
    assert heat.shape == (SPOT[1], SPOT[0]) and heat.dtype == np.float32
    assert heat.min() == 0 and heat.max() == pytest.approx(1, abs=0.1)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert abs(x - CENTER[0]) < 12 and abs(y - CENTER[1]) < 12
    left = (SPOT[0] - SPOT[1]) // 2
    assert not heat[:, :left].any() and not heat[:, left + SPOT[1] :].any()  # behind the crop


def test_the_map_turns_with_the_image(light, spot):
    heat = explain(light, spot, "bright")
    turned = explain(light, spot.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "bright")
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert abs(int(turned[y].argmax()) - (SPOT[0] - 1 - x)) < 12


def test_grad_cam_is_the_weighted_map_before_pooling(light):
    """Behind the map stand mean and linear layer: the gradient of the log-odds of two classes is
    the difference of their weights."""
    image = Image.fromarray(np.random.default_rng(3).integers(0, 255, (64, 64, 3), np.uint8))
    net = light.members[0].trainer.model
    with torch.no_grad():
        pixels = light.members[0].trainer.tfm_test(image)[None]
        weights = net.fc.weight[1] - net.fc.weight[0]
        wanted = torch.einsum("k,khw->hw", weights, net.features(pixels)[0]).relu()
    wanted = torch.nn.functional.interpolate(wanted[None, None], size=64, mode="bilinear")[0, 0]
    wanted = ((wanted - wanted.min()) / (wanted.max() - wanted.min())).numpy()
    for method in ("gradcam", "hirescam"):  # the same here: gradients are equal at all places
        found = explain(light, image, "bright", method)
        np.testing.assert_allclose(found, wanted, atol=0.02)


def test_score_cam_is_the_librarys(light, spot):
    from pytorch_grad_cam import ScoreCAM

    trainer = light.members[0].trainer
    square = spot.crop((20, 0, 130, 110)).resize((64, 64))
    with ScoreCAM(trainer.model, [trainer.model.features]) as library:
        wanted = library(trainer.tfm_test(square)[None], [log_odds(1)])[0]
    np.testing.assert_allclose(explain(light, square, "bright", "scorecam"), wanted, atol=1e-5)


def test_a_trainer_is_left_as_it_was(light, spot):
    before = light.predict(spot).probabilities
    for method in methods_of(light):
        explain(light, spot, method=method)
    trainer = light.members[0].trainer
    assert all(p.grad is None for p in trainer.model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in trainer.model.modules())
    assert light.predict(spot).probabilities == before


def test_another_thread_may_predict_meanwhile(light, spot):
    quiet = {method: explain(light, spot, "bright", method) for method in CAMS}
    stop = threading.Event()
    other = spot.rotate(180)

    def predict() -> None:
        while not stop.is_set():
            light.predict([other] * 4)

    thread = threading.Thread(target=predict)
    thread.start()
    try:
        for _ in range(5):
            for method, wanted in quiet.items():
                np.testing.assert_array_equal(explain(light, spot, "bright", method), wanted)
    finally:
        stop.set()
        thread.join()


def test_an_ensemble_gives_the_mean_of_its_maps(light, spot):
    other = LightNet()
    with torch.no_grad():
        other.features[0].weight.mul_(torch.rand(4, 3, 8, 8, generator=torch.manual_seed(5)))
    second = predictor_of(other)
    both = Predictor([*light.members, *second.members])
    maps = [explain(one, spot, "bright") for one in (light, second)]
    assert np.abs(maps[0] - maps[1]).max() > 0.02
    np.testing.assert_allclose(explain(both, spot, "bright"), np.mean(maps, axis=0), atol=1e-6)
    with pytest.raises(UserError, match="for one run"):
        explain_details(both, spot, scores=True)


def test_details_say_what_was_explained(light, spot):
    found = explain_details(light, spot)
    answer = light.predict(spot)
    assert (found.class_name, found.predicted) == (answer.predicted,) * 2
    assert found.probability == pytest.approx(answer.probability, abs=1e-12)
    assert found.seen == (0, 21, 110, 131) and found.faithfulness is None
    assert found.method == methods_of(light)[0]
    other = explain_details(light, spot, "bright" if found.predicted == "dark" else "dark")
    assert other.probability == pytest.approx(1 - found.probability)
    assert other.predicted == found.predicted


def test_what_is_not_there_is_refused_in_a_line(light, spot, monkeypatch):
    with pytest.raises(UserError, match=r"no class 'brigth', did you mean 'bright'\?"):
        explain(light, spot, "brigth")
    with pytest.raises(UserError, match="no method 'gradcan', did you mean 'gradcam'"):
        explain(light, spot, method="gradcan")
    with pytest.raises(UserError, match="Light on this backbone has no rollout; it has gradcam"):
        explain(light, spot, method="rollout")
    monkeypatch.setitem(__import__("sys").modules, "pytorch_grad_cam", None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[explain\]"'):
        explain(light, spot)


def test_a_network_without_places_has_occlusion_alone(spot):
    blind = predictor_of(BlindNet())
    assert methods_of(blind) == ["occlusion"]
    assert explain(blind, spot, "bright").shape == (SPOT[1], SPOT[0])
    with pytest.raises(UserError, match="has no gradcam; it has occlusion"):
        explain(blind, spot, "bright", "gradcam")


def test_occlusion_is_the_fall_of_the_log_odds(light, spot):
    scorer = Scorer(light.members[0].trainer, spot)
    found, pixels = occlusion(scorer, 1), scorer.pixels
    score = log_odds(1)
    falls = np.zeros((7, 7))
    with torch.no_grad():
        whole = score(scorer.logits(pixels)[0]).item()
        for top in range(7):
            for left in range(7):
                covered = pixels.clone()
                cell = covered[:, :, 8 * top : 8 * top + 16, 8 * left : 8 * left + 16]
                cell[:] = pixels.mean((2, 3), keepdim=True)
                falls[top, left] = whole - score(scorer.logits(covered)[0]).item()
    assert found.shape == (8, 8) and found.max() > 0
    assert found[0, 0] == pytest.approx(max(0, falls[0, 0]), abs=1e-9)
    assert found[3, 4] == pytest.approx(max(0, falls[2:4, 3:5].mean()), abs=1e-9)
