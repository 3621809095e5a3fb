"""How many learners train in lockstep follows from the cache of a core."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forgetflow.cli.doctor import examine
from forgetflow.config.project import Project
from forgetflow.training import memory
from forgetflow.training.lockstep import evenly
from forgetflow.training.memory import FEWEST, MOST, UNKNOWN_CACHE, core_cache, fitting_cache

KIB = 1024


@pytest.fixture
def digits(make_recipe):
    """64-128-10 in batches of 64: its largest product reads and writes 80 KiB."""
    return make_recipe((64,), 10, model={"hidden": [128]}, train={"batch_size": 64})


@pytest.mark.parametrize(
    ("cache", "expected"),
    [(256 * KIB, FEWEST), (512 * KIB, 6), (1024 * KIB, 12), (2048 * KIB, 25), (2**30, MOST)],
)
def test_as_many_as_the_cache_holds(digits, monkeypatch, cache, expected):
    monkeypatch.setattr(memory, "core_cache", lambda: cache)
    assert fitting_cache(digits) == expected


def test_the_size_is_torchs_and_else_a_stated_one(digits, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"l2_cache_size": 2**20})
    assert core_cache() == 2**20
    assert fitting_cache(digits) == 12
    for unable in ({}, {"l2_cache_size": 0}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda unable=unable: unable)
        assert core_cache() is None
        assert fitting_cache(digits) == UNKNOWN_CACHE // (80 * KIB)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert core_cache() is None


@pytest.mark.parametrize(("size", "level"), [(2**20, "ok"), (None, "warning")])
def test_the_doctor_names_the_cache(monkeypatch, tmp_path, size, level):
    monkeypatch.setattr(memory, "core_cache", lambda: size)
    (found,) = (one for one in examine(Project(tmp_path)) if one.check == "cache")
    assert found.level == level
    assert ("1024 KiB" if size else f"{UNKNOWN_CACHE // KIB} KiB assumed") in found.found


def test_wide_networks_and_large_batches_are_fewer(make_recipe, monkeypatch):
    monkeypatch.setattr(memory, "core_cache", lambda: 2**20)
    found = [
        fitting_cache(make_recipe((32,), 10, model={"hidden": hidden}, train={"batch_size": size}))
        for hidden, size in (([32], 16), ([64], 16), ([64], 64), ([64, 256], 64), ([2000], 64))
    ]
    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1]) == (MOST, FEWEST)


@given(st.integers(0, 200), st.integers(1, 70))
def test_pieces_are_few_and_equal(count, most):
    things = list(range(count))
    pieces = evenly(things, most)
    assert [thing for piece in pieces for thing in piece] == things
    assert len(pieces) == -(-count // most)
    sizes = [len(piece) for piece in pieces]
    assert max(sizes, default=0) <= most
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
