"""Deletion and insertion tell a true map from a false one, and from chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from cerviclip.app.explain import explain_details
from cerviclip.app.explain.faithfulness import curve_area, faithfulness, random_map, rank_steps
from cerviclip.app.explain.scorer import Scorer, log_odds


@pytest.fixture
def scorer(light):
    """A white square in one corner: pixels that make the model say bright."""
    pixels = np.full((64, 64, 3), 10, np.uint8)
    pixels[8:24, 40:56] = 255
    return Scorer(light.members[0].trainer, Image.fromarray(pixels))


def test_a_true_map_beats_chance_and_its_opposite_loses(scorer):
    truth = scorer.pixels[0, 0].numpy()
    good = faithfulness(scorer, truth, 1, (8, 8))
    bad = faithfulness(scorer, -truth, 1, (8, 8))
    assert good.beats_insertion == 1 and bad.beats_insertion == 0
    assert good.insertion > good.random_insertion > bad.insertion
    assert (good.random_deletion, good.random_insertion) == (
        bad.random_deletion,
        bad.random_insertion,
    )
    assert good.steps == 15 and good.random_maps == 5


def test_deletion_falls_where_the_evidence_goes_first(light, scorer):
    """What is deleted becomes the mean colour, so the light's sum stays if all of it goes: the
    model is asked for light in the corner alone."""
    with torch.no_grad():
        light.members[0].trainer.model.fc.weight.copy_(torch.tensor([[0.0] * 4, [40.0, 0, 0, 0]]))
        light.members[0].trainer.model.fc.bias.copy_(torch.tensor([2.0, 0.0]))
    truth = scorer.pixels[0, 0].numpy()
    assert faithfulness(scorer, truth, 1, (8, 8)).deletion < (
        faithfulness(scorer, -truth, 1, (8, 8)).deletion
    )


def test_a_model_that_sees_nothing_makes_ties(light, scorer):
    with torch.no_grad():
        light.members[0].trainer.model.fc.weight.zero_()
    found = faithfulness(scorer, scorer.pixels[0, 0].numpy(), 1, (8, 8))
    assert found.beats_deletion == found.beats_insertion == 0.5
    assert found.deletion == pytest.approx(found.insertion)


def test_equal_parts_in_the_order_of_the_map():
    steps = rank_steps(np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.7]]), 3)
    assert steps.tolist() == [[2, 0, 1], [1, 2, 0]]
    assert np.bincount(rank_steps(np.zeros((10, 10)), 4).ravel()).tolist() == [25] * 4


def test_areas():
    assert curve_area(np.ones(7)) == 1
    assert curve_area(np.linspace(1, 0, 9)) == pytest.approx(0.5)
    assert curve_area(np.array([1.0, 0, 0])) == pytest.approx(0.25)


def test_random_maps_differ_and_follow_the_seed():
    one, same = (random_map(np.random.default_rng(4), (7, 7), (64, 48)) for _ in range(2))
    assert one.shape == (64, 48) and np.array_equal(one, same)
    assert not np.array_equal(one, random_map(np.random.default_rng(5), (7, 7), (64, 48)))


def test_log_odds_are_the_same_for_logits_and_log_probabilities():
    logits = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    probs = logits.softmax(0)
    for label in range(3):
        wanted = (probs[label] / (1 - probs[label])).log()
        torch.testing.assert_close(log_odds(label)(logits), wanted)
        torch.testing.assert_close(log_odds(label)(logits.log_softmax(0)), wanted)


def test_scores_come_with_the_details(light, scorer):
    pixels = (scorer.pixels[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    found = explain_details(light, pixels, "bright", scores=True).faithfulness
    assert found is not None and found.beats_deletion == 1
