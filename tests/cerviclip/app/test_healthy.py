"""What a container's engine is told, and the files that the container is made of."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from cerviclip.app.healthy import ADDRESSES, main

REPO = Path(__file__).resolve().parents[3]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 503)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_that_answers_is_enough(address, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert main([f"{address}/broken", f"{address}/ready"]) == 0
    assert main([f"{address}/broken"]) == 1
    assert main(["http://127.0.0.1:9/ready"]) == 1


def test_what_the_image_copies_is_there_and_not_ignored():
    docker = (REPO / "Dockerfile").read_text()
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", docker, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert len(copied) > 10
    assert all((REPO / word).exists() for word in copied)
    kept = {
        line[1:] for line in (REPO / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert kept == set(copied)


def test_services_are_read_only_and_without_rights():
    services = yaml.safe_load((REPO / "compose.yaml").read_text())["services"]
    assert set(services) == {"api", "page", "proxy"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert all("ports" not in services[name] for name in ("api", "page"))


def test_commands_of_the_services_are_understood():
    from cerviclip.app.server import command as serve
    from cerviclip.app.web import command as web

    services = yaml.safe_load((REPO / "compose.yaml").read_text())["services"]
    for name, module in (("api", serve), ("page", web)):
        word, *rest = services[name]["command"]
        args = module.build_parser(word).parse_args(rest)
        assert args.host == "0.0.0.0"
        assert f":{args.port}" in " ".join(ADDRESSES)
        assert f"{name}:{args.port}" in (REPO / "Caddyfile").read_text()
