"""Conformal sets: a worked example, the promise of coverage, and what carrying them does."""

import numpy as np
import pytest
from measures_fixtures import make_sample

from cerviclip.evaluation.measures import ConformalSets, Sample, measure_sets
from cerviclip.evaluation.measures.probabilities.conformal import METHODS, class_scores, quantile


def test_the_quantile_is_the_one_of_the_papers():
    scores = np.arange(1, 20) / 20  # n = 19: ceil(20 * 0.9) = the 18th
    assert quantile(scores, 0.9) == scores[17]
    expected = np.quantile(scores, np.ceil(20 * 0.9) / 19, method="inverted_cdf")
    assert quantile(scores, 0.9) == pytest.approx(expected)
    assert quantile(scores[:8], 0.9) == np.inf  # 8 images cannot promise 90 %
    assert quantile(scores[:9], 0.9) == scores[8]


def test_scores_by_hand():
    probs = np.array([[0.5, 0.2, 0.3]])
    assert class_scores(probs, "lac")[0] == pytest.approx([0.5, 0.8, 0.7])
    assert class_scores(probs, "aps")[0] == pytest.approx([0.5, 1.0, 0.8])
    sets = ConformalSets("aps", np.full(3, 0.8)).sets(probs)
    assert sets.tolist() == [[True, False, True]]
    assert ConformalSets("aps", np.full(3, 0.1)).sets(probs).tolist() == [[True, False, False]]
    assert not ConformalSets("lac", np.full(3, 0.1)).sets(probs).any()


@pytest.mark.parametrize("method", METHODS)
def test_sets_keep_their_promise_for_images_like_those_of_home(method):
    found = []
    for seed in range(40):
        both = make_sample(patients=800, images=1, seed=seed, skill=1.0)
        parts = [
            Sample.of("x", both.labels[rows], both.probs[rows], ["p"] * 400, both.classnames)
            for rows in (slice(400), slice(400, None))
        ]
        fitted = ConformalSets.fit(parts[0], method, 0.9)
        inside = fitted.sets(parts[1].probs)[np.arange(400), parts[1].labels]
        found.append(inside.mean())
    low = 0.9 - 3 * np.std(found) / np.sqrt(40)
    assert np.mean(found) >= low
    assert np.mean(found) < (0.97 if method == "aps" else 0.93)


def test_class_conditional_sets_keep_it_for_the_hard_class_where_lac_does_not():
    rng = np.random.default_rng(0)
    labels = (rng.random(6000) < 0.1).astype(int)
    p = np.clip(0.2 + 0.25 * labels + rng.normal(0, 0.1, 6000), 0.01, 0.99)
    probs, ids = np.stack([1 - p, p], axis=1), [str(i) for i in range(3000)]
    of = [
        Sample.of(name, labels[rows], probs[rows], ids, ("common", "rare"))
        for name, rows in (("val", slice(3000)), ("test", slice(3000, None)))
    ]
    covered = {}
    for method in ("lac", "class_conditional"):
        inside = ConformalSets.fit(of[0], method, 0.9).sets(of[1].probs)
        covered[method] = inside[of[1].labels == 1, 1].mean()
    assert covered["lac"] < 0.6 < 0.86 < covered["class_conditional"]


def test_measured_numbers_are_shares_of_images_with_intervals():
    val, far = make_sample("val", seed=1), make_sample("Far", seed=2, skill=0.3)
    for method in METHODS:
        fitted = ConformalSets.fit(val, method, 0.9)
        again = ConformalSets.from_json(method, fitted.to_json(val.classnames), val.classnames)
        assert (again.quantiles == fitted.quantiles).all()
        found, inside = measure_sets(far, fitted), fitted.sets(far.probs)
        size = inside.sum(axis=1)
        covered = inside[np.arange(len(far)), far.labels]
        values = (
            100 * covered.mean(),
            size.mean(),
            100 * (size == 1).mean(),
            100 * (size == 0).mean(),
        )
        keys = ("coverage", "set_size", "single", "empty")
        for key, value in zip(keys, values, strict=True):
            cell = found[key]
            assert cell["value"] == pytest.approx(value)
            assert cell["low"] <= value <= cell["high"] and cell["low"] < cell["high"]
    own = measure_sets(val, fitted)["coverage"]["value"]
    assert found["coverage"]["value"] < own - 5  # another centre breaks the promise, and it shows
    hard = found["per_class"]["cancer"]["value"]
    truth = far.labels == 3
    assert hard == pytest.approx(100 * covered[truth].mean())


def test_a_class_with_too_few_images_at_home_is_in_every_set():
    val = make_sample("val", patients=12, images=1)
    fitted = ConformalSets.fit(val, "class_conditional", 0.9)
    assert np.isinf(fitted.quantiles).all()
    assert set(fitted.to_json(val.classnames)["quantile"].values()) == {None}
    again = ConformalSets.from_json(
        "class_conditional", fitted.to_json(val.classnames), val.classnames
    )
    assert again.sets(val.probs).all()
    assert measure_sets(val, fitted)["set_size"]["value"] == 4
    assert measure_sets(make_sample(patients=0), fitted)["coverage"]["reason"] == "no images"
