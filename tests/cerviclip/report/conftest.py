"""One run of the zoo and its draft."""

import pytest
from run_fixtures import Zoo

from cerviclip import plugins
from cerviclip.report.content import build_document
from cerviclip.report.study import Study
from cerviclip.runs.run.runner import run_one
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run of the zoo; the registries are left as they were, for the tests that come after."""
    plugins.reset_plugins()
    zoo = Zoo(tmp_path_factory.mktemp("report"))
    before = {
        registry: dict(registry._obj_map) for registry in (TRAINER_REGISTRY, DATASET_REGISTRY)
    }
    run_one(zoo.cfg("ZooLinear", "2", "--output-dir", str(zoo.out / "ZooLinear")), echo=False)
    for registry, names in before.items():
        for name in [name for name in registry._obj_map if name.startswith("Zoo")]:
            if name not in names:
                del registry._obj_map[name]
    yield zoo.out
    plugins.reset_plugins()


@pytest.fixture(scope="module")
def document(runs, tmp_path_factory):
    return build_document(Study.read(runs), tmp_path_factory.mktemp("figures"))


@pytest.fixture
def part(runs):
    """What the draft tells of the run's data set; a test may change it."""
    return Study.read(runs).parts[0]
