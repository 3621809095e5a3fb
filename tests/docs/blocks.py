"""Fenced blocks of the documentation: finding them, and carrying out recipes."""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the paragraph before it."""

    language: str
    text: str
    lead: str

    @property
    def path(self) -> str | None:
        """The first file that the paragraph before names in backticks."""
        found = re.search(r"`([\w.-]+/[\w./-]+\.\w+)`", self.lead)
        return found.group(1) if found else None


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found = []
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip().rsplit("\n\n", 1)[-1]
        found.append(Block(match.group(1), match.group(2), before))
    return found


def section(text: str, title: str) -> str:
    """Return what stands under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no heading '{title}'"
    return found.group(1)


def patched(source: str, patch: str) -> str:
    """Apply a patch without line numbers: hunks are divided by a line `...`.

    Every hunk's old lines must stand in the source exactly once.
    """
    for hunk in patch.split("\n...\n"):
        lines = [line for line in hunk.splitlines() if line]
        assert all(line[0] in " +-" for line in lines), hunk
        old = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
        new = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
        assert source.count(old) == 1, f"{source.count(old)} places for\n{hunk}"
        source = source.replace(old, new)
    return source


def carry_out(recipe: str, root: Path) -> list[str]:
    """Do what a section of CONTRIBUTING.md says in a copy of the sources; return its tests.

    A `python` block under the name of a file is that file, new; a `diff` block changes one.
    """
    tests = []
    for block in blocks(recipe):
        if block.language == "diff":
            path = root / (block.path or "")
            path.write_text(patched(path.read_text(), block.text))
        elif block.language == "python" and block.path:
            path = root / block.path
            assert not path.exists(), f"{block.path} exists already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            tests += [block.path] if block.path.startswith("tests/") else []
    assert tests, "a recipe without a test"
    return tests
