"""ZRF against closed forms and SciPy, and against the wrong copy in circulation."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from forgetflow.audit.zrf import Zrf, zrf


def tables(*rows: np.ndarray) -> np.ndarray:
    """Return one member per row, which predicts it for all of 15 records: (M, 15, C)."""
    return np.stack([np.tile(row, (15, 1)) for row in rows])


def test_likeness_to_the_teacher_is_one() -> None:
    rng = np.random.default_rng(0)
    teachers = rng.dirichlet(np.ones(4), (3, 9))
    assert zrf(teachers, teachers).tolist() == [1.0] * 3


@pytest.mark.parametrize(("classes", "value"), [(10, 0.2417), (100, 0.0405)])
def test_certainty_against_a_uniform_teacher(classes: int, value: float) -> None:
    uniform = np.full(classes, 1 / classes)
    found = zrf(tables(np.eye(classes)[0]), tables(uniform))
    assert found[0] == pytest.approx(value, abs=5e-5)
    assert zrf(tables(np.eye(classes)[0]), tables(np.eye(classes)[1]))[0] == pytest.approx(0)


def test_it_is_one_minus_scipys_divergence() -> None:
    rng = np.random.default_rng(1)
    own, teachers = rng.dirichlet(np.ones(5), (5, 30)), rng.dirichlet(np.ones(5), (2, 30))
    expected = [
        1 - (jensenshannon(own[i], teachers[i % 2], base=2, axis=1) ** 2).mean() for i in range(5)
    ]
    np.testing.assert_allclose(zrf(own, teachers), expected)


def test_it_is_not_the_wrong_copy() -> None:
    """KL(m || p), averaged over classes, calls a certain model nearly ignorant."""
    certain = np.full(10, 1e-3)
    certain[0] = 1 - 9e-3
    uniform = np.full(10, 0.1)
    middle = (certain + uniform) / 2
    wrong = 1 - (stats.entropy(middle, certain) + stats.entropy(middle, uniform)) / 2 / 10
    assert wrong > 0.89
    assert zrf(tables(certain), tables(uniform))[0] < 0.3


def test_estimates_aim_at_the_oracle(make_context) -> None:
    sure, unsure = np.array([0.9, 0.05, 0.05]), np.array([0.6, 0.2, 0.2])
    uniform = np.full(3, 1 / 3)
    context = make_context(
        [0] * 5,
        [0] * 5,
        [0] * 5,
        oracle=tables(sure, unsure),
        second_oracle=tables(unsure, sure),
        original=tables(sure, sure),
        ascent=tables(uniform, uniform),
    )
    estimates = {f.contender: f for f in Zrf().estimates(context)}
    target = np.mean([1 - jensenshannon(p, uniform, base=2) ** 2 for p in (sure, unsure)])
    assert [f.target for f in estimates.values()] == pytest.approx([target] * 4)
    assert estimates["oracle"].value == estimates["second oracle"].value == pytest.approx(target)
    assert estimates["original"].value < target < estimates["ascent"].value == 1.0
    assert estimates["oracle"].low < target < estimates["oracle"].high
    assert Zrf().tables(context) == {}


def test_small_sets_are_withheld(make_context) -> None:
    pools = {"oracle": tables(np.eye(2)[0])[:, :14], "second_oracle": tables(np.eye(2)[0])[:, :14]}
    estimates = Zrf().estimates(make_context([0] * 5, [0] * 4, [0] * 5, **pools))
    assert [f.contender for f in estimates] == ["oracle", "second oracle"]
    assert all(f.value is None and "withheld" in f.reason for f in estimates)
