"""Paired differences: zero against itself, equal to a plain loop, never of a wrong pair."""

import csv
import random
import re

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from cerviclip.evaluation.comparing.quantities import check_comparable
from cerviclip.evaluation.names import NO_IDS
from cerviclip.runs.comparison.compare import Request, compare
from cerviclip.runs.comparison.tables import (
    comparison_csv,
    comparison_record,
    difference_tables,
)
from cerviclip.runs.predictions import Predictions, write_predictions
from cerviclip.runs.report.formats import to_json, to_latex, to_markdown
from cerviclip.runs.report.groups import group_runs
from dassl.errors import UserError

CLASSES = ("cyst", "cancer, invasive", "normal")
FAR = "mean of FarA, FarB"


def rows(rate, seed=0, patients=8, prefix="P"):
    """(path, patient, class, predicted class); a share of ``rate`` is right, by its own draw."""
    images = np.random.default_rng(7)  # the same images in every run
    says = np.random.default_rng(seed)
    out = []
    for p in range(patients):
        for i in range(images.integers(1, 6)):
            label = images.choice(CLASSES)
            wrong = says.choice([c for c in CLASSES if c != label])
            said = label if says.random() < rate else wrong
            out.append((f"{prefix}{p}_{i}.png", f"{prefix}{p}", str(label), str(said)))
    return out


def as_predictions(center, lines):
    """Predictions whose most probable class is the one that each line says."""
    number = {name: c for c, name in enumerate(CLASSES)}
    return Predictions(
        center=center,
        paths=[line[0] for line in lines],
        patient_ids=[line[1] for line in lines],
        labels=np.array([number[line[2]] for line in lines], dtype=np.int64),
        probs=0.2 + 0.4 * np.eye(3)[[number[line[3]] for line in lines]].reshape(-1, 3),
        classnames=CLASSES,
    )


@pytest.fixture
def add_run(tmp_path):
    """``add_run(trainer, seed, centers)``: a run's folder and its results.json content."""

    def add(trainer, seed, centers, shots=16, fold="", **extra):
        folder = tmp_path / f"{trainer}-{shots}-{fold.replace('/', 'of')}{seed}"
        predictions = [as_predictions(center, lines) for center, lines in centers.items()]
        write_predictions(folder, predictions, CLASSES)
        return {
            "status": "done", "dataset": "PhantomOCT", "trainer": trainer, "backbone": "RN50",
            "variant": "default", "shots": shots, "fold": fold, "seed": seed, "split_hash": "one",
            "test_read_early": False, "centers": dict.fromkeys(centers), "folder": str(folder),
            "positive_classes": ["cancer, invasive"],
        } | extra  # fmt: skip

    return add


def three(rate, seed, patients=8):
    """Predictions on the data set's own test part and on two centres."""
    centers = (("test", 12), ("FarA", patients), ("FarB", 5))
    return {c: rows(rate, seed * 10 + i, n, c) for i, (c, n) in enumerate(centers)}


def pairs(runs, against="A", metrics=("accuracy",), centers=(), **more):
    return compare(group_runs(runs), Request(against, metrics, centers, **more))


def test_a_method_against_itself_is_zero(add_run):
    runs = []
    for seed in (1, 2, 3):
        said = three(0.6, seed)
        shuffled = {c: random.Random(seed).sample(lines, len(lines)) for c, lines in said.items()}
        runs += [add_run("A", seed, said), add_run("B", seed, shuffled)]
    metrics = ("accuracy", "kappa", "brier", "macro_auc", "binary.auc", "binary.sensitivity")
    for pair in [*pairs(runs, metrics=metrics), *pairs(runs, metrics=metrics, others=["A"])]:
        assert list(pair.centers) == ["test", "FarA", "FarB", FAR] and pair.seeds == [1, 2, 3]
        for center, entry in pair.centers.items():
            assert (entry["value"], entry["low"], entry["high"], entry["p_holm"]) == (0, 0, 0, 1)
            assert pair.significant(center) == 0
    text = to_markdown(difference_tables(pairs(runs))[0])
    assert "| no difference |" in text and "▲ significantly" not in text


def plain(metric, lines):
    """One metric of a list of images, repeated ones included."""
    if metric == "accuracy":
        return 100 * sum(said == label for _, _, label, said in lines) / len(lines)
    present = {line[2] for line in lines}
    return 100 * np.mean([
        np.mean([said == label for _, _, label, said in lines if label == c]) for c in present
    ])  # fmt: skip


