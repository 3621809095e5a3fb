"""README and site are taken at their word: console blocks show what the commands print."""

import re
import shlex
import shutil
from itertools import islice

import pytest
import yaml
from typer.testing import CliRunner

from forgetflow.cli import main as cli
from tests.docs.blocks import PAGES, REPOSITORY, blocks, section

README = REPOSITORY / "README.md"
VARYING = (
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"req-(\w+|\.\.\.)", "ID"),
    (r"\d+ (days? left|day\(s\))", "DAYS"),
    (r"less than a second|(about )?\d+(\.\d+)? (ms|s|min)\b", "SECONDS"),
    (r"\d+\.\d+ %", "SHARE"),  # accuracies belong to a numeric environment
    (r"accuracy 0\.\d+", "accuracy"),
    (r" +", " "),
)
"""What differs from day to day and from machine to machine. Counts of records and passes do not."""


def settled(text):
    """Return the lines of an output without what varies."""
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def sessions(text):
    """Yield command and printed lines from the console blocks of a page."""
    for block in blocks(text):
        if block.language == "console":
            for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield command, settled(output)


def agree(shown, printed):
    """Whether lines that are shown are those that were printed; `...` stands for any number."""
    if not shown or not printed:
        return shown in ([], ["..."]) and not printed
    if shown[0] == "...":
        rest = shown[1:]
        return not rest or any(agree(rest, printed[i:]) for i in range(len(printed)))
    return shown[0] == printed[0] and agree(shown[1:], printed[1:])


def test_it_is_short():
    lines = README.read_text().splitlines()
    assert len(lines) <= 200
    assert lines.index("### What is not erased yet") < lines.index("## Set-up")


def test_what_is_not_erased_is_told_twice_in_the_same_words():
    def table(text):
        return re.search(r"^\| place \| holds \|\n(\|.*\n)+", text, re.MULTILINE)[0]

    guarantees = (REPOSITORY / "docs" / "guarantees.md").read_text()
    assert table(README.read_text()) == table(guarantees)


@pytest.fixture(scope="module")
def printed(new_project):
    """What the five commands of the README print, and note, in the project of the demo."""
    changes = {"partition.shards": 10, "partition.slices": 4, "train.epochs": 40}
    changes["evaluate.audit"] = {"members": 16}  # which five records are too few for
    project = new_project("readme", changes)
    project.dvc("repro", "--quiet", "train")
    outputs = {}
    for command, _ in sessions(section(README.read_text(), "Five commands")):
        program, *arguments = shlex.split(command)
        assert program == "forgetflow"
        done = project.run_cli(*arguments)
        assert done.returncode == 0, done.stderr
        outputs[command] = settled(done.stderr + done.stdout)  # results come last
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if [*islice(sessions(p.read_text()), 1)]])
def test_console_blocks_show_what_is_printed(printed, page):
    for command, shown in sessions(page.read_text()):
        assert command in printed, f"{command} is not among the five commands of the README"
        assert agree(shown, printed[command]), (command, shown, printed[command])


def test_other_output_would_be_found():
    printed = settled(
        "batch  b1\ndue  2026-12-28 (29 days left)\nto retrain  4,480 record passes\n"
    )
    assert agree(settled("batch b1\n...\n"), printed)
    assert agree(settled("...\nto retrain   4,480 record passes\n"), printed)
    assert not agree(settled("...\nto retrain  4,481 record passes\n"), printed)
    assert not agree(settled("batch  b1\nto retrain  4,480 record passes\n"), printed)
    assert not agree(settled("batch  b1\n"), printed)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A project folder with a table of people, as the current folder."""
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    rows = [f"c{i},p{i // 2:03d},{i},nurse,{'yes' if i % 3 else 'no'},0.1" for i in range(200)]
    text = "\n".join(["id,person,age,job,churn,risk", *rows])
    (tmp_path / "people.csv").write_text(f"{text}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("page", "title"),
    [(README, "Your own data"), (REPOSITORY / "docs" / "own-data.md", "Tables")],
    ids=["README", "site"],
)
def test_own_data_is_taken_in_as_described(table, page, title):
    described = blocks(section(page.read_text(), title))
    params = yaml.safe_load((table / "params.yaml").read_text())
    (columns,) = [yaml.safe_load(b.text) for b in described if b.language == "yaml"]
    params["data"] |= columns["data"]
    (table / "params.yaml").write_text(yaml.safe_dump(params))
    done = []
    for block in described:
        for line in block.text.splitlines() if block.language == "bash" else []:
            program, *words = shlex.split(line, comments=True)
            if program == "forgetflow" and words != ["forget"]:  # the pipeline has tests of its own
                result = CliRunner().invoke(cli.app, words)
                assert result.exit_code == 0, (line, result.output, result.exception)
                done.append(words[0])
    assert done[0] == "data"
    assert any((table / "data" / "train").iterdir())
