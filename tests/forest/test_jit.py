"""Compiled code is kept under the name of the source it was compiled from."""

import pytest

from forgetflow.forest import jit


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    monkeypatch.setattr(jit.config, "CACHE_DIR", "")
    (tmp_path / "draw.py").write_text("a = 1")
    return tmp_path


def test_any_change_of_source_moves_the_cache(package):
    before = jit._cache_folder()
    assert before == jit._cache_folder()
    assert before.parent == package / "__pycache__"
    (package / "draw.py").write_text("a = 2")
    assert jit._cache_folder() != before


def test_a_chosen_folder_is_used_and_none_is_no_error(package, monkeypatch):
    monkeypatch.setattr(jit.config, "CACHE_DIR", str(package / "chosen"))
    assert jit._cache_folder().parent == package / "chosen"
    monkeypatch.setattr(jit.config, "CACHE_DIR", str(package / "draw.py"))  # no folder
    assert jit._cache_folder() is None


def test_compiled_functions_leave_the_setting_of_numba_alone():
    before = jit.config.CACHE_DIR
    assert jit.jit(lambda x: x + 1)(1) == 2
    assert before == jit.config.CACHE_DIR
