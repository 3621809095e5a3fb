"""The recipes of CONTRIBUTING.md, carried out in a copy of the sources."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.docs.blocks import REPOSITORY, carry_out, patched, section

RECIPES = (
    "an unlearning method",
    "a model",
    "a measure",
    "an audit measure",
    "a data source",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The sources and tests with all recipes carried out, and the tests that these brought."""
    root = tmp_path_factory.mktemp("contributed")
    for name in ("src", "flows", "tests", "tools", "benchmarks"):
        shutil.copytree(
            REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    guide = (REPOSITORY / "CONTRIBUTING.md").read_text()
    tests = []
    for name in RECIPES:
        tests += carry_out(section(guide, f"How to add {name}"), root)
    return root, tests


def run(root, *arguments):
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}"}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_recipes_add_passes_their_own_tests_and_the_laws_of_methods(copy):
    root, tests = copy
    laws = "tests/unlearning/test_laws.py"
    chosen = ("-vv", "-k", "noise or not test_laws")
    done = run(root, "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *chosen, *tests, laws)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(tests) == len(RECIPES)
    for path in tests:
        assert f"{path}::" in done.stdout
    assert re.search(rf"{laws}::test_the_same_deletion\S*\[noise\S* PASSED", done.stdout)


def test_what_recipes_add_is_in_the_style_of_the_house(copy):
    root, _ = copy
    for arguments in (["check"], ["format", "--check"]):
        done = run(root, "ruff", *arguments, "src", "tests")
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("source", ["", "b\na\n", "a\nb\na\nb\n"])
def test_a_recipe_for_code_that_is_no_longer_there_is_found(source):
    with pytest.raises(AssertionError, match="places for"):
        patched(source, " a\n-b\n+c\n")


def test_hunks_change_what_they_name():
    assert patched("a\nb\nc\n", " a\n-b\n+B\n...\n c\n+d\n") == "a\nB\nc\nd\n"
