"""Which runs a sweep asks for, and what is refused before any of them starts."""

import re

import pytest

from cerviclip.runs.settings.flags import sweep_parser, sweep_request, train_parser
from cerviclip.runs.settings.plan import make_plan
from dassl.errors import UserError

ENTRIES = "trainers: [ZooConstant, ZooLinear]\nshots: [1, 4, full]\nseeds: [1, 2]\n"


def asked(argv):
    return sweep_request(sweep_parser().parse_args(argv))


def plan_of(zoo, text=ENTRIES, *flags):
    return make_plan(asked(zoo.sweep(text, *flags)))


def test_every_shot_count_and_seed_but_one_run_where_nothing_is_trained(zoo):
    runs = plan_of(zoo).runs
    assert len(runs) == 1 + 3 * 2
    assert (runs[0].trainer, runs[0].num_shots, runs[0].seed) == ("ZooConstant", 0, 0)
    assert {(r.num_shots, r.seed) for r in runs[1:]} == {
        (k, s) for k in (1, 4, -1) for s in (1, 2)
    }  # fmt: skip
    assert runs[-1].shots == "full"


def test_flags_override_the_yaml(zoo):
    runs = plan_of(zoo, ENTRIES, "--trainers", "ZooLinear", "--shots", "8", "--seeds", "7").runs
    assert [(r.trainer, r.num_shots, r.seed) for r in runs] == [("ZooLinear", 8, 7)]


def test_what_the_flags_leave_out_is_kept_apart(zoo):
    assert plan_of(zoo).unchosen == []
    plan = plan_of(zoo, ENTRIES, "--trainers", "ZooLinear", "--shots", "4", "8", "--seeds", "2")
    assert {(r.trainer, r.shots, r.seed) for r in plan.runs} == {
        ("ZooLinear", "4", 2), ("ZooLinear", "8", 2)
    }  # fmt: skip
    assert {(r.trainer, r.shots, r.seed) for r in plan.unchosen} == {
        ("ZooConstant", "0", 0),
        *(("ZooLinear", k, s) for k in ("1", "4", "full") for s in (1, 2) if (k, s) != ("4", 2)),
    }
    assert plan.order == plan_of(zoo).order


def test_trainers_flag_keeps_the_entries_settings(zoo):
    text = (
        "trainers:\n- {trainer: ZooLinear, name: slow, opts: {OPTIM.LR: 0.01}}\n- ZooConstant\n"
        "shots: [1]\nseeds: [1]\n"
    )
    runs = plan_of(zoo, text, "--trainers", "ZooLinear", "ZooPeeker").runs
    assert [(r.trainer, r.variant) for r in runs] == [
        ("ZooLinear", "slow"),
        ("ZooPeeker", "default"),
    ]
    assert runs[0].opts[-2:] == ("OPTIM.LR", 0.01)


def test_folds_by_overrides_are_runs_of_their_own(zoo):
    entries = ", ".join(f"{{trainer: ZooLinear, opts: {{DATASET.FOLD: {n}/3}}}}" for n in (1, 2, 3))
    runs = plan_of(zoo, f"trainers: [{entries}]\nshots: [1]\nseeds: [1]\n").runs
    assert [run.key.fold for run in runs] == ["1/3", "2/3", "3/3"]
    assert runs[1].title == "ZooLinear on ZooMain, shots 1, fold 2/3, seed 1"
    with pytest.raises(UserError, match="DATASET.FOLD is '5:3'"):
        plan_of(zoo, ENTRIES, "--opts", "DATASET.FOLD", "5:3")


def test_external_of_the_sweep_is_for_its_own_datasets(zoo):
    text = "external: [ZooFar]\n" + ENTRIES
    key = "TEST.EXTERNAL"
    assert (key, ("ZooFar",)) in list(
        zip(*[iter(plan_of(zoo, text).runs[0].opts)] * 2, strict=True)
    )
    other = plan_of(zoo, text, "--datasets", "ZooFar").runs[0]
    assert other.opts[0] != key
    none = plan_of(zoo, text, "--external").runs[0]
    assert none.opts[-2:] == (key, ())


def test_the_flag_for_external_centers_wins_over_the_sweeps_opts(zoo):
    key = "TEST.EXTERNAL"
    text = f"trainers: [{{trainer: ZooLinear, opts: {{{key}: [ZooFar, ZooMain]}}}}]\n"
    text += "shots: [1]\nseeds: [1]\n"

    def external(*flags):
        opts = plan_of(zoo, text, *flags).runs[0].opts  # those of `zoo.sweep` name ZooFar alone
        return dict(zip(opts[::2], opts[1::2], strict=True))[key]

    assert external() == ("ZooFar", "ZooMain")
    assert external("--external") == ()
    assert external("--external", "ZooFar") == ("ZooFar",)
    assert external("--external", "ZooFar", "--opts", key, "[]") == "[]"  # the last word


def test_entry_backbone_wins_over_the_flag(zoo):
    text = "trainers: [{trainer: ZooLinear, backbone: own}, ZooPeeker]\nshots: [1]\nseeds: [1]\n"
    runs = plan_of(zoo, text, "--backbone", "flag").runs
    assert [r.backbone for r in runs] == ["own", "flag"]


