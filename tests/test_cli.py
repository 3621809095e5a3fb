"""The command line on its own: help, bad input, exit codes. No server, no model."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forgetflow.cli import main as cli
from forgetflow.errors import InputError

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with records and a partition, not under DVC, as the current folder."""
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    run("data", "import", "digits")
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    """Run the command line in this process; returns what it printed."""
    done = CliRunner().invoke(cli.app, list(arguments))
    if isinstance(done.exception, InputError):
        assert code == InputError.exit_code
        return str(done.exception)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


VERBS = [
    ("data", "import"),
    ("request", "add"),
    ("request", "import"),
    ("request", "list"),
    ("request", "hold"),
    ("request", "release"),
    ("seal",),
    ("plan",),
    ("extractor",),
    ("forget",),
    ("evaluate",),
    ("study", "methods"),
    ("study", "sharding"),
    ("study", "forest"),
    ("study", "arcane"),
    ("verify",),
    ("predict",),
    ("lineage", "show"),
    ("lineage", "html"),
    ("lineage", "sync"),
    ("doctor",),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example(verb):
    text = run(*verb, "--help")
    assert f"Example: forgetflow {' '.join(verb)}" in " ".join(text.split())


def test_all_verbs_are_listed_here():
    def names(app, prefix=()):
        for command in app.registered_commands:
            yield (*prefix, command.name or command.callback.__name__)
        for group in app.registered_groups:
            yield from names(group.typer_instance, (*prefix, group.name))

    assert sorted(names(cli.app)) == sorted(VERBS)


@pytest.mark.parametrize("verb", [v for v in VERBS if v != ("lineage", "show")], ids=" ".join)
def test_every_verb_speaks_json(verb):
    assert "--json" in run(*verb, "--help")


def test_import_reports_counts_and_remembers_the_source(project):
    counts = json.loads(run("data", "import", "digits", "--json"))
    assert counts["train"]["records"] + counts["test"]["records"] == 1797
    assert "source: digits" in (project / "params.yaml").read_text()
    assert "# digits, idx, cifar10" in (project / "params.yaml").read_text()


def test_bad_source_leaves_everything_as_it_was(project):
    before = snapshot(project)
    assert "nowhere" in run("data", "import", "idx", "--path", "nowhere", code=2)
    assert "data.source" in run("data", "import", "nonsense", code=2)
    assert snapshot(project) == before


def test_request_add_twice_is_one(project):
    first = json.loads(run("request", "add", "--subject", "writer-007", "--id", "x", "--json"))
    again = json.loads(run("request", "add", "--subject", "writer-007", "--id", "x", "--json"))
    assert first["new"]
    assert not again["new"]
    rows = json.loads(run("request", "list", "--json"))
    assert [(r["request_id"], r["state"], r["records"]) for r in rows] == [("x", "matched", 5)]


def test_request_needs_one_selector(project):
    assert "selector" in run("request", "add", code=2) or "one of" in run("request", "add", code=2)
    run("request", "add", "--subject", "a", "--record", "b", code=2)


def test_unknown_subject_is_reported(project):
    run("request", "add", "--subject", "nobody", "--id", "x")
    rows = json.loads(run("request", "list", "--json"))
    assert rows[0]["state"] == "no_match"
    assert json.loads(run("seal", "--json"))["batch"] is None


def test_seal_and_hold(project):
    run("request", "add", "--subject", "writer-007", "--id", "x")
    run("request", "hold", "x", "--reason", "legal hold")
    assert json.loads(run("seal", "--json"))["batch"] is None
    run("request", "release", "x")
    assert json.loads(run("seal", "--json"))["batch"] == "b1"
    assert json.loads(run("seal", "--json"))["batch"] is None


def test_forget_without_a_model_says_what_to_do(project):
    run("request", "add", "--subject", "writer-007", "--id", "x")
    run("seal")
    assert "dvc repro" in run("forget", "b1", code=2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("forget", "b9"), "b9"),
        (("forget", "--method", "magic"), "magic"),
        (("seal", "--method", "magic"), "magic"),
        (("plan",), "nothing is waiting"),
        (("verify", "b1"), "no batch 'b1'"),
        (("verify",), "dvc repro"),
        (("evaluate", "--against", "nobody"), "oracle, parent or original"),
        (("predict", "missing.csv"), ""),
        (("request", "add", "--where", "label = 3"), ""),
        (("request", "import", "missing.json"), "missing.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_sentence_and_writes_nothing(project, arguments, expected):
    before = snapshot(project)
    message = run(*arguments, code=2)
    assert expected in message
    assert "\n" not in message
    assert snapshot(project) == before


def test_the_program_says_one_sentence_too(project):
    done = subprocess.run(
        [sys.executable, "-m", "forgetflow", "forget", "b9"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: [^\n]*no batch 'b9'[^\n]*\n", done.stderr)


def test_outside_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "params.yaml" in run("request", "list", code=2)


def test_errors_become_exit_codes(monkeypatch, capsys):
    def fail():
        raise InputError("this is wrong: do that")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    assert capsys.readouterr().err == "error: this is wrong: do that\n"
