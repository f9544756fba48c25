"""What the site of mkdocs.yml needs beside the pages: pages at the top of the repository, links
that leave docs/, and formulas.

The pages are written for the repository, where ``../configs`` is a link that works. The site has no
such folder. A link to a file that is a page of the site leads to it; any other link outside docs/
leads to the repository if ``repo_url`` is set, and is plain text otherwise. A link to a file that
does not exist is an error, as it is everywhere else.

Formulas become MathML when the site is built, so that a reader's browser asks no other server for a
script.
"""

from __future__ import annotations

import posixpath
import re
from html import unescape
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

#: Pages at the top of the repository -> their pages of the site.
TOP_PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "UPGRADING.md": "upgrading.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
#: What pymdownx.arithmatex makes of a formula.
FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S
)  # \(inline\) or \[a line of its own\]


def on_files(files, config):
    """Add the pages at the top of the repository."""
    for name, page in TOP_PAGES.items():
        text = (_repository(config) / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn every link for the site."""
    from_top = page.file.src_uri in TOP_PAGES.values()
    folder = "" if from_top else posixpath.join("docs", posixpath.dirname(page.file.src_uri))
    return LINK.sub(lambda found: _turned(found, folder, page.file.src_uri, config), markdown)


def _turned(link: re.Match, folder: str, page: str, config) -> str:
    """A link of a page that lies in ``folder`` of the repository, as the site needs it."""
    picture, text, target, anchor = link.groups(default="")
    path = posixpath.normpath(posixpath.join(folder, target))
    if not (_repository(config) / path).exists():
        raise PluginError(f"{page}: link to {path}, which does not exist")
    if path in TOP_PAGES or path.startswith("docs/"):
        inside = TOP_PAGES.get(path) or path.removeprefix("docs/")
        inside = posixpath.relpath(inside, posixpath.dirname(page) or ".")
        return f"{picture}[{text}]({inside}{anchor})"
    if config.repo_url:
        return f"[{text}]({config.repo_url.rstrip('/')}/blob/HEAD/{path}{anchor})"
    return text


def on_page_content(html, page, config, files):
    """Turn formulas into MathML."""
    display = {"span": "inline", "div": "block"}
    return FORMULA.sub(lambda f: convert(unescape(f[2]), display=display[f[1]]), html)


def _repository(config) -> Path:
    return Path(config.docs_dir).parent
