from __future__ import annotations

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from cerviclip.vlm import load_backbone, save_compact_clip
from cerviclip.vlm.files.compact import FULL, ROWS, VALUES, untouched_rows
from cerviclip.vlm.files.formats import read_state_dict


def written(states, path):
    state = dict(states["vit"])
    embedding = untouched_rows(*state[FULL].shape)
    used = [320, 7, 49406, 49407]
    embedding[used] += 1
    state[FULL] = embedding
    save_compact_clip(path, state, used, {"arch": "tiny", "generator": "3"})
    return state, sorted(used)


def test_round_trip_keeps_used_rows_and_draws_the_others_again(states, tmp_path):
    path = tmp_path / "small.safetensors"
    state, used = written(states, path)
    read = read_state_dict(path)
    assert set(read) == set(state)
    unused = torch.ones(len(state[FULL]), dtype=torch.bool)
    unused[used] = False
    assert torch.equal(read[FULL][unused], state[FULL][unused])
    assert torch.allclose(read[FULL][used], state[FULL][used], atol=1e-3)  # fp16
    for key in set(state) - {FULL}:
        assert torch.allclose(read[key], state[key], atol=2e-3), key
    assert torch.equal(read["logit_scale"], state["logit_scale"])


def test_the_file_holds_used_rows_only_and_says_what_it_is(states, tmp_path):
    path = tmp_path / "small.safetensors"
    _, used = written(states, path)
    stored = load_file(str(path))
    assert FULL not in stored and stored[ROWS].tolist() == used
    assert stored[VALUES].shape == (4, 128) and stored[VALUES].dtype == torch.float16
    with safe_open(str(path), "pt") as file:
        assert file.metadata()["arch"] == "tiny" and file.metadata()["generator"] == "3"
    assert [p.name for p in tmp_path.iterdir()] == ["small.safetensors"]


def test_a_compact_file_loads_as_a_backbone(states, tmp_path):
    path = tmp_path / "small.safetensors"
    written(states, path)
    backbone = load_backbone("CLIP", path)
    assert backbone.encode_text(backbone.tokenize(["a cyst"])).shape == (1, 32)


def test_the_fill_is_the_same_on_every_machine():
    rows = untouched_rows(49408, 4)
    assert torch.allclose(rows[0], torch.tensor(FIRST_ROW), atol=1e-9)
    assert abs(float(rows.std()) - 0.02) < 1e-4


# untouched_rows(49408, 4)[0], by numpy 2.4
FIRST_ROW = [-0.0206271652, 0.0292176995, -0.0340349302, -0.0166729558]
