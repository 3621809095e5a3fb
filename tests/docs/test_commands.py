"""Commands, targets, files and settings that the documentation names are there."""

import re
import shlex

import pytest
import typer
import yaml

from forgetflow.cli import main as cli
from forgetflow.config.settings import Settings, parse_settings
from tests.docs.blocks import PAGES, REPOSITORY, blocks

SHELL = {"bash", "console", "text", ""}


FILES = {"json", "html", "csv", "md", "py", "yaml", "jsonl", "parquet", "safetensors", "npy", "log"}
"""Endings of names that look like settings and are files."""


def pages():
    return [pytest.param(page, id=str(page.relative_to(REPOSITORY))) for page in PAGES]


def commands(page):
    """Yield every command of a page's shell blocks as a list of words."""
    for block in blocks(page.read_text()):
        if block.language not in SHELL:
            continue
        for line in block.text.splitlines():
            if block.language == "console" and not line.startswith("$ "):
                continue
            for part in line.removeprefix("$ ").split("&&"):
                if re.match(r"\s*(forgetflow|make|dvc) ", part):
                    yield shlex.split(part, comments=True)


def parse(words):
    """Parse a command line as the program would, without running it."""
    command, rest = typer.main.get_command(cli.app), words
    while hasattr(command, "resolve_command"):
        _, command, rest = command.resolve_command(typer.Context(command), rest)
    command.make_context(" ".join(words), rest)


@pytest.mark.parametrize("page", pages())
def test_every_command_is_one(page):
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for program, *words in commands(page):
        if program == "forgetflow" and "--help" not in words:
            parse(words)
        elif program == "make":
            assert words[0] in targets, words


def test_a_wrong_command_is_found():
    for words in (["forget", "b1", "--methods", "sisa"], ["studies"], ["request", "ad"]):
        with pytest.raises(Exception, match="No such"):
            parse(words)


def test_enough_commands_were_looked_at():
    found = {words[1] for page in PAGES for words in commands(page) if words[0] == "forgetflow"}
    assert found >= {"data", "forget", "lineage", "plan", "request", "study", "verify"}


def test_every_verb_has_a_row_on_the_page_of_commands():
    def names(app, prefix=""):
        for command in app.registered_commands:
            yield f"{prefix}{command.name or command.callback.__name__}"
        for group in app.registered_groups:
            yield from names(group.typer_instance, f"{prefix}{group.name} ")

    page = (REPOSITORY / "docs" / "commands.md").read_text()
    for name in names(cli.app):
        assert re.search(rf"`{name}[` ]", page), name


@pytest.mark.parametrize("page", [p for p in pages() if p.id != "CONTRIBUTING.md"])
def test_every_settings_block_is_accepted(page):
    for block in blocks(page.read_text()):
        if block.language == "yaml" and "..." not in block.text:
            content = yaml.safe_load(block.text)
            if set(content) <= set(Settings.model_fields):
                parse_settings(content, where=str(page))


@pytest.mark.parametrize("page", pages())
def test_every_setting_that_is_named_exists(page):
    text = page.read_text()
    for path in re.findall(r"`([a-z]+(?:\.[a-z_0-9]+)+)`", text):
        settings, *names = Settings(), *path.split(".")
        if names[0] not in Settings.model_fields or names[-1] in FILES:
            continue
        for name in names:
            assert hasattr(settings, name), path
            settings = getattr(settings, name)


@pytest.mark.parametrize("page", pages())
def test_every_file_of_the_sources_that_is_named_exists(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    planned = set(re.findall(r"The file\*\*, `([^`]+)`|One test\*\*, `([^`]+)`", text))
    for path in re.findall(r"`((?:src|flows|tools|tests|docs|benchmarks)/[\w./-]+)`", text):
        if not any(path in both for both in planned):
            assert (REPOSITORY / path).exists(), path
    rooms = "|".join(p.name for p in (REPOSITORY / "src" / "forgetflow").iterdir() if p.is_dir())
    for path in re.findall(rf"`((?:{rooms})/[\w./-]+\.py)`", text):
        assert (REPOSITORY / "src" / "forgetflow" / path).exists(), path
    for path in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in path:
            assert (page.parent / path).exists(), path
