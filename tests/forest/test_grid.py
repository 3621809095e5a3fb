"""Grids: where values fall, and what is refused."""

import numpy as np
import pytest

from forgetflow.errors import InputError
from forgetflow.forest.grid import MAX_THRESHOLDS, Grid


def test_codes_count_the_thresholds_below_and_put_missing_last():
    grid = Grid.of([[0.5, 1.5], []])
    codes = grid.codes([[0.5, 1], [0.6, np.nan], [np.inf, -np.inf], [np.nan, 0]])
    assert codes.tolist() == [[0, 1, 2, 3], [0, 1, 0, 0]]
    assert codes.dtype == np.uint8


def test_uniform_cuts_the_declared_range():
    grid = Grid.uniform([0, 10], [4, 20], 3)
    assert [cuts.tolist() for cuts in grid.thresholds] == [[1, 2, 3], [12.5, 15, 17.5]]


def test_public_rows_give_cuts_between_their_values():
    rows = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, np.nan], [2.0, 5.0]])
    grid = Grid.from_public(rows, 10)
    assert [cuts.tolist() for cuts in grid.thresholds] == [[0.5, 1.5], []]


def test_public_quantiles_part_rows_evenly():
    values = np.random.default_rng(0).exponential(size=(5000, 1))
    grid = Grid.from_public(values, 31)
    counts = np.bincount(grid.codes(values)[0], minlength=32)
    assert len(grid.thresholds[0]) == 31
    assert (abs(counts - 5000 / 32) < 5).all()


def test_all_codes_fit_into_a_byte():
    grid = Grid.uniform([0], [1], MAX_THRESHOLDS)
    assert grid.codes([[2.0], [np.nan]]).tolist() == [[254, 255]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Grid.of([]), "0 features"),
        (lambda: Grid.of([[1, 1]]), "increasing order"),
        (lambda: Grid.of([[1, np.inf]]), "finite"),
        (lambda: Grid.of([np.arange(255)]), "at most 254"),
        (lambda: Grid.of([["a"]]), "must be numbers"),
        (lambda: Grid.uniform([1], [1], 3), "below its upper bound"),
        (lambda: Grid.from_public([1.0, 2.0], 3), "form a table"),
    ],
)
def test_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
