"""A predictor whose evidence is known."""

from __future__ import annotations

import pytest
from explain_fixtures import LightNet, predictor_of

from cerviclip.app.predictor import Predictor


@pytest.fixture
def light() -> Predictor:
    return predictor_of(LightNet())
