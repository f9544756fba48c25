"""A server over the shared predictor, and clients of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cerviclip.app.server.access import new_token, parse_tokens
from cerviclip.app.server.application import create_app
from cerviclip.app.server.settings import Limits, Settings

TOKENS = {role: new_token(f"{role}_1", role) for role in ("reader", "annotator", "admin")}


@pytest.fixture(scope="session")
def make_client(predictor):
    """``make_client(folder, limits, **settings)``: a client whose server lives with it."""
    from starlette.testclient import TestClient

    def make(folder: Path, limits: Limits | None = None, **settings):
        settings = {"audit_log": folder / "audit.jsonl", "jobs": folder / "jobs.jsonl", **settings}
        app = create_app({"m": predictor}, Settings(limits=limits or Limits(), **settings))
        return TestClient(app, raise_server_exceptions=True)

    return make


@pytest.fixture(scope="module")
def client(make_client, tmp_path_factory):
    limits = Limits(file_bytes=200_000, body_bytes=400_000, pixels=100_000, frames=4, files=8)
    with make_client(tmp_path_factory.mktemp("server"), limits) as client:
        yield client


@pytest.fixture(scope="module")
def guarded(make_client, tmp_path_factory):
    """A client of a server with tokens."""
    tokens = tuple(parse_tokens("\n".join(line for _, line in TOKENS.values()), "test"))
    with make_client(tmp_path_factory.mktemp("guarded"), tokens=tokens) as client:
        yield client


@pytest.fixture(scope="session")
def as_role():
    """``as_role("reader")``: headers."""
    return lambda role: {"Authorization": f"Bearer {TOKENS[role][0]}"}


@pytest.fixture(scope="session")
def pictures(cells) -> list[Path]:
    return sorted(cells.rglob("*.png"))[::6]


@pytest.fixture(scope="session")
def parts():
    """``parts(paths)``: the multipart files of a request."""
    return lambda paths, field="files": [(field, (p.name, p.read_bytes())) for p in paths]
