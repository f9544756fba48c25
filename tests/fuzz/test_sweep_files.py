"""Sweep files and the flags of a sweep: a plan of bounded size, or one line."""

from __future__ import annotations

import yaml
from fuzz.bounds import call, examples, refused_or
from fuzz.mutations import ANY_WORD, ODD_VALUES, changed, places, yaml_texts
from hypothesis import given
from hypothesis import strategies as st
from run_fixtures import PLUGIN

from cerviclip.runs.settings.plan import make_plan
from cerviclip.runs.settings.requests import SweepRequest

DOCUMENT = {
    "datasets": ["ZooMain"],
    "trainers": [
        "ZooConstant",
        {"trainer": "ZooLinear", "name": "slow", "opts": {"OPTIM.LR": 0.01}},
    ],
    "shots": [1, "full"],
    "seeds": [1, 2],
    "folds": 0,
    "external": {"ZooMain": ["ZooFar"]},
    "opts": {"OPTIM.MAX_EPOCH": 1, "DATALOADER": {"TRAIN_X": {"BATCH_SIZE": 4}}},
    "leave_one_center_out": False,
    "base_to_new": False,
}


def test_a_sweep_file_gives_a_plan_or_a_line(size, zoo, tmp_path):
    path = tmp_path / "odd.yaml"
    request = SweepRequest(sweep=str(path), plugins=(str(PLUGIN),), output_dir=str(zoo.out))

    @examples(size, 60, 300)
    @given(yaml_texts(DOCUMENT))
    def check(content):
        path.write_bytes(content)
        plan = refused_or(lambda: make_plan(request))
        if plan is not None:
            assert plan.runs and len(plan.runs) <= 1_000_000
            assert len({(run.key, run.weights) for run in plan.runs}) == len(plan.runs)

    check()


def test_a_sweep_file_on_the_command_line_ends_in_a_line(size, zoo, tmp_path):
    path = tmp_path / "odd.yaml"
    argv = ["sweep", *zoo.common, "--sweep", str(path), "--output-dir", str(zoo.out), "--dry-run"]

    @examples(size, 15, 100)
    @given(yaml_texts(DOCUMENT))
    def check(content):
        path.write_bytes(content)
        call(argv)

    check()


def test_a_sweep_file_with_each_odd_value_at_each_place_ends_in_a_line(size, zoo, tmp_path):
    """One after the other, as what draws do not come to is found by users."""
    path = tmp_path / "odd.yaml"
    argv = ["sweep", *zoo.common, "--sweep", str(path), "--output-dir", str(zoo.out), "--dry-run"]
    odd = (None, [{"a": 1}]) if size == "few" else (*ODD_VALUES, [{"a": 1}], {"a": [{}]})
    for place in places(DOCUMENT):
        for value in odd:
            path.write_text(yaml.safe_dump(changed(DOCUMENT, place, "set", value)))
            call(argv)


def test_flags_of_a_sweep_end_in_a_line(size, zoo, tmp_path):
    path = tmp_path / "sound.yaml"
    path.write_text("datasets: [ZooMain]\ntrainers: [ZooLinear]\nshots: [1]\nseeds: [1]\n")
    argv = ["sweep", *zoo.common, "--sweep", str(path), "--output-dir", str(zoo.out), "--dry-run"]
    flags = ("shots", "seeds", "folds", "repeats", "jobs", "trainers", "datasets", "external")
    flags += ("backbone", "weights", "opts", "split", "sweep", "adopt", "plugin", "root")
    given_flags = st.lists(st.tuples(st.sampled_from(flags), ANY_WORD), min_size=1, max_size=3)

    @examples(size, 20, 200)
    @given(given_flags)
    def check(pairs):
        call([*argv, *(w for flag, word in pairs for w in (f"--{flag}", word))])

    check()
