"""The pages hold together: links lead somewhere, every page has a place on the site, and every word
of the command is named."""

from __future__ import annotations

import posixpath
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cerviclip.cli import COMMANDS

REPO = Path(__file__).resolve().parent.parent
TOP = ("README.md", "CONTRIBUTING.md", "UPGRADING.md", "CHANGELOG.md")
PAGES = [REPO / name for name in TOP] + sorted((REPO / "docs").rglob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]+))?\)")


def prose(text: str) -> str:
    """A page without its code: fenced blocks, indented blocks, code in a line."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
    text = re.sub(r"(?<=\n\n)(?: {4}.*\n)+", "", text)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(text: str) -> set[str]:
    """The anchors of a page's heads, as the repository's viewer and the site make them: lower case,
    spaces become hyphens, other signs are dropped."""
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
    heads = re.findall(r"^#+ +(.+?) *#*$", without_code, flags=re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head) for head in heads)
    return {re.sub(r" ", "-", re.sub(r"[^\w\- ]", "", head.lower())) for head in plain}


def broken_links(page: Path, text: str) -> list[str]:
    """Links of a page whose file or anchor does not exist."""
    broken = []
    for target, anchor in LINK.findall(prose(text)):
        file = Path(posixpath.normpath(page.parent / target)) if target else page
        if not file.exists():
            broken.append(target)
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            broken.append(f"{target}#{anchor}")
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPO).as_posix())
def test_every_link_leads_to_a_file_and_a_head(page):
    assert not broken_links(page, page.read_text(encoding="utf-8"))


def test_broken_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# A head, with `code`\n\n```\n# no head\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Y\n\n[a](other.md) [b](other.md#a-head-with-code) [c](none.md) [d](other.md#no-head)\n"
        "[e](#x) [f](#y)\n\n    [g](none.md)\n\n`[h](none.md)` [i](https://example.org/none)\n"
    )
    assert broken_links(page, page.read_text()) == ["none.md", "other.md#no-head", "#x"]


def test_every_page_has_a_place_on_the_site():
    def targets(entry):
        if isinstance(entry, str):
            return [entry]
        parts = entry.values() if isinstance(entry, dict) else entry
        return [target for part in parts for target in targets(part)]

    listed = targets(yaml.safe_load((REPO / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    written = {path.relative_to(REPO / "docs").as_posix() for path in (REPO / "docs").rglob("*.md")}
    from_top = {"contributing.md", "upgrading.md", "changelog.md"}  # .ci/docs_hooks.py adds them
    assert sorted(listed) == sorted(written | from_top)


@pytest.mark.parametrize(
    "module",
    re.findall(
        r"^::: (\S+)$",
        "\n".join(p.read_text(encoding="utf-8") for p in (REPO / "docs/reference").glob("*.md")),
        flags=re.M,
    ),
)
def test_the_reference_names_what_exists(module):
    parts = module.split(".")
    if parts[-1][0].isupper():
        parts, name = parts[:-1], parts[-1]
        assert re.search(rf"^class {name}\b", source_of(parts), flags=re.M)
    else:
        assert source_of(parts).startswith('"""')


def source_of(parts: list[str]) -> str:
    path = REPO.joinpath(*parts)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text(encoding="utf-8")


def words_named(text: str) -> set[str]:
    """Words of the command that a page names: ``cerviclip WORD``, or `WORD` in the first cell of a
    table's row whose first one is written so."""
    rows = re.findall(r"^\| `cerviclip [^|]*", text, flags=re.M)
    in_rows = {word for row in rows for word in re.findall(r"`([\w-]+)`", row)}
    return in_rows | set(re.findall(r"\bcerviclip ([a-z][a-z-]*)", text))


@pytest.mark.parametrize("word", COMMANDS)
def test_every_word_of_the_command_is_named(word):
    pages = [page for page in PAGES if page.name not in ("CHANGELOG.md", "UPGRADING.md")]
    assert any(word in words_named(page.read_text(encoding="utf-8")) for page in pages), (
        f"no page names cerviclip {word}"
    )


def test_words_of_rows_and_of_sentences_are_found():
    text = "| `cerviclip a`, `b` | `c` |\n| `d` | e |\nSay cerviclip f-g or `h`.\n"
    assert words_named(text) == {"a", "b", "f-g"}


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    for needed in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(needed)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "<math" in (tmp_path / "savlt.html").read_text(encoding="utf-8")
    assert "forward_backward" in (tmp_path / "reference/dassl.html").read_text(encoding="utf-8")


def test_the_page_of_the_sweep_file_has_every_key_and_its_examples_are_plans(tmp_path):
    from cerviclip.runs.settings.files.sweep_file import ENTRY_KEYS, KEYS
    from cerviclip.runs.settings.flags import sweep_parser
    from cerviclip.runs.settings.plan import make_plan
    from cerviclip.runs.settings.requests import SweepRequest

    page = (REPO / "docs" / "sweep_file.md").read_text(encoding="utf-8")
    of_file, _, of_entry = page.partition("## An entry")
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)", of_file, re.M))
    assert set(rows) == KEYS
    assert {key for key, _ in re.findall(r"^\| `(\w+)` \|(.*)", of_entry, re.M)} == ENTRY_KEYS
    flags = {flag for action in sweep_parser()._actions for flag in action.option_strings}
    for key, row in rows.items():
        named = row.split("|")[-2].strip(" `")
        assert named == (f"--{key}" if f"--{key}" in flags else ""), key
    for n, text in enumerate(re.findall(r"```yaml\n(.*?)```", page, re.S)):
        whole = "" if "datasets:" in text else "datasets: [Herlev]\nshots: [1]\n"
        (tmp_path / f"{n}.yaml").write_text(whole + text)
        assert make_plan(SweepRequest(sweep=str(tmp_path / f"{n}.yaml"))).runs
