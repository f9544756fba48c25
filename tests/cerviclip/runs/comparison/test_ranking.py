"""Methods ranked over data sets: who is ranked, who is left out, and what is said of them."""

from __future__ import annotations

import pytest

from cerviclip.runs.comparison.ranking import rank_groups, ranking_text, save_ranking
from cerviclip.runs.report.groups import Group
from dassl.errors import UserError

SETS = ("Herlev", "SIPaKMeD", "BreakHis")


def group(dataset: str, trainer: str, accuracy: float, shots: int = 16, **more) -> Group:
    run = {
        "fold": "",
        "seed": 1,
        "test_read_early": False,
        "transductive": False,
        "ensemble": {},
        "centers": {"test": {"accuracy": {"value": accuracy}}},
    }
    return Group(dataset, trainer, "ViT-B/16", "default", shots, 0, [run | more])


def usual(**of_trainer: dict) -> list[Group]:
    """CoOp below LinearProbe below GDA on three data sets, and others as they are asked for."""
    found = []
    for n, name in enumerate(SETS):
        found += [group(name, t, 50 + n + 5 * i) for i, t in enumerate(("CoOp", "LP", "GDA"))]
        found += [group(name, t, 90.0, **more) for t, more in of_trainer.items()]
    return found


def test_the_best_on_every_data_set_has_rank_one():
    ranked = rank_groups(usual(), "accuracy")
    assert dict(zip(ranked.labels, ranked.ranking.ranks, strict=True)) == {
        "CoOp": 3.0, "LP": 2.0, "GDA": 1.0
    }  # fmt: skip
    assert ranked.datasets == list(SETS) and ranked.shots == 16
    assert ranked.left_out == ranked.transductive == []


def test_transductive_methods_are_never_ranked_beside_the_others():
    ranked = rank_groups(usual(TransCLIP={"transductive": True}), "accuracy")
    assert ranked.labels == ["CoOp", "LP", "GDA"] and ranked.transductive == ["TransCLIP"]
    assert min(ranked.ranking.ranks) == 1
    assert "transductive (they see the whole test set): TransCLIP" in ranking_text(ranked)


def test_transductive_methods_alone_are_ranked_among_each_other():
    seen = {"transductive": True}
    groups = [group(d, t, 50 + i, **seen) for d in SETS for i, t in enumerate("abc")]
    ranked = rank_groups(groups, "accuracy")
    assert ranked.labels == ["a", "b", "c"] and ranked.transductive == []


def test_a_method_that_read_its_test_set_early_is_marked_as_in_tables(tmp_path):
    ranked = rank_groups(usual(Peek={"test_read_early": True}), "accuracy")
    assert ranked.labels == ["CoOp", "LP", "GDA", "Peek†"]
    text = ranking_text(ranked)
    assert "| Peek† | 1.00 |" in text and "† the test set was read before training" in text
    save_ranking(ranked, tmp_path / "ranks.png")
    assert (tmp_path / "ranks.png").stat().st_size > 1000


def test_a_method_that_lacks_a_data_set_is_left_out_and_named():
    ranked = rank_groups([*usual(), group("Herlev", "Late", 99.0)], "accuracy")
    assert "Late" not in ranked.labels and ranked.left_out == ["Late"]
    assert "left out, not on every data set: Late" in ranking_text(ranked)


def test_two_methods_are_too_few():
    groups = [g for g in usual() if g.trainer != "GDA"]
    with pytest.raises(UserError, match="needs 3 data sets and 3 methods.*and 2"):
        rank_groups(groups, "accuracy")


def test_data_sets_are_told_by_their_titles():
    groups = usual()
    for one in groups[:3]:
        one.runs[0]["runtime"] = {"title": "Cervix OCT, Hospital A"}
    ranked = rank_groups(groups, "accuracy")
    assert ranked.datasets == list(SETS)
    assert "data sets: Cervix OCT, Hospital A, SIPaKMeD, BreakHis" in ranking_text(ranked)