def planted(wrong):
    """10 patients with 10 images each, a cyst wherever ``wrong(patient, image)`` says so."""
    return [
        (f"{p}_{i}.png", f"P{p}", "normal", "cyst" if wrong(p, i) else "normal")
        for p in range(10) for i in range(10)
    ]  # fmt: skip


def test_a_planted_difference_is_found_with_its_sign_and_marked(add_run):
    good, spread = planted(lambda p, i: False), planted(lambda p, i: i < 2)
    runs = [add_run("A", 1, {"test": good}), add_run("B", 1, {"test": spread})]
    (pair,), (back,) = pairs(runs), pairs(runs, "B")
    entry = pair.centers["test"]
    assert entry["value"] == pytest.approx(20) and 0 < entry["low"] < 20 < entry["high"]
    assert entry["p"] == pytest.approx(2 / 2**10)  # of 10 patients all are better
    assert (pair.significant("test"), back.significant("test")) == (1, -1)
    assert back.centers["test"]["value"] == pytest.approx(-20)
    cell = difference_tables([pair])[0].blocks[0][1][0][1][0]
    assert cell.startswith("+20.0 [") and cell.endswith("▲")
    text = to_markdown(difference_tables([pair])[0])
    assert "▲ significantly better" in text and "for certain" not in text
    assert "cerviclip compare --format csv" in text  # where its p is
    paper = to_latex(difference_tables([pair])[0])
    assert "cerviclip" not in paper and "1 difference of this table" in paper
    assert ",significant,reason" in comparison_csv([pair]).splitlines()[0]


def test_a_spread_of_seeds_that_adds_nothing_is_told(add_run):
    runs = []
    for seed in (1, 2, 3):  # the same images right and wrong at every seed of a method
        for name, wrong in (("A", 1), ("B", 3)):
            lines = planted(lambda p, i, w=wrong: (p + i) % 10 < w)
            runs.append(add_run(name, seed, {"test": lines}))
    (pair,), (fixed,) = pairs(runs), pairs(runs, fixed_runs=True)
    assert [pair.centers["test"][k] for k in ("low", "high")] == [
        fixed.centers["test"][k] for k in ("low", "high")
    ]
    text = to_markdown(difference_tables([pair])[0])
    assert "]▲° |" in text or "]° |" in text
    assert "they add nothing to the interval" in text
    assert "°" not in to_markdown(difference_tables([fixed])[0])
    assert r"^\circ" in to_latex(difference_tables([pair])[0])


def test_a_centre_without_patient_ids_is_named_below_the_differences(add_run):
    runs = [add_run(name, 1, {"test": planted(lambda p, i: False)}) for name in "AB"]
    for run in runs:
        run["centers"]["test"] = {"n_patients": 100, "note": NO_IDS}
    found = pairs(runs)
    assert f"test: {NO_IDS}" in difference_tables(found)[0].notes
    assert comparison_record(found)["notes"] == [f"test: {NO_IDS}"]


def test_of_several_tests_each_row_is_told(add_run):
    """Two runs of B have a clustered test, the one of Z an exact one."""
    good, spread = planted(lambda p, i: False), planted(lambda p, i: (p + i) % 10 < 2)
    runs = [add_run("A", seed, {"test": good}) for seed in (1, 2)]
    runs += [add_run("B", seed, {"test": spread}) for seed in (1, 2)]
    runs += [add_run("Z", 1, {"test": spread})]
    [shown] = difference_tables(pairs(runs))
    [note] = [note for note in shown.notes if note.startswith("test")]
    assert re.fullmatch(r"tests: [^;]+ \(B\); [^;]+ \(Z\)", note)


def test_the_correction_is_of_all_tables_of_a_call(add_run):
    runs = [add_run("A", 1, {"test": planted(lambda p, i: False)})]
    runs += [add_run("B", 1, {"test": planted(lambda p, i: (p + i) % 10 < 2)})]
    found = difference_tables(compare(group_runs(runs), Request("A", ["accuracy", "macro_f1"])))
    for shown in found:
        assert any("2 differences of these 2 tables together" in note for note in shown.notes)


def test_what_makes_an_image_positive_is_said_of_calls_alone(add_run):
    runs = [add_run(name, 1, {"test": planted(lambda p, i: False)}) for name in "AB"]
    metrics = ["binary.sensitivity", "binary.brier"]
    calls, scores = difference_tables(compare(group_runs(runs), Request("A", metrics)))
    assert any("is called positive if" in note for note in calls.notes)
    assert not any("is called positive if" in note for note in scores.notes)


