"""Benchmarks are not run by tests, but what they import has to be there."""

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_finds_what_it_imports(path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))  # as `python benchmarks/x.py` has it
    assert runpy.run_path(str(path), run_name="imported")
