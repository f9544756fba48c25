"""What the page says and computes, without a page."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from pathlib import Path

import numpy as np
import pytest
import yaml
from chromium import until
from PIL import Image

from cerviclip.app.class_info import FOLDER, class_info, read_class_info
from cerviclip.app.pdf import __file__ as PDF
from cerviclip.app.review.export import export
from cerviclip.app.review.journal import Journal
from cerviclip.app.server.command import main as serve
from cerviclip.app.web.answers import UNCERTAINTY, answer_table, filtered, predict_bytes
from cerviclip.app.web.command import has_browser, main, streamlit_options
from cerviclip.app.web.guide import FILE as GUIDE
from cerviclip.app.web.guide import read_guide, rules_for
from cerviclip.app.web.overlay import overlay
from cerviclip.app.web.points import in_percent
from cerviclip.app.web.settings import WebSettings
from cerviclip.app.web.texts import FOLDER as TEXTS
from cerviclip.app.web.texts import LANGUAGES, SHARED, language_of, read_texts
from cerviclip.cli import main as cli
from dassl.errors import UserError

PDF_TEXTS = Path(PDF).with_name("texts")
OCT, HERLEV, SIPAKMED = (
    ("MixedCenterOCT", "PhantomOCT"),
    ("Herlev",),
    ("SIPaKMeD",),
)


def test_both_languages_say_the_same_with_the_same_places():
    one, two = read_texts("en"), read_texts("zh")
    assert list(one) == list(two) and len(one) > 100
    for key in one:
        assert re.findall(r"{\w+}", one[key]) == re.findall(r"{\w+}", two[key]) or set(
            re.findall(r"{\w+}", one[key])
        ) == set(re.findall(r"{\w+}", two[key])), key
    assert language_of("zh-CN") == "zh" and language_of("fr") == language_of(None) == "en"


def strings(value) -> list[str]:
    """All strings of a yaml but English ones and citations, which may have a Chinese title."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        inner = [one for key, one in pairs if key not in ("en", "source", "sources")]
        return [text for one in inner for text in strings(one)]
    return [value] if isinstance(value, str) else []


def test_chinese_has_chinese_punctuation():
    texts = (TEXTS, SHARED, PDF_TEXTS)
    files = [*(folder / "zh.yaml" for folder in texts), *FOLDER.glob("*.yaml"), GUIDE]
    found = [text for file in files for text in strings(yaml.safe_load(file.read_text()))]
    chinese = [text for text in found if re.search("[\u4e00-\u9fff]", text)]
    assert len(chinese) > 300
    narrow = re.compile("[\u4e00-\u9fff”}][,:;!?()]|[(),:;!?][\u4e00-\u9fff“]")
    assert [text for text in chinese if narrow.search(text)] == []


def test_every_class_is_described_with_sources():
    from cerviclip.datasets import cervix_oct, herlev, sipakmed

    known = {OCT: cervix_oct.CLASSES, HERLEV: herlev.Herlev.classes}
    known[SIPAKMED] = sipakmed.SIPaKMeD.classes
    for datasets, classes in known.items():
        for dataset in datasets:
            for name in classes:
                info = class_info(dataset, name, "en")
                assert info and info.sources and class_info(dataset, name, "zh").description
    assert class_info("Herlev", "cyst", "en") is None is class_info("Unknown", "cyst", "en")
    positive = {class_info("Herlev", name, "en").risk for name in herlev.Herlev.positive}
    assert positive == {"low", "high"}


def test_class_info_that_lacks_something_is_refused(tmp_path):
    text = (FOLDER / "herlev.yaml").read_text().replace("risk: high", "risk: huge")
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(UserError, match="risk of class"):
        read_class_info(str(tmp_path / "own.yaml"))