def test_images_of_a_patient_count_together(add_run):
    good, clustered = planted(lambda p, i: False), planted(lambda p, i: p < 2)
    runs = [add_run("A", 1, {"test": good}), add_run("B", 1, {"test": clustered})]
    entry = pairs(runs)[0].centers["test"]
    assert entry["value"] == pytest.approx(20) and entry["high"] - entry["low"] >= 40
    assert entry["p"] == pytest.approx(0.5)  # two patients of two


def test_of_a_loss_less_is_better(add_run):
    good, bad = planted(lambda p, i: False), planted(lambda p, i: i < 5)
    runs = [add_run("A", 1, {"test": good}), add_run("B", 1, {"test": bad})]
    (pair,) = pairs(runs, metrics=["brier"])
    assert pair.centers["test"]["value"] < 0 and pair.significant("test") == 1


def test_holm_counts_every_difference_of_the_call(add_run):
    runs = [add_run(t, 1, three(r, 1)) for t, r in (("A", 0.9), ("B", 0.4), ("C", 0.6))]
    found = pairs(runs, metrics=["accuracy", "macro_f1"])
    entries = [e for c in found for e in c.centers.values()]
    p = [e["p"] for e in entries]
    assert len(p) == 16  # two methods, two metrics, three centres and a mean
    want = multipletests(p, method="holm")[1]
    assert [e["p_holm"] for e in entries] == pytest.approx(want.tolist())


def test_other_seeds_widen_the_interval_and_fixed_runs_do_not_count_them(add_run):
    """Two methods whose runs differ much, on the same patients."""
    runs = [add_run("A", s, {"test": rows(rate, s, 30)}) for s, rate in enumerate((0.3, 0.6, 0.95))]
    runs += [add_run("B", s, {"test": rows(0.3, 9 + s, 30)}) for s in range(3)]
    (wide,), (narrow,) = pairs(runs), pairs(runs, fixed_runs=True)
    one, two = (c.centers["test"] for c in (wide, narrow))
    assert one["value"] == two["value"] and one["p"] > two["p"]
    assert one["high"] - one["low"] > 2 * (two["high"] - two["low"])


def test_what_trains_nothing_meets_every_seed_and_shots(add_run):
    zero = add_run("Zero", 0, three(0.3, 9), shots=0)
    trained = [add_run("A", s, three(0.8, s), shots=k) for k in (1, 16) for s in (1, 2)]
    found = pairs([zero, *trained])
    assert [(p.label, p.shots, p.seeds) for p in found] == [("Zero", k, [1, 2]) for k in (1, 16)]
    back = pairs([zero, *trained], "Zero")
    assert [p.centers[FAR]["value"] for p in back] == [-p.centers[FAR]["value"] for p in found]
    text = to_markdown(difference_tables(found)[0])
    assert "Zero trains nothing" in text and "*" not in text


def test_only_seeds_of_both_are_compared_and_fewer_are_marked(add_run):
    same = three(0.8, 1)
    runs = [add_run("A", 1, same), add_run("A", 2, three(0.8, 2)), add_run("B", 1, same)]
    (pair,) = pairs(runs)
    assert pair.seeds == [1] and pair.centers["test"]["value"] == 0
    assert "no difference*" in to_markdown(difference_tables([pair])[0])
    alone = [run for run in runs if (run["trainer"], run["seed"]) != ("A", 1)]
    assert "share no seed" in pairs(alone)[0].centers["test"]["reason"]


def test_chosen_centers_form_the_mean(add_run):
    said = [three(rate, 1) | {"FarC": rows(rate, 5)} for rate in (0.9, 0.4)]
    runs = [add_run(t, 1, x) for t, x in zip("AB", said, strict=True)]
    entries = pairs(runs, centers=("FarC", "FarA"))[0].centers
    assert list(entries) == ["test", "FarA", "FarB", "FarC", "mean of FarA, FarC"]
    mean = (entries["FarA"]["value"] + entries["FarC"]["value"]) / 2
    assert entries["mean of FarA, FarC"]["value"] == pytest.approx(mean)


def test_other_images_give_no_number_but_a_reason(add_run):
    def entries(trainer, change):
        said = three(0.5, 2)
        change(said)
        return pairs([ours, add_run(trainer, 1, said)])[0].centers

    ours = add_run("A", 1, three(0.8, 1))
    missing = entries("B", lambda said: said["FarA"].pop())
    counts = "same images: 33 and 32 images, 32 of them in both"
    assert missing["FarA"]["value"] is None and counts in missing["FarA"]["reason"]
    assert missing[FAR]["reason"].startswith("FarA: ") and missing[FAR]["value"] is None
    assert missing["test"]["low"] is not None and missing["FarB"]["low"] is not None
    path, _, label, said = three(0.5, 2)["FarA"][0]
    moved = entries("C", lambda said_: said_["FarA"].__setitem__(0, (path, "Q", label, said)))
    assert moved["FarA"]["value"] is None  # the same image of another patient
    gone = entries("D", lambda said: said.update(FarA=[]))
    assert "no predictions" in gone["FarA"]["reason"]


