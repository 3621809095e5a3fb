import numpy as np
import pytest

from forgetflow.evaluation.cost import costs, retrained_samples
from forgetflow.partition.forecast import slicing_restart
from forgetflow.unlearning.cost import Cost

COST = Cost(
    seconds=1.5,
    forward_samples=10,
    backward_samples=9,
    peak_memory_bytes=8,
    stored_bytes=7,
    states=6,
    constituents=5,
)


def test_equal_slices_follow_equation_11() -> None:
    sizes = np.full((4, 5), 20)
    metrics = retrained_samples(1234, sizes, {1: 3, 2: 0}, epochs=10.0)
    expected = slicing_restart(100, 5, 3, 10.0) + 100 * 10
    assert metrics["predicted"] == pytest.approx(expected)
    assert metrics["predicted_equal_slices"] == pytest.approx(expected)
    assert metrics["full_retraining"] == pytest.approx(4 * 100 * 10)
    assert metrics["share_of_full"] == pytest.approx(1234 / 4000)
    assert "reason" not in metrics


def test_unequal_slices_have_their_own_budget() -> None:
    # Two epochs a slice (2 * 3 / 3), over 10 and 40 records.
    metrics = retrained_samples(80, np.array([[10, 30]]), {0: 1}, epochs=3.0)
    assert metrics["predicted"] == pytest.approx(2 * 40)
    assert metrics["predicted_equal_slices"] == pytest.approx(3 * 40 * (3 - 1) / 3)
    assert metrics["full_retraining"] == pytest.approx(2 * 50)


def test_an_emptied_shard_costs_nothing() -> None:
    sizes = np.array([[0, 0], [5, 5]])
    assert retrained_samples(0, sizes, {0: 0}, epochs=6.0)["predicted"] == 0.0


def test_what_is_missing_is_named() -> None:
    sizes = np.full((2, 2), 5)
    no_formula = retrained_samples(10, sizes, None, 1.0)
    assert no_formula["predicted"] is no_formula["predicted_equal_slices"] is None
    assert no_formula["share_of_full"] is not None
    assert "rebuild" in no_formula["reason"]
    uncounted = retrained_samples(None, sizes, {}, 1.0)
    assert uncounted["counted"] is uncounted["share_of_full"] is None
    assert "did not count" in uncounted["reason"]
    assert "no record is left" in retrained_samples(0, sizes * 0, {}, 1.0)["reason"]


def test_costs_stand_beside_full_retraining() -> None:
    both = costs(COST, COST)
    assert both["unlearned"]["seconds"] == both["full_retraining"]["seconds"] == 1.5
    alone = costs(COST, None)
    assert alone["full_retraining"] is None
    assert alone["reason"]
