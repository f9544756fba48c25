"""Parts of folders' names, and which folders hold runs."""

import pytest

from cerviclip.runs.settings.folders import backbone_label, find_results, safe_part


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
