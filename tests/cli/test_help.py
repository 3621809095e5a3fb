"""What `--help` says: verbs in the order of work, methods, an example of a selector, exit codes."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from forgetflow import __version__
from forgetflow.cli import main as cli
from forgetflow.cli.helps import ORDER, method_names
from forgetflow.cli.requests import WHERE
from forgetflow.errors import ForgetflowError, InputError, VerdictError
from forgetflow.records.schema import ColumnFeatures, RecordSchema
from forgetflow.requests.where import check_where
from forgetflow.unlearning.registry import METHODS

PEOPLE = RecordSchema(("no", "yes"), ColumnFeatures(("age",), ("job",), 8))


def helped(*verb: str) -> str:
    done = CliRunner().invoke(cli.app, [*verb, "--help"])
    assert done.exit_code == 0, done.output
    return done.output


def listed(text: str) -> list[str]:
    """Return the verbs that a help text lists, in its order."""
    return re.findall(r"^  ([a-z]+)  ", text.split("Commands:")[1], re.MULTILINE)


def test_verbs_stand_in_the_order_of_work():
    assert listed(helped()) == list(ORDER)


def test_a_deletion_is_planned_sealed_forgotten_and_verified_in_this_order():
    steps = ["data", "request", "plan", "seal", "forget", "verify", "lineage", "predict"]
    assert [verb for verb in listed(helped()) if verb in steps] == steps


@pytest.mark.parametrize("group", [None, "data", "request", "lineage", "study"])
def test_no_summary_of_a_verb_is_cut(group):
    assert "..." not in helped(*[group] if group else []).split("Commands:")[1]


@pytest.mark.parametrize("verb", ["plan", "seal", "forget", "study methods"])
def test_methods_are_named_where_one_is_taken(verb):
    said = " ".join(helped(*verb.split()).split())
    assert all(re.search(rf"\b{name}\b", said) for name in METHODS)


def test_the_named_methods_are_those_of_the_registry():
    assert method_names().split(", ") == sorted(METHODS)


def test_the_example_of_a_selector_is_shown_and_one():
    said = " ".join(helped("request", "add").split())
    assert WHERE in said
    (example,) = re.findall(r"Example: forgetflow request add --where '([^']+)'", said)
    check_where(WHERE, PEOPLE)
    check_where(example, PEOPLE)


def test_a_wrong_selector_would_be_found():
    with pytest.raises(InputError):
        check_where("label = 3", PEOPLE)


@pytest.mark.parametrize("error", [ForgetflowError, InputError, VerdictError])
def test_exit_codes_are_named(error):
    codes = dict(re.findall(r"^ +(\d)  (\S.*)$", helped().split("Exit codes:")[1], re.MULTILINE))
    assert set(codes) == {"0", "1", "2", "3"}
    words = {InputError: "bad input", VerdictError: "verdict"}
    assert words.get(error, "unexpected") in codes[str(error.exit_code)]


def test_the_version_is_printed():
    assert CliRunner().invoke(cli.app, ["--version"]).output == f"forgetflow {__version__}\n"


def test_help_waits_for_no_heavy_library():
    heavy = ["torch", "numpy", "pyarrow", "prefect", "dvc", "mlflow", "sklearn"]
    code = (
        "import sys; from forgetflow.cli.main import app; "
        "app(['forget', '--help'], standalone_mode=False); "
        f"print(sorted(set({heavy}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--method" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
