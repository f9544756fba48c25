"""Parts of folders' names, and which folders hold runs."""

import pytest

from cerviclip.runs.settings.folders import (
    backbone_label,
    file_in,
    find_results,
    no_run,
    safe_part,
    without_file,
)


@pytest.mark.parametrize(
    "text, part", [("ViT-L/14@336px", "ViT-L-14-336px"), ("a.b_c-d", "a.b_c-d"), ("..", "--")]
)
def test_parts_hold_only_safe_characters(text, part):
    assert safe_part(text) == part


def test_local_weights_are_named_by_their_hash():
    assert backbone_label("ViT-B/16", "0123456789abcdef") == "ViT-B/16-01234567"
    assert backbone_label("ViT-B/16") == "ViT-B/16"
    assert backbone_label("open_clip:ViT-B-16:/models/x.pt", "0123456789") == (
        "open_clip:ViT-B-16-01234567"
    )


def test_only_runs_are_found(tmp_path):
    for part in ("d/t/b/v/shots_1/seed_1", "d/t/b/v/shots_1/seed_1/eval/20260101T000000Z",
                 "d/t/b/v/shots_1/.seed_2.new-7"):  # fmt: skip
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "results.json").write_text("{}")
    assert [p.parent.name for p in find_results(tmp_path)] == ["seed_1"]
    assert len(list(find_results(tmp_path / "d/t/b/v/shots_1/seed_1"))) == 1
    evaluation = tmp_path / "d/t/b/v/shots_1/seed_1/eval/20260101T000000Z"  # asked for by name
    assert list(find_results(evaluation)) == [evaluation / "results.json"]
    assert list(find_results(evaluation / "results.json")) == [evaluation / "results.json"]


def test_runs_are_found_in_the_order_of_their_folders_names(tmp_path):
    """By whole names: a-b comes after a, and not between a and what is in it."""
    for part in ("a-b/x", "a/x", "a/x/y"):
        (tmp_path / part).mkdir(parents=True, exist_ok=True)
        (tmp_path / part / "results.json").write_text("{}")
    found = [p.parent.relative_to(tmp_path).as_posix() for p in find_results(tmp_path)]
    assert found == ["a/x", "a/x/y", "a-b/x"]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("ViT-B/16", "ViT-B/16"),
        ("timm:resnet50", "timm:resnet50"),
        ("timm:resnet50.a1_in1k", "timm:resnet50.a1_in1k"),
        ("open_clip:ViT-B-16:laion2b", "open_clip:ViT-B-16:laion2b"),
        ("open_clip:ViT-B-16:/models/x", "open_clip:ViT-B-16"),
        ("open_clip:ViT-B-16:x.pt", "open_clip:ViT-B-16"),
        ("open_clip:ViT-B-16:/a:b/x.pt", "open_clip:ViT-B-16"),
        ("embeddings:/made/by_us.npz", "embeddings:by_us"),
        ("embeddings:by_us.npz", "embeddings:by_us"),
    ],
)
def test_a_local_file_is_left_out_of_a_name(name, short):
    assert without_file(name) == short


def test_the_local_file_in_a_name(tmp_path):
    file = tmp_path / "x.pt"
    file.touch()
    assert file_in(f"open_clip:ViT-B-16:{file}") == file_in(f"embeddings:{file}") == str(file)
    assert file_in(f"timm:{file}") == file_in(str(file)) == ""  # an architecture, no file
    assert file_in(f"open_clip:ViT-B-16:{file}.gone") == ""


@pytest.mark.parametrize("name", ["open_clip:ViT-B-16:{}", "embeddings:{}"])
def test_a_file_is_found_behind_a_colon_of_its_path_and_at_home(tmp_path, monkeypatch, name):
    """It is loaded from there. Seen by its name alone, other weights would have the same hash."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "a:b" / "x.pt"
    file.parent.mkdir()
    file.touch()
    assert file_in(name.format(file)) == file_in(name.format("~/a:b/x.pt")) == str(file)


def test_a_folder_above_runs_is_told_from_one_without(tmp_path):
    """Five are named, in order; evaluations, hidden folders and what is in a run are none."""

    def make(*parts):
        for part in parts:
            (tmp_path / part).mkdir(parents=True, exist_ok=True)
            (tmp_path / part / "results.json").write_text("{}")

    (tmp_path / "empty").mkdir()
    nothing = f"no run in {tmp_path}: it holds no config.yaml"
    assert no_run(tmp_path, "config.yaml") == nothing
    make("b/seed_2", "b/eval/now", "b/.seed_3.new-7", "b/seed_2/inner", "a/seed_1")
    below = [str(tmp_path / part) for part in ("a/seed_1", "b/seed_2")]
    said = f"{nothing}; name one of the runs below it: {', '.join(below)}"
    assert no_run(tmp_path, "config.yaml") == said
    make("c/1", "c/2", "c/3")
    five = [*below, *(str(tmp_path / "c" / n) for n in "123")]
    assert no_run(tmp_path, "x").endswith(f"below it: {', '.join(five)}")
    make("d")
    assert no_run(tmp_path, "x").endswith(f"below it: {', '.join(five)}, and more")