def test_every_age_has_one_rule_of_every_guideline():
    for age in range(0, 100):
        rules = rules_for(age, "en")
        assert len(rules) == len(read_guide()["guidelines"]) == 3
        assert all(r.start <= age and (r.to is None or age <= r.to) for r in rules)
        assert all(r.source and r.date for r in rules)
    who, acs, china = rules_for(30, "en")
    assert "5 to 10 years" in who.text and (acs.start, china.start) == (25, 25)


@pytest.mark.parametrize("language, word", [("en", "not checked"), ("zh", "未与印刷原文核对")])
def test_a_guideline_that_nobody_checked_says_so_at_every_age(language, word):
    for age in range(0, 100):
        cautions = [rule.caution for rule in rules_for(age, language)]
        assert word in cautions[2] and not any(cautions[:2])
    for guideline in read_guide()["guidelines"]:  # said in all languages of the page or in none
        assert set(guideline.get("caution", LANGUAGES)) == set(LANGUAGES)


def test_uploads_get_the_answers_of_their_files(predictor, probe, cells, tmp_path):
    paths = sorted(cells.rglob("*.png"))[:5]
    files = [(p.name, p.read_bytes()) for p in paths]
    files.insert(2, ("broken.png", b"no picture"))
    answers = predict_bytes(predictor, files)
    assert [a.path for a in answers] == [name for name, _ in files]
    assert answers[2].error and not answers[2].probabilities
    read = [a.probabilities for a in answers if not a.error]
    said = np.array([a.probabilities for a in predictor.predict(paths)])
    np.testing.assert_allclose(read, said, rtol=0, atol=1e-6)
    csv = tmp_path / "answers.csv"
    assert cli(["predict", str(probe), *map(str, paths), "--csv", str(csv), "--device", "cpu"]) == 0
    import pandas

    table = answer_table(answers, predictor, predictor.model_id)
    columns = [c for c in table if c.startswith("p_")]
    told = pandas.read_csv(csv)
    assert [name for name in table if name != UNCERTAINTY] == list(told)
    np.testing.assert_allclose(
        told[columns], table[table["error"] == ""][columns], rtol=0, atol=1e-6
    )
    shown = filtered(table)
    assert shown["path"].iloc[-1] == "broken.png"
    assert shown[UNCERTAINTY].dropna().is_monotonic_decreasing
    assert len(filtered(table, errors=False)) == 5 and len(filtered(table, text="BROKEN")) == 1
    one = filtered(table, classes=[answers[0].predicted], errors=False)
    assert set(one["prediction"]) == {answers[0].predicted}


def test_the_numbers_are_those_of_predictions_csv(predictor, probe, cells, tested_rows):
    rows = tested_rows(probe)
    files = [(path, (cells.parent / path).read_bytes()) for path in rows]
    said = [a.probabilities for a in predict_bytes(predictor, files)]
    np.testing.assert_allclose(said, list(rows.values()), rtol=0, atol=1e-6)


def test_a_heat_map_leaves_cold_places_as_they_are():
    image = Image.new("RGB", (4, 2), (10, 20, 30))
    heat = np.zeros((2, 4))
    heat[0, 1] = 1
    shown = np.asarray(overlay(image, heat, 1.0))
    assert (shown[heat == 0] == (10, 20, 30)).all() and (shown[0, 1] != (10, 20, 30)).any()
    assert (np.asarray(overlay(image, heat, 0.0)) == np.asarray(image)).all()
    with pytest.raises(ValueError, match="does not fit"):
        overlay(image, heat.T, 0.5)


def test_figures_in_words():
    assert in_percent({"value": 96.25, "low": 88.0, "high": 99.0}) == "96.2 % (88.0–99.0)"
    assert in_percent(None) == in_percent({"value": None}) == "–"


def test_settings_travel_whole():
    settings = WebSettings(runs=("a b", "ü"), classes=("x",), demo=True)
    assert WebSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no results.json"),
        (["--images", "nowhere"], "there is no folder nowhere"),
        (["--images", ".", "--classes", "a,a"], "fewer than two"),
    ],
)
def test_mistakes_are_told_before_anything_starts(words, said):
    pytest.importorskip("streamlit")
    with pytest.raises(UserError, match=said):
        main(words)


