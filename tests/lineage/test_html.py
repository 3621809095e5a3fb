import re
from html.parser import HTMLParser

import pytest

from forgetflow.lineage.version import LineageTree
from forgetflow.pages.lineage.drawing import GAP_X, GAP_Y, HEIGHT, WIDTH, places
from forgetflow.pages.lineage.page import as_html

VOID = {"meta", "br", "path", "link", "img"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed without being open."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.ids = []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def parsed(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return parser


class TestPage:
    def test_draws_and_lists_every_version(self, tree):
        page = as_html(tree)
        assert parsed(page).ids == ["v1", "v2", "v4", "v3", "v5"]
        for version in tree.versions:
            assert f'href="#v{version.number}"' in page
            assert version.weights[:10] in page
        assert page.count("<path ") == 3

    def test_tells_guarantees_and_their_limit(self, tree):
        page = as_html(tree)
        for word in ("exact", "certified", "approximate"):
            assert f'<span class="badge {word}">{word}</span>' in page
        assert "non-adaptive" in page

    def test_labels_the_lines_with_the_batch(self, tree):
        assert "batch <b>b1</b><br>20 records in 2 requests, 2026-03-02" in as_html(tree)

    def test_needs_nothing_from_outside(self, tree):
        page = as_html(tree)
        assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<link|<img", page)
        assert "prefers-color-scheme: dark" in page

    def test_escapes_names(self, version):
        bad = '<img src=x onerror="alert(1)">&'
        one = version(1, bad, None, method=bad, state=bad, gate=bad, aliases=(bad,), guarantee=bad)
        two = version(2, bad, 1)
        page = as_html(LineageTree(bad, 1, (one, two)))
        parsed(page)
        assert "<img" not in page
        assert 'onerror="' not in page

    def test_an_empty_registry_has_a_page_too(self):
        page = as_html(LineageTree("digits", None, ()))
        parsed(page)
        assert "No version is registered yet." in page

    @pytest.mark.parametrize("aliases", [(), ("serving",)])
    def test_says_what_is_served(self, version, aliases):
        page = as_html(LineageTree("m", 1, (version(1, "original", None, aliases=aliases),)))
        assert ("Version 1" in page) == bool(aliases)
        assert ("none has passed the gate" in page) != bool(aliases)


class TestPlaces:
    def test_the_newest_child_stays_below_its_parent(self, tree):
        where = places(tree, tree.by_number[1])
        assert {n: (p.column, p.row) for n, p in where.items()} == {
            1: (0, 0),
            2: (0, 1),
            4: (0, 2),
            3: (1, 2),
        }
        assert where[3].x == WIDTH + GAP_X
        assert where[2].y == HEIGHT + GAP_Y

    def test_no_two_versions_share_a_place(self, version):
        # every version but the leaves has three children
        versions = [version(1, "original", None)]
        versions += [version(n, f"b{n}", (n + 1) // 3) for n in range(2, 41)]
        tree = LineageTree("m", 1, tuple(versions))
        where = places(tree, versions[0])
        assert len(where) == len(set(where.values())) == 40
