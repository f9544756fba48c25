"""A draft of runs of a federation says that it is one, and val ranks no other centre's images."""

import csv
import json
import shutil

import pytest

from cerviclip.federated.record import RECORD
from cerviclip.report.content import build_document
from cerviclip.report.document import Table
from cerviclip.report.study import BY_VAL, Study
from dassl.errors import UserError

CENTERS = ("east", "west")
LEDGER = {
    "trainer": "ZooLinear",
    "strategy": "fedprox",
    "mu": 0.01,
    "centers": list(CENTERS),
    "encrypted": True,
    "bytes_up": 2**19,
    "bytes_down": 2**19,
    "rounds": [{"round": n, "participants": 2, "images": {"east": 6, "west": 9}} for n in (1, 2)],
}


@pytest.fixture
def folder(runs, tmp_path):
    """A federation's folder as `cerviclip federate` leaves it, made of copies of one run."""
    root = tmp_path / "fed"
    for way in ("local", "federated"):
        for center in CENTERS:
            place = shutil.copytree(runs / "ZooLinear", root / way / center)
            change(place, center, variant=f"{way}-{center}", split_hash=center)
            rename_val(place, center)
            if way == "federated":
                federate(place)
    place = shutil.copytree(runs / "ZooLinear", root / "pooled" / "all")
    change(place, "all", variant="pooled-all", split_hash="all")
    (root / RECORD).write_text(json.dumps(LEDGER))
    return root


def change(place, center, **values):
    results = json.loads((place / "results.json").read_text()) | values
    results["runtime"]["host"] = f"machine of {center}"
    (place / "results.json").write_text(json.dumps(results))


def federate(place, **training):
    results = json.loads((place / "results.json").read_text())
    results["runtime"].setdefault("trainer", {})["federated"] = {"rounds": 2, "mu": 0.01}
    results["setup"]["training"] |= {"epochs": 4} | training
    (place / "results.json").write_text(json.dumps(results))


def rename_val(place, center):
    """Val images of the centre's own."""
    path = place / "val_predictions.csv"
    with open(path, newline="") as handle:
        reader = csv.DictReader(handle)
        names, rows = list(reader.fieldnames), list(reader)
    column = next(name for name in names if "path" in name)
    with open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {column: f"{center}/{row[column]}"} for row in rows)


def draft(folder, tmp_path):
    return build_document(Study.read(folder), tmp_path / "figures")


def text_of(document):
    return "\n".join(block.words for block in document.blocks)


def test_the_methods_say_how_the_federation_worked(folder, tmp_path):
    text = text_of(draft(folder, tmp_path))
    for said in (
        "Training across centres (federation)",
        "one model across 2 centres",
        "east (6 images), west (9 images)",
        "In each of 2 rounds",
        "for 2 epochs (4 in all)",
        "FedProx",
        "with mu 0.01",
        "1.00 MiB, both ways together, encrypted (TLS)",
        "No image and no patient's name was sent",
        "no centre kept a part of the model of its own",
        "trained at east, west on the images of that centre alone (local)",
        "all centres in one place (pooled)",
        "each centre's own val images",
    ):
        assert said in text, said
    assert "simulation" not in text
    assert str(tmp_path) not in text, "the authors' folders are nobody's business"
    assert "paired by patient" not in text and "different splits" in text


def test_fedavg_rounds_that_do_not_divide_and_one_machine(folder, tmp_path):
    ledger = LEDGER | {"strategy": "fedavg", "mu": 0.0, "encrypted": False}
    (folder / RECORD).write_text(json.dumps(ledger))
    for center in CENTERS:
        federate(folder / "federated" / center, epochs=5)
        change(folder / "federated" / center, "everybody")
    text = text_of(draft(folder, tmp_path))
    assert "(FedAvg; McMahan" in text and "FedProx; Li" not in text
    assert "for 2 or 3 epochs (5 in all)" in text
    assert "not encrypted" in text and "this is a simulation of a federation" in text


