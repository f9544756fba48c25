"""What was drawn, and how its classes compare with those that were scored, with their numbers."""

import copy
import dataclasses

from report_fixtures import training_source

from cerviclip.report.sentences.draws import draw_sentence, imbalance_sentence


def per_class(**images):
    return {
        "images": sum(images.values()),
        "per_class": {k: {"images": v} for k, v in images.items()},
    }


def imbalance(part, train, test, positive=(), **run):
    source = training_source(part)
    source["used"] |= {"train": train, "test": test}
    part.run.update({"shots": 2, "positive_classes": list(positive), **run})
    return imbalance_sentence(part)


def test_prevalences_differ_only_where_their_numbers_do(part):
    told = imbalance(part, per_class(a=16, b=16), per_class(a=40, b=40))
    assert "16 images of each class; every class has the same share" in told
    assert "differ" not in told
    told = imbalance(part, per_class(a=16, b=16), per_class(a=10, b=30), ["a"])
    assert "the positive group is 50.0 % of the images in training and 25.0 % in test" in told
    told = imbalance(part, per_class(a=9, b=9, c=9), per_class(a=10, b=20, c=15), ["a", "b"])
    assert "positive group is 66.7 % of the images in training and 66.7" not in told
    assert "the positive group has the same share" in told and "(66.7 %)" in told
    assert "the class whose share differs most" in told
    told = imbalance(part, per_class(a=16, b=16), per_class(a=10, b=30))
    assert "positive" not in told and "a is 50.0 % of the images in training and 25.0 %" in told


def test_a_class_with_fewer_images_than_shots_is_not_called_equal(part):
    told = imbalance(part, per_class(a=16, b=11), per_class(a=1, b=1))
    assert "11 to 16 images of each class" in told and "equally many" not in told


def test_draws_of_all_shots_are_told(part):
    told = imbalance(part, per_class(a=2, b=2), per_class(a=1, b=1))
    assert "takes 2 images of each class;" in told
    other = {**part.run, "shots": 8, "flow": copy.deepcopy(part.run["flow"]), "folder": "-"}
    next(iter(other["flow"]["sources"].values()))["used"]["train"] = per_class(a=8, b=8)
    part.groups.append(dataclasses.replace(part.groups[0], shots=8, runs=[other]))
    told = imbalance_sentence(part)
    assert "takes 2 or 8 images of each class, by the shots of the run" in told


def test_shares_in_folds_are_of_all_folds(part):
    """One fold's shares were told as if they were the study's."""
    imbalance(part, per_class(a=2, b=2), per_class(a=9, b=1))
    second = {**part.run, "fold": "2/2", "flow": copy.deepcopy(part.run["flow"])}
    next(iter(second["flow"]["sources"].values()))["used"]["test"] = per_class(a=1, b=9)
    part.featured = dataclasses.replace(part.featured, folds=2, runs=[part.run, second])
    told = imbalance_sentence(part)
    assert "over the 2 folds, which are all test once, every class has the same share" in told


def test_no_draw_no_balance(part):
    told = imbalance(part, per_class(a=5, b=5), per_class(a=9, b=9), shots="full")
    assert "no balance was made" in told and "differ" not in told
    told = imbalance(part, per_class(a=5, b=5), per_class(a=9, b=1), shots=0)
    assert told == "the run shown in detail learned from no image, so no balance was made"
    assert imbalance(part, {}, {}) == (
        "the draw takes equally many images of each class, where it has so many"
    )


def test_base_to_new_and_what_was_learned_without_labels_are_told(part, tmp_path):
    assert "without their labels" not in draw_sentence(part) and "base" not in draw_sentence(part)
    run = part.groups[0].runs[0]
    part.run["base_to_new"] = {"base_classes": ["a_b"], "new_classes": ["c", "d"]}
    told = draw_sentence(part)
    assert "learned the base classes alone (a b)" in told and "not seen (c, d)" in told
    run["folder"] = str(tmp_path)
    section = run["trainer"].upper()
    (tmp_path / "config.yaml").write_text(f"TRAINER:\n  {section}:\n    WEIGHT_U: 1.0\n")
    assert "learned from the other images of train as well, without" in draw_sentence(part)
    (tmp_path / "config.yaml").write_text(f"TRAINER:\n  {section}:\n    WEIGHT_U: 0.0\n")
    assert "without their labels" not in draw_sentence(part)