def test_fewer_than_three_patients_have_no_interval(add_run):
    runs = [add_run(t, 1, three(r, 1, patients=2)) for t, r in (("A", 0.9), ("B", 0.2))]
    entries = pairs(runs)[0].centers
    for center in ("FarA", FAR):
        assert entries[center]["low"] is None and entries[center]["value"] is not None
        assert "at least 3 patients" in entries[center]["reason"]
    assert "at least 3 patients" in to_markdown(difference_tables(pairs(runs))[0])


def test_runs_on_different_splits_are_refused_in_one_line(add_run):
    runs = [add_run(t, 1, three(0.5, 1), split_hash=t) for t in "AB"]
    with pytest.raises(UserError, match="A-16-1 and .*B-16-1 are on different splits") as error:
        pairs(runs)
    assert "\n" not in str(error.value)


def in_folds(add_run, trainer, seed, lines, far, shots=16, folds=5, **extra):
    """Runs of one seed on all folds: each tests a part of the patients, and all of a far centre."""
    runs = []
    for n in range(folds):
        part = [line for line in lines if int(line[1][1:]) % folds == n]
        centers = {"test": part, "FarA": far[n]}
        fold = f"{n + 1}/{folds}"
        runs.append(add_run(trainer, seed, centers, shots, fold, split_hash=f"split {n}", **extra))
    return runs


def test_folds_are_put_together_at_home_and_counted_one_by_one_elsewhere(add_run):
    """The same numbers as one run that had said all of it at home."""
    home = {(t, s): rows(r, s, 12) for t, r in (("A", 0.8), ("B", 0.4)) for s in (1, 2)}
    far = {t: [rows(r, n, 8, "F") for n in range(5)] for t, r in (("A", 0.9), ("B", 0.3))}
    runs = [run for (t, s), lines in home.items() for run in in_folds(add_run, t, s, lines, far[t])]
    (pair,) = pairs(runs)
    assert (pair.seeds, len(pair.repeats), pair.fewer_runs) == ([1, 2], 10, False)
    whole = [add_run(f"{t}w", s, {"test": lines}) for (t, s), lines in home.items()]
    alone = pairs(whole, "Aw")[0].centers["test"]  # Holm's correction counts it alone
    assert pair.centers["test"] == alone | {"p_holm": 2 * alone["p_holm"]}
    assert pair.centers["test"]["low"] < pair.centers["test"]["high"]
    ours, other = ([plain("accuracy", lines) for lines in far[t]] for t in "AB")
    assert pair.centers["FarA"]["value"] == pytest.approx(np.mean(ours) - np.mean(other))
    table = difference_tables([pair])[0]
    told = "; ".join(table.notes)
    assert "mean over the folds and seeds that both methods have [95 % interval, patients" in told
    assert "at test the predictions of a seed's folds are put together" in told
    assert "at test patients alone" not in told
    one = pairs([run for run in runs if run["seed"] == 1])
    assert "taken as random, at test patients alone]" in "; ".join(difference_tables(one)[0].notes)
    record = comparison_record([pair])
    assert (record["schema_version"], record["comparisons"][0]["folds"]) == (4, 5)
    line = next(csv.DictReader(comparison_csv([pair]).splitlines()))
    assert (line["folds"], line["seeds"]) == ("5", "1;2")


def test_what_trains_nothing_meets_each_seed_on_its_folds(add_run):
    lines, far = rows(0.5, 1, 12), [rows(0.5, 9, 8, "F")] * 5
    zero = in_folds(add_run, "Zero", 0, lines, far, shots=0)
    trained = [run for s in (1, 2) for run in in_folds(add_run, "A", s, lines, far)]
    (pair,) = pairs([*zero, *trained])
    assert pair.seeds == [1, 2] and not pair.fewer_runs
    assert pair.centers["test"]["value"] == pair.centers["test"]["high"] == 0
    # Of the folds that only one method has there is no pair.
    (part,) = pairs([*zero[:3], *trained])
    assert {repeat.fold for repeat in part.repeats} == {"1/5", "2/5", "3/5"} and part.fewer_runs
    assert part.centers["test"]["value"] == 0