@pytest.mark.parametrize(
    "words",
    [
        ["web", "nowhere"],
        ["serve", "nowhere"],
        ["export", "nowhere", "out", "--onnx"],
        ["predict", "nowhere", ".", "--pdf", "a.pdf"],
    ],
)
def test_a_wrong_run_is_told_before_a_package_is_asked_for(words, tmp_path, monkeypatch, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    for name in ("streamlit", "fastapi", "onnx", "fpdf"):
        monkeypatch.setitem(sys.modules, name, None)
    assert cli(words) == 2
    said = capsys.readouterr().err
    assert "nowhere" in said and "pip install" not in said


def test_a_port_that_is_taken_is_refused_at_once():
    pytest.importorskip("streamlit")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 cannot be used.*--port"):
            main(["demo", "--port", str(port)])
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 cannot be used.*--port"):
            serve(["demo", "--port", str(port)])


def test_sigterm_stops_the_server_too(tmp_path):
    pytest.importorskip("streamlit")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["--images", ".", "--classes", "a,b", "--no-browser", "--port", str(port)]
    command = [sys.executable, "-m", "cerviclip.cli", "web", *words]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    end = time.monotonic() + 120
    while not answers() and time.monotonic() < end:
        time.sleep(0.1)
    process.terminate()
    assert process.wait(60) == 0
    assert not answers()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_first_start_asks_nothing_and_opens_the_browser(tmp_path, terminal):
    """A new user's home: in a terminal with a screen, and without a terminal and --no-browser."""
    pytest.importorskip("streamlit")
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{opened}"\n')
    browser.chmod(0o755)
    env = {**os.environ, "HOME": str(tmp_path), "BROWSER": str(browser), "DISPLAY": ":0"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["--images", ".", "--classes", "a,b", "--port", str(port)]
    command = [sys.executable, "-m", "cerviclip.cli", "web", *words]
    command += [] if terminal else ["--no-browser"]
    ends = pty.openpty() if terminal else ()
    address = f"http://127.0.0.1:{port}"
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=log, stderr=log,
            stdin=ends[1] if terminal else subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: urllib.request.urlopen(address, timeout=2).close() or True, 120)
            if terminal:
                assert until(lambda: opened.read_text().strip()) == address
        finally:
            process.terminate()
            status = process.wait(60)
            for end in ends:
                os.close(end)
    said = (tmp_path / "log").read_text()
    assert status == 0 and address in said
    assert not re.search("(?i)e-?mail|statistics|welcome", said)
    assert opened.exists() is terminal


def test_the_page_sends_nothing_to_anybody():
    options = streamlit_options("127.0.0.1", 8501)
    assert options["browser.gatherUsageStats"] == "false" and options["server.headless"] == "true"


@pytest.mark.parametrize(("screen", "found"), [(":0", True), ("", False)])
def test_a_machine_without_a_screen_has_no_browser(monkeypatch, screen, found):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(webbrowser, "get", lambda: None)
    monkeypatch.setenv("DISPLAY", screen)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert has_browser() is found


@pytest.mark.slow
def test_a_run_trains_on_a_review(make_run, cells, tmp_path):
    journal = Journal(tmp_path / "reviews", "Ann")
    for path in sorted(p.relative_to(cells).as_posix() for p in cells.rglob("*.png")):
        journal.decide("label", path, label=f"said_{path.partition('/')[0]}")
    (tmp_path / "review.csv").write_text(export([journal]).text)
    run = make_run("LinearProbe", cells, tmp_path / "run", "DATASET.FILE", tmp_path / "review.csv")
    assert json.loads((run / "results.json").read_text())["status"] == "done"
    assert "said_red" in (run / "task.json").read_text()