def test_ways_of_training_stand_beside_each_other(folder, tmp_path):
    document = draft(folder, tmp_path)
    start = "Accuracy (%) of each way of training"
    (table,) = (b for b in document.blocks if isinstance(b, Table) and b.caption.startswith(start))
    assert table.head == ("training", "east", "west")
    assert [row[0] for row in table.rows] == ["local", "federated", "pooled"]
    whole = next(b for b in document.blocks if isinstance(b, Table) and "by image." in b.caption)
    accuracy = next(row[1] for row in whole.rows if row[0] == "Accuracy (%)")
    assert set(table.rows[0][1:]) == {accuracy}


def test_one_centre_alone_leaves_the_others_to_the_authors(folder, tmp_path):
    shutil.rmtree(folder / "federated" / "west")
    shutil.rmtree(folder / "local")
    (folder / RECORD).unlink()
    text = text_of(draft(folder, tmp_path))
    assert "the files name east; [AUTHORS: the other centres" in text and "mu 0.01" in text
    assert "In each of 2 rounds" in text and "MiB" not in text and "(local)" not in text


def test_a_damaged_record_is_one_line(folder, tmp_path):
    (folder / RECORD).write_text("{")
    with pytest.raises(UserError, match="federation.json cannot be used.*leaves blanks"):
        draft(folder, tmp_path)


def test_the_run_in_detail_is_not_chosen_on_other_centres_val_images(folder):
    part = Study.read(folder).parts[0]
    assert part.featured.variant in ("federated-east", "local-east")
    assert part.why != BY_VAL and "whose runs of a seed have the same val images" in part.why
    assert "ZooLinear (federated-east), ZooLinear (local-east)" in part.why
    assert "west" not in part.why and "come first in the table" in part.why
    shutil.rmtree(folder / "federated")
    part = Study.read(folder).parts[0]
    assert "no two methods with the most shots have the same val images" in part.why


def test_no_federation_no_word_of_one(document):
    assert "federat" not in text_of(document).lower()


def rows_of(document, start):
    return next(
        b.rows for b in document.blocks if isinstance(b, Table) and b.caption.startswith(start)
    )


def test_every_centre_has_its_card_parts_and_leaks(folder, tmp_path):
    """The draft showed the data of one centre alone."""
    place = folder / "federated" / "west"
    results = json.loads((place / "results.json").read_text())
    results["flow"]["sources"]["ZooMain"]["seen"] = {"images": 4321, "patients": 77}
    results["flow"]["leaks"]["patients_in_two_parts"]["count"] = 5
    results["warnings"] = ["west has a warning"]
    results["runtime"]["title"] = "Hospital West"
    (place / "results.json").write_text(json.dumps(results))
    document = draft(folder, tmp_path)
    assert document.title == "Methods and results: ZooMain (east, west)"
    text = text_of(document)
    for name in CENTERS:
        assert f"Class imbalance, {name}: " in text and f"{name}: Hashes (sha256)" in text
        assert f"\n{name}: " in text
    card = dict(rows_of(document, "Data card of west."))
    assert card["Images (patients)"] == "4,321 (77)" and "west has" in card["Known defects"]
    assert dict(rows_of(document, "Data card of east."))["Images (patients)"] != "4,321 (77)"
    parts = {row[:2] for row in rows_of(document, "Images (patients) by source")}
    pooled = "all centres (pooled)"
    assert {(c, p) for c in (*CENTERS, pooled) for p in ("train", "val", "test")} <= parts
    leaks = {row[:2]: row[2] for row in rows_of(document, "Leaks looked for")}
    assert leaks["west", "patients in two parts of the split"] == "5"
    assert leaks["east", "patients in two parts of the split"] != "5"
    assert any(row[0] == "ZooFar, model of west" for row in rows_of(document, "Leaks looked for"))
    assert "whether any patient was seen at two centres" in text
    assert f"Data card of {pooled}" not in text and "Data card of ZooFar." in text


def test_few_test_patients_stand_below_the_ways_of_training(folder, tmp_path):
    document = draft(folder, tmp_path)
    start = "Accuracy (%) of each way of training"
    (table,) = (b for b in document.blocks if isinstance(b, Table) and b.caption.startswith(start))
    whole = next(b for b in document.blocks if isinstance(b, Table) and "by image." in b.caption)
    size = next(row[1] for row in whole.rows if row[0] == "images / patients")
    assert f"Test images / patients: east {size}, west {size}." in table.note
    assert "Few patients (fewer than 20 in all" in table.note
    assert "a mean over centres counts it like a large one" in table.note
