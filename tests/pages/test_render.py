"""What making a page loads, and what a template may not do."""

import subprocess
import sys

import pytest
from jinja2 import UndefinedError

from forgetflow.pages.render import render

MODULES = ("charts", "report", "lineage", "sharding", "audit.page")
LOOK = """
import importlib, sys
for module in {modules}:
    importlib.import_module(f"forgetflow.pages.{{module}}")
    print(module, [name for name in ("jinja2", "matplotlib") if name in sys.modules])
"""
DRAW = """
from forgetflow.pages.charts import Bar, bars
bars("title", [Bar("b1", 0.5)])
print([name for name in ("matplotlib", "matplotlib.pyplot") if name in sys.modules])
"""


def said(code: str) -> list[str]:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def test_nothing_heavy_is_loaded_before_a_page_is_made_and_charts_need_no_pyplot() -> None:
    lines = said(LOOK.format(modules=MODULES) + DRAW)
    assert lines == [*(f"{module} []" for module in MODULES), "['matplotlib']"]


def test_a_name_that_was_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("lineage")
