"""Draws, repeats and protocols in a sweep's yaml."""

from __future__ import annotations

import pytest

from cerviclip.runs.settings.flags import sweep_parser, sweep_request
from cerviclip.runs.settings.plan import make_plan
from dassl.errors import UserError

BASE = "datasets: [{}]\nbackbone: PhantomCLIP\nshots: [1]\ntrainers: [{}]\n"


@pytest.fixture
def plan(tmp_path):
    def make(text, *flags, dataset="PhantomOCT", trainers="LinearProbe, CoOp"):
        path = tmp_path / "s.yaml"
        path.write_text(BASE.format(dataset, trainers) + text)
        return make_plan(sweep_request(sweep_parser().parse_args(["--sweep", str(path), *flags])))

    return make


def seeds(plan, trainer):
    return [run.seed for run in plan.runs if run.trainer == trainer]


def test_without_seeds_quick_methods_get_twenty_draws_and_others_three(plan):
    made = plan("")
    assert seeds(made, "LinearProbe") == list(range(1, 21)) and seeds(made, "CoOp") == [1, 2, 3]


def test_draws_are_the_first_seeds_and_flags_come_first(plan):
    assert seeds(plan("draws: 4"), "CoOp") == [1, 2, 3, 4]
    assert seeds(plan("draws: 4", "--seeds", "9"), "CoOp") == [9]
    with pytest.raises(UserError, match="both 'draws' and 'seeds'"):
        plan("draws: 4\nseeds: [1]")


def test_repeats_deal_anew_in_folders_of_their_own(plan):
    made = plan("seeds: [1]\nfolds: 2\nrepeats: 2", trainers="CoOp")
    assert [run.key.fold for run in made.runs] == ["1/2", "2/2", "1/2@2", "2/2@2"]
    folders = {run.key.folder("o").parts[-3] for run in made.runs}
    assert folders == {
        *("default-fold1of2", "default-fold2of2"),
        *("default-fold1of2repeat2", "default-fold2of2repeat2"),
    }
    assert len(plan("seeds: [1]\nfolds: 2\nrepeats: 2", "--folds", "0").runs) == 2
    with pytest.raises(UserError, match="need folds"):
        plan("seeds: [1]\nrepeats: 2")


def test_leave_one_center_out_has_a_fold_for_each_centre(plan):
    made = plan("seeds: [1]\nleave_one_center_out: true", trainers="CoOp", dataset="PhantomDomains")
    assert [run.key.fold for run in made.runs] == [f"{n}/5" for n in range(1, 6)]
    some = "seeds: [1]\nleave_one_center_out: true\nopts: {DATASET.CENTERS: [mixed, huaxi]}"
    made = plan(some, trainers="CoOp", dataset="PhantomDomains")
    assert [run.key.fold for run in made.runs] == ["1/2", "2/2"]
    for typed in ("['mixed', 'huaxi', 'xiangya']", "[mixed, huaxi, xiangya]"):
        flags = ["--opts", "DATASET.CENTERS", typed]
        made = plan(some, *flags, trainers="CoOp", dataset="PhantomDomains")
        assert [run.key.fold for run in made.runs] == ["1/3", "2/3", "3/3"]
    for text, words in (("folds: 2\n", "the centres are the folds"), ("", "is not; take")):
        with pytest.raises(UserError, match=words):
            plan(f"seeds: [1]\n{text}leave_one_center_out: true")
    with pytest.raises(UserError, match="true or false"):
        plan("seeds: [1]\nleave_one_center_out: 1")


def test_base_to_new_is_a_variant_of_its_own(plan):
    made = plan("seeds: [1]\nbase_to_new: true", trainers="CoOp")
    (run,) = made.runs
    assert run.variant == "base_to_new"
    assert run.opts[-2:] == ("DATASET.SUBSAMPLE_CLASSES", "base_to_new")
