"""The digest of code: what it sees, where it stops, and that it sees nothing else."""

import sys
from types import SimpleNamespace

import pytest

from forgetflow.keys import code
from forgetflow.keys.code import code_digest, module_of, reached

CODE = '''
"""Module docstring."""
import os

def f(x):
    """Docstring."""
    # A comment.
    return x + 1

class C:
    """Only a docstring."""
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# A comment.", "# Another one.", True),
        ('"""Docstring."""', '"""Reworded."""', True),
        ('"""Docstring."""', "", True),
        ('"""Only a docstring."""', "pass", True),
        ("x + 1", "(x\n        + 1)", True),
        ("x + 1", "x + 2", False),
        ("def f(x)", "def g(x)", False),
        ("return x + 1", 'y = "text"\n    return x + 1', False),
        ("import os", "import sys", False),
    ],
)
def test_code_digest_sees_code_and_nothing_else(project, old, new, same):
    assert old in CODE
    project("room.f", CODE)
    before = code_digest("forgetflow.room.f")
    project("room.f", CODE.replace(old, new, 1))
    assert (code_digest("forgetflow.room.f") == before) == same


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a writer of modules into a project of its own."""
    monkeypatch.setattr(code, "FOLDER", tmp_path)

    def write(name, text):
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        code._read.cache_clear()

    yield write
    code._read.cache_clear()


def test_imports_are_followed_wherever_they_stand(project):
    project("a.top", "from forgetflow.b import module\nimport forgetflow.b.plain\nimport os\n")
    project("b.module", "def f():\n    from forgetflow.c.deep import x\n    return x\n")
    project("b.plain", "")
    project("c.deep", "x = 1\n")
    project("c.aside", "x = 1\n")
    wanted = {"a.top", "b.module", "b.plain", "c.deep"}
    assert reached(["forgetflow.a.top"]) == {f"forgetflow.{name}" for name in wanted}
    before = code_digest("forgetflow.a.top")
    project("c.aside", "x = 2\n")
    assert code_digest("forgetflow.a.top") == before
    project("c.deep", "x = 2\n")
    assert code_digest("forgetflow.a.top") != before


def test_registries_settings_and_types_are_not_followed(project):
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import forgetflow.a.types\n"
    project("a.types", "")
    project("a.registry", "import forgetflow.a.entry\n")
    project("a.entry", "")
    project("config.block", "")
    imports = "import forgetflow.a.registry\nfrom forgetflow.config.block import x\n"
    project("a.top", types + imports)
    assert reached(["forgetflow.a.top"]) == {"forgetflow.a.top"}
    found = reached(["forgetflow.a.top", "forgetflow.a.entry"])
    assert found == {"forgetflow.a.top", "forgetflow.a.entry"}
    before = code_digest("forgetflow.a.top")
    project("a.top", types.replace("types", "others") + imports)
    assert code_digest("forgetflow.a.top") == before


def test_circles_end_and_unknown_modules_are_refused(project):
    project("a.one", "import forgetflow.a.two\n")
    project("a.two", "import forgetflow.a.one\n")
    assert reached(["forgetflow.a.one"]) == {"forgetflow.a.one", "forgetflow.a.two"}
    with pytest.raises(ValueError, match=r"no module forgetflow\.a\.three"):
        code_digest("forgetflow.a.three")


def test_a_file_of_ones_own_counts_with_what_it_imports(project, tmp_path, monkeypatch):
    project("a.used", "x = 1\n")
    path = tmp_path / "mine.py"
    path.write_text("from forgetflow.a.used import x\n")
    monkeypatch.setitem(sys.modules, "mine", SimpleNamespace(__file__=str(path)))
    assert reached(["mine"]) == {"mine", "forgetflow.a.used"}
    first = code_digest("mine")
    project("a.used", "x = 2\n")
    second = code_digest("mine")
    path.write_text("from forgetflow.a.used import x\ny = x\n")
    code._read.cache_clear()
    assert len({first, second, code_digest("mine")}) == 3
    monkeypatch.setitem(sys.modules, "typed_in", SimpleNamespace())
    with pytest.raises(ValueError, match="no module typed_in with a source file"):
        code_digest("typed_in")


def test_roots_count_in_any_order_and_once():
    names = ("forgetflow.keys.digests", "forgetflow.store.store")
    assert code_digest(*names) == code_digest(*names[::-1]) == code_digest(*names, *names)
    assert code_digest(names[0]) != code_digest(names[1])


def test_the_module_of_functions_classes_and_instances():
    assert module_of(code_digest) == module_of(code._Source) == "forgetflow.keys.code"
    assert module_of(code._Source("", frozenset())) == "forgetflow.keys.code"