@pytest.mark.parametrize(
    "text, flags, words",
    [
        (ENTRIES, ["--trainers", "ZooLinaer"], "ZooLinaer.*did you mean 'ZooLinear'"),
        (ENTRIES, ["--datasets", "ZooMian"], "ZooMian.*ZooMain"),
        (ENTRIES, ["--shots", "two"], "'two'"),
        (ENTRIES, ["--shots", "-4"], "-4|expected at least one"),
        (ENTRIES, ["--shots", "1.5"], "'1.5'"),
        (ENTRIES, ["--shots", "0"], "0 shots.*ZooLinear"),
        (ENTRIES, ["--seeds", "x"], "'x'"),
        (ENTRIES, ["--jobs", "0"], "--jobs is 0"),
        (ENTRIES, ["--shot", "1"], "--shot"),
        (ENTRIES + "external: ZooFar\n", [], "list of dataset names"),
        (ENTRIES + "external: [ZooFra]\n", [], "ZooFra.*ZooFar"),
        (ENTRIES + "trainer: [ZooLinear]\n", [], "'trainer'.*did you mean 'trainers'"),
        ("trainers: [{name: x}]\nshots: [1]\nseeds: [1]\n", [], "trainer: NAME"),
        (
            "trainers: [{trainer: ZooLinear, opt: {}}]\nshots: [1]\nseeds: [1]\n",
            [],
            "'opt'.*'opts'",
        ),
        (
            "trainers: [ZooLinear, {trainer: ZooLinear, opts: {OPTIM.LR: 1}}]\nshots: [1]\n"
            "seeds: [1]\n",
            [],
            "two entries of ZooLinear",
        ),
        ("trainers: [\n", [], "not valid yaml"),
        ("trainers: [ZooLinear]\nseeds: [1]\n", [], "no shots"),
    ],
)
def test_what_cannot_be_is_one_line(zoo, text, flags, words):
    with pytest.raises(UserError) as caught:
        plan_of(zoo, text, *flags)
    assert re.search(words, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def test_unknown_sweep_lists_those_there_are(zoo):
    with pytest.raises(UserError, match="no sweep 'dmeo', did you mean 'demo'"):
        make_plan(asked(["--sweep", "dmeo"]))


def test_demo_is_91_runs_of_seven_methods():
    runs = make_plan(asked([])).runs
    assert len(runs) == 91
    assert len({r.trainer for r in runs}) == 7
    assert {r.num_shots for r in runs} == {0, 1, 2, 4, 8, 16}
    assert all(r.dataset == "PhantomOCT" for r in runs)


FOLDS = f"{ENTRIES}folds: 3\n"


def test_folds_make_every_run_once_on_each_fold(zoo):
    runs = plan_of(zoo, FOLDS).runs
    assert len(runs) == 3 * (1 + 3 * 2) and len({run.key.folder("") for run in runs}) == len(runs)
    for fold in ("1/3", "2/3", "3/3"):
        own = [run for run in runs if run.key.fold == fold]
        assert [(r.trainer, r.num_shots, r.seed) for r in own] == [
            (r.trainer, r.num_shots, r.seed) for r in plan_of(zoo).runs
        ]
        assert all(run.request().opts[-2:] == ("DATASET.FOLD", fold) for run in own)


def test_the_flag_overrides_the_yamls_folds_and_keeps_them_for_the_table(zoo):
    plan = plan_of(zoo, FOLDS, "--folds", "2")
    assert {run.key.fold for run in plan.runs} == {"1/2", "2/2"}
    assert {run.key.fold for run in plan.unchosen} == {"1/3", "2/3", "3/3"}
    assert plan_of(zoo, FOLDS, "--folds", "0").runs == plan_of(zoo).runs


@pytest.mark.parametrize("folds", ["1", "-2", "3/10", "ten", "2.5"])
def test_a_senseless_number_of_folds(zoo, folds):
    with pytest.raises(UserError, match="folds are a whole number from 2"):
        plan_of(zoo, ENTRIES, f"--folds={folds}")


def test_folds_and_an_override_of_the_fold_contradict_each_other(zoo):
    with pytest.raises(UserError, match="asks for 3 folds, and an override sets DATASET.FOLD"):
        plan_of(zoo, FOLDS, "--opts", "DATASET.FOLD", "1/3")


def test_a_variant_names_every_run_of_a_sweep(zoo):
    text = "trainers: [ZooLinear, {trainer: ZooLinear, name: slow}]\nshots: [1]\nseeds: [1, 2]\n"
    plan = plan_of(zoo, text, "--variant", "mine", "--seeds", "1")
    assert [run.variant for run in plan.runs] == ["mine", "mine-slow"]
    assert [run.variant for run in plan.unchosen] == ["mine", "mine-slow"]
    assert plan.order == [("ZooLinear", "mine"), ("ZooLinear", "mine-slow")]
    assert plan_of(zoo, text, "--trainers", "slow", "--variant", "b").runs[0].variant == "b-slow"


def test_every_flag_of_train_and_sweep_has_a_help_and_examples_take_own_data():
    for parser in (train_parser(), sweep_parser()):
        assert [a.dest for a in parser._actions if not a.help] == []
        assert "FolderDataset" in parser.epilog and "DATASET.EXTERNAL_FOLDERS" in parser.epilog
        assert all(len(line) < 100 for line in (parser.epilog % {"prog": "x"}).splitlines())
