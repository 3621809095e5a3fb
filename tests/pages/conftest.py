"""What every page must hold: well-formed, self-contained, escaped, and its text to look into."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

VOID = {"meta", "br", "path", "use"}
NASTY = '<b onclick="x()">"a&b\'</b> {{ 7 * 7 }} $x$'
"""A name that breaks what does not escape it: HTML, templates, mathematical text."""


class Page(HTMLParser):
    """Checks that a page is one and stands alone; collects its text, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())
        self._stands_alone()
        self._is_finished()

    def handle_starttag(self, tag, attrs) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        assert tag in VOID
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    def values(self, attribute: str, tag: str | None = None) -> list[str]:
        return [a[attribute] or "" for t, a in self.tags if attribute in a and tag in (None, t)]

    def labels(self) -> list[str]:
        """What the charts say to those who do not see them."""
        return self.values("aria-label", "svg")

    def _stands_alone(self) -> None:
        assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in self.tags}
        assert not any(one in self.html for one in ("http", "url(", "src=", "@import"))
        ids = self.values("id")
        assert len(set(ids)) == len(ids)
        assert {f"#{one}" for one in ids} >= set(self.values("href"))
        assert "prefers-color-scheme: dark" in self.html

    def _is_finished(self) -> None:
        assert not re.search(r"\b(None|nan|inf|Undefined)\b", self.text)
        variables = set(re.findall(r"var\((--[a-z]+)", self.html)) - {"--tone"}
        light, dark = self.html.split("prefers-color-scheme: dark")[:2]
        assert {one for one in variables if f"{one}:" not in light} == set()
        assert {one for one in variables if f"{one}:" not in dark.split("* {")[0]} == set()
        drawn = "".join(re.findall(r"<svg.*?</svg>", self.html, re.DOTALL))
        assert not re.search(r"#[0-9a-f]{6}|font-family|<style|clip-path", drawn)


@pytest.fixture
def read() -> Callable[[str], Page]:
    """Return the reader of a page."""
    return Page


@pytest.fixture
def nasty() -> str:
    """Return a name that breaks what does not escape it."""
    return NASTY