def test_folds_and_a_plain_split_are_not_compared(add_run):
    lines, far = rows(0.5, 1, 12), [rows(0.5, 9, 8, "F")] * 5
    plain_run = add_run("B", 1, {"test": lines})
    found = pairs([*in_folds(add_run, "A", 1, lines, far), plain_run], "A [5 folds]")
    assert "share no seed (or no fold)" in found[0].centers["test"]["reason"]


def test_runs_of_one_fold_on_different_splits_are_refused(add_run):
    runs = [add_run(t, 1, three(0.5, 1), fold="1/2", split_hash=t) for t in "AB"]
    with pytest.raises(UserError, match="different splits of PhantomOCT"):
        pairs(runs)


def test_centers_with_few_patients_are_named(add_run):
    said = {"test": rows(0.6), "FarA": rows(0.6, patients=40)}
    sizes = {"test": {"n_patients": 8}, "FarA": {"n_patients": 40}}
    runs = [add_run(trainer, 1, said) | {"centers": sizes} for trainer in "AB"]
    text = to_markdown(difference_tables(pairs(runs))[0])
    assert "test 8 patients" in text and "FarA 40" not in text


def test_unknown_names_are_refused_with_the_known_ones(add_run):
    runs = [add_run("SAVLT", 1, three(0.5, 1)), add_run("CoOp", 1, three(0.5, 2))]
    with pytest.raises(UserError, match="'savlt', did you mean 'SAVLT'.*known: CoOp, SAVLT"):
        pairs(runs, "savlt")
    with pytest.raises(UserError, match="no external centre 'test'.*known: FarA, FarB"):
        pairs(runs, "SAVLT", centers=["test"])
    alone = [add_run(trainer, 2, {"val": rows(0.6)}) for trainer in ("SAVLT", "CoOp")]
    with pytest.raises(UserError, match="no external centre 'val'.*known: none"):
        pairs(alone, "SAVLT", centers=["val"])
    with pytest.raises(UserError, match="binary.jaccard.*accuracy"):
        check_comparable("binary.jaccard")
    with pytest.raises(UserError, match="no class 'cist' in .*known: cyst"):
        pairs(runs, "SAVLT", metrics=["per_class.cist.f1"])


def test_a_file_cut_short_is_named(add_run, tmp_path):
    runs = [add_run(t, 1, three(0.5, 1)) for t in "AB"]
    path = tmp_path / "B-16-1" / "predictions.csv"
    path.write_text(path.read_text().rsplit(",", 2)[0])
    with pytest.raises(UserError, match="B-16-1.predictions.csv is not .* has 6 columns"):
        pairs(runs)
    path.unlink()
    assert "no predictions" in pairs(runs)[0].centers["test"]["reason"]


def test_every_format_has_the_same_numbers(add_run):
    runs = [
        add_run(t, 1, three(r, 1), shots=k) for t, r in (("A", 0.2), ("B_x", 0.9)) for k in (1, 4)
    ]
    found = pairs(runs)
    (table,) = difference_tables(found)
    assert table.title.startswith("PhantomOCT (phantom data): A minus each other, accuracy")
    assert table.columns == ["1", "4"] and [c for c, _ in table.blocks][-1] == FAR
    cell = table.blocks[0][1][0][1][0]
    assert cell.startswith("−") and f"| test | B_x | {cell} |" in to_markdown(table)
    tex = cell.replace("−", "$-$").replace("▼", r"$\bigtriangledown$")
    assert rf"test & B\_x & {tex} &" in to_latex(table)
    record = comparison_record(found)["comparisons"][0]
    assert '"against": "A"' in to_json(record) and record["seeds"] == [1]
    line = next(csv.DictReader(comparison_csv(found).splitlines()))
    assert float(line["difference"]) == record["centers"]["test"]["value"]
    assert (line["trainer"], line["shots"], line["center"]) == ("B_x", "1", "test")


def test_differences_are_headed_by_the_title(add_run):
    runs = [add_run(name, 1, three(0.6, 1)) for name in ("A", "B")]
    for run in runs:
        run["runtime"] = {"title": "Cervix OCT, Hospital A"}
    [table] = difference_tables(pairs(runs))
    assert table.title.startswith("Cervix OCT, Hospital A (phantom data): A minus each other")
    runs[0]["runtime"] = {}
    [table] = difference_tables(pairs(runs))
    assert table.title.startswith("PhantomOCT (phantom data): A minus")
    assert any("different titles" in note for note in table.notes)
