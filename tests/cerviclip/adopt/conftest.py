"""The repository with the bad habits, once per module."""

import pytest
from adopt_fixtures import write_repository, write_weights


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    return write_repository(tmp_path_factory.mktemp("theirs") / "repo")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "clip.safetensors")
