"""The site builds without a complaint, loads nothing from the network, and is complete."""

import os
import re
import subprocess
import sys
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from forgetflow.audit.registry import AUDITS
from forgetflow.unlearning.registry import METHODS
from tests.docs.blocks import REPOSITORY

DOCS = REPOSITORY / "docs"
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "link": "href",
    "image": "href",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    arguments = ["build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loads(HTMLParser):
    """Collects what a page loads when it is opened, and the classes of its elements."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.classes = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.classes |= set((values.get("class") or "").split())
        if tag in LOADED and values.get(LOADED[tag]):
            self.addresses.append(values[LOADED[tag]])


def remote(address):
    return re.match(r"(https?:)?//", address) is not None


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        loads = Loads(page.read_text())
        assert loads.addresses
        assert not [a for a in loads.addresses if remote(a)], page.name
        # What the theme's script would fetch a drawing library for.
        assert "mermaid" not in loads.classes, page.name


def test_no_style_or_picture_loads_anything_from_elsewhere(site):
    files = [*site.rglob("*.css"), *site.rglob("*.svg")]
    assert files
    for file in files:
        text = file.read_text()
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", text), file.name
        assert not [a for a in Loads(text).addresses if remote(a)], file.name


@pytest.mark.parametrize("source", sorted(DOCS.rglob("*.mmd")), ids=lambda path: path.stem)
def test_every_diagram_is_drawn_from_its_source(source):
    drawn = source.with_suffix(".svg").read_text()
    digest = sha256(source.read_bytes()).hexdigest()
    assert f"sha256 {digest}" in drawn, "draw it again: docs/diagrams/render.mjs says how"


def test_every_decision_is_listed():
    index = (DOCS / "decisions" / "index.md").read_text()
    for record in (DOCS / "decisions").glob("0*.md"):
        number, title = re.match(r"# (\d+)\. (.*)", record.read_text()).groups()
        assert f"| {number} | [{title}]({record.name}) |" in index


def test_every_method_is_listed_with_its_guarantee():
    page = (DOCS / "guarantees.md").read_text()
    for name, method in METHODS.items():
        assert f"| `{name}` | {method.guarantee} |" in page


def test_every_audit_measure_is_listed():
    page = (DOCS / "audits.md").read_text()
    for name in AUDITS:
        assert re.search(rf"^\| .*`{name}`", page, re.MULTILINE), name
