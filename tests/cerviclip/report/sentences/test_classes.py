"""A class has one name in the draft; the data card says what else it is called."""

import json
import shutil

from cerviclip.report.content import build_document
from cerviclip.report.sentences.classes import explained
from cerviclip.report.study import Study

FOLDER, WHOLE = "high-grade_squamous_intraepithelial_lesion", "high-grade squamous"


def test_names_are_explained_once():
    told = explained(["cyst", FOLDER])
    assert told == (
        "cyst, HSIL (high-grade squamous intraepithelial lesion); in files and folders: cyst, "
        f"{FOLDER}"
    )
    assert explained(["cyst", "a b"]) == "cyst, a b"
    assert explained(["mild_x"]) == "mild x; in files and folders: mild_x"


def test_a_class_is_called_alike_in_the_whole_draft(runs, tmp_path):
    folder = shutil.copytree(runs, tmp_path / "runs") / "ZooLinear"
    text = (folder / "results.json").read_text()
    positive = json.loads(text)["positive_classes"][0]
    (folder / "results.json").write_text(text.replace(f'"{positive}"', f'"{FOLDER}"'))
    config = (folder / "config.yaml").read_text()
    chosen = "  NAME: ZooMain\n  POSITIVE: [" + FOLDER + "]\n"
    lines = [line for line in config.splitlines(True) if not line.startswith("  POSITIVE:")]
    (folder / "config.yaml").write_text("".join(lines).replace("  NAME: ZooMain\n", chosen))
    for name in ("predictions.csv", "val_predictions.csv"):  # they have the other name
        (folder / name).unlink()
    blocks = build_document(Study.read(folder.parent), tmp_path / "figures").blocks
    cards = [b.words for b in blocks if "in files and folders" in b.words]
    others = [b.words for b in blocks if "in files and folders" not in b.words]
    assert cards and all(f"HSIL ({WHOLE}" in words for words in cards)
    assert any("Positive group: HSIL" in words for words in others)
    assert any("classes of the positive group HSIL" in words for words in others)
    assert not [words for words in others if FOLDER in words or WHOLE in words]
