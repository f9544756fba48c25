"""What each strategy chooses, on points whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from cerviclip.runs.active.strategies import STRATEGIES, Pool, choose
from dassl.errors import UserError


def pool(**more) -> Pool:
    names = [f"image {i}" for i in range(8)]
    return Pool(names, **{"seed": 1, **more})


def unit(*degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_chance_depends_on_names_and_seed_alone():
    first = choose("random", pool(), 8).places
    assert sorted(first) == list(range(8))
    assert list(choose("random", pool(), 3).places) == list(first[:3])
    assert list(choose("random", pool(seed=2), 8).places) != list(first)
    backwards = Pool([f"image {i}" for i in reversed(range(8))], 1)
    assert [7 - i for i in choose("random", backwards, 8).places] == list(first)


def test_entropy_and_margin_by_hand():
    probs = np.array([
        [1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.6, 0.2, 0.2],
        [0.9, 0.1, 0.0], [0.45, 0.4, 0.15], [0.8, 0.1, 0.1], [0.99, 0.01, 0.0],
    ])  # fmt: skip
    entropy = choose("entropy", pool(probs=probs), 3)
    assert list(entropy.places) == [2, 5, 3]
    assert entropy.scores[0] == pytest.approx(np.log(3))
    margin = choose("margin", pool(probs=probs), 3)
    assert set(margin.places[:2]) == {1, 2} and margin.places[2] == 5  # two ties, then 0.05
    assert margin.scores[2] == pytest.approx(-0.05)


def test_core_set_takes_what_is_furthest_from_all_that_is_known():
    features = unit(0, 2, 4, 90, 92, 180, 182, 184)
    choice = choose("coreset", pool(features=features, labelled=unit(0)), 2)
    assert choice.places[0] == 5  # the opposite side
    assert choice.places[1] in (3, 4)
    assert choice.scores[0] == pytest.approx(2.0)
    every = choose("coreset", pool(features=features), 8)  # from nothing: all, each once
    assert sorted(every.places) == list(range(8)) and np.isfinite(every.scores).all()


def test_typical_clusters_cover_the_groups_by_their_middles():
    groups = [(0, 1, 2, 3, 4), (90, 91, 92, 93, 94), (200, 201, 202, 203, 204)]
    features = unit(*[d for group in groups for d in group])
    names = [f"image {i}" for i in range(15)]
    choice = choose("typiclust", Pool(names, 1, features), 3)
    assert sorted(place // 5 for place in choice.places) == [0, 1, 2]
    assert all(place % 5 == 2 for place in choice.places)  # the middle of each
    one = choose("typiclust", Pool(names, 1, features, labelled=unit(2, 92)), 1)
    assert one.places[0] == 12  # the group that has no label yet


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_unit_twice_and_never_more_than_there_are(strategy):
    rng = np.random.default_rng(0)
    features = unit(*rng.uniform(0, 360, 8))
    probs = rng.dirichlet(np.ones(3), 8)
    given = pool(features=features, probs=probs, labelled=unit(10, 20))
    for count in (1, 5, 8, 20):
        choice = choose(strategy, given, count)
        assert len(set(choice.places)) == len(choice.places) == min(count, 8) == len(choice.scores)
    again = choose(strategy, given, 5)
    assert list(again.places) == list(choose(strategy, given, 5).places)


def test_an_unknown_strategy_is_named():
    with pytest.raises(UserError, match="no strategy 'core-set'.*coreset.*typiclust"):
        choose("core-set", pool(), 1)
