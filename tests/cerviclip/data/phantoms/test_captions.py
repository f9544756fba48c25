"""Captions: worded from structure, wrong now and then, and the same for the same seed."""

from __future__ import annotations

from collections import Counter

import numpy as np

from cerviclip.data.phantoms import CLASSES, pretraining_center, render_patient
from cerviclip.data.phantoms.captions import DETAILS, MISTAKEN_FOR, NAMES, SIGNS, caption
from cerviclip.data.phantoms.structures import draw_anatomy


def frames_of(label: int):
    return render_patient(pretraining_center(), 900_000 + label, label, 1)[0]


def test_a_caption_is_decided_by_its_generator():
    frame = frames_of(1)
    one = [caption(frame, np.random.default_rng(3)) for _ in range(2)]
    assert one[0] == one[1]
    assert len({caption(frame, np.random.default_rng(k))[0] for k in range(20)}) > 10


def test_captions_state_the_frame_most_often_but_not_always():
    frame = frames_of(0)
    own = frame.mix.copy()
    frame.mix.clear()
    frame.mix["cancer"] = own["cancer"]
    rng = np.random.default_rng(0)
    signs = Counter(
        next((f for f in caption(frame, rng)[1] if f in CLASSES), "none") for _ in range(600)
    )
    assert signs.most_common(1)[0][0] == "cancer"
    assert 0.35 < signs["cancer"] / 600 < 0.65


def test_every_class_has_signs_names_and_details_of_known_parameters():
    anatomy = draw_anatomy(np.random.default_rng(0))
    assert set(SIGNS) == set(NAMES) == set(DETAILS) == set(MISTAKEN_FOR) == set(CLASSES)
    for name in CLASSES:
        assert len(SIGNS[name]) >= 4
        assert all(key in anatomy for key, *_ in DETAILS[name])
        assert MISTAKEN_FOR[name] != name


def test_no_prompt_of_the_data_sets_is_a_caption(repo_dir):
    """The zero-shot prompts share words with the captions, not sentences."""
    import yaml

    path = repo_dir / "configs" / "prompts" / "cervix_oct.yaml"
    sets = yaml.safe_load(path.read_text(encoding="utf-8"))
    wordings = {sign for signs in SIGNS.values() for sign in signs}
    for classes in (sets["structural"], sets["report"]):
        for prompts in classes.values():
            for prompt in prompts:
                assert prompt.strip().rstrip(".") not in wordings
