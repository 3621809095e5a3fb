"""Terciles by memorisation: who chooses them, and what is measured in them."""

from collections.abc import Callable

import numpy as np
import pytest

from forgetflow.audit.context import FLOOR, AuditContext
from forgetflow.audit.memorisation import Memorisation, memorisation, terciles
from forgetflow.audit.protocol import Estimate

MakeContext = Callable[..., AuditContext]
COUNT = 18
GAIN = np.random.default_rng(0).permutation(np.linspace(0.0, 0.8, COUNT))
"""Memorisation of the forget records."""

LOW, MID, HIGH = np.split(np.argsort(GAIN), 3)


def forgotten(*members: np.ndarray) -> np.ndarray:
    """Members with given probabilities of the class (0 of 2) of each forget record."""
    tables = np.full((len(members), COUNT + 10, 2), 0.5)
    own = np.stack(members)
    tables[:, 5 : 5 + COUNT] = np.stack([own, 1 - own], axis=2)
    return tables


def flat(value: float) -> np.ndarray:
    return np.full(COUNT, value)


def made(make_context: MakeContext, **pools: np.ndarray) -> AuditContext:
    usual = {
        "oracle": forgotten(flat(0.15), flat(0.05), flat(0.6), flat(0.6)),
        "second_oracle": forgotten(flat(0.6)),
        "original": forgotten(0.1 + GAIN + 0.05, 0.1 + GAIN - 0.05),
    }
    return make_context([0] * 5, [0] * COUNT, [0] * 5, **usual | pools)


def found(context: AuditContext) -> dict[tuple[str, str], Estimate]:
    return {(one.contender, one.statistic): one for one in Memorisation().estimates(context)}


def test_memorisation_is_the_gain_over_the_first_half(make_context: MakeContext) -> None:
    assert memorisation(made(make_context)) == pytest.approx(GAIN)
    rows = Memorisation().tables(made(make_context))["memorisation.csv"]
    assert [r["records"] for r in rows] == [6, 6, 6]
    assert [r["memorisation"] for r in rows] == pytest.approx(
        [GAIN[one].mean() for one in (LOW, MID, HIGH)]
    )


def test_terciles_are_thirds_by_rank_and_ties_go_by_position() -> None:
    groups = terciles(np.array([3.0, 1.0, 2.0, 9.0, -1.0, 5.0, 4.0]))
    assert [sorted(one.tolist()) for one in groups] == [[1, 2, 4], [0, 6], [3, 5]]
    ties = terciles(np.tile([0.0, 1.0], 450))
    assert np.concatenate(ties).tolist() == [*range(0, 900, 2), *range(1, 900, 2)]


def test_estimates_per_tercile(make_context: MakeContext) -> None:
    # The method forgets the high tercile only: it gets all of it wrong, with p_y = 0.2.
    method = flat(0.6)
    method[HIGH] = 0.2
    estimates = found(made(make_context, method=forgotten(method, flat(0.6))))
    expected = {"low": 1.0, "mid": 1.0, "high": 0.5}
    gap = abs(np.log(0.2 / 0.8) - np.log(0.6 / 0.4)) / 2
    for tercile, accuracy in expected.items():
        assert estimates["method", f"accuracy_{tercile}"].value == accuracy
        assert estimates["method", f"accuracy_{tercile}"].target == 1
        assert estimates["oracle", f"accuracy_{tercile}"].value == 1
        wanted = gap if tercile == "high" else 0
        assert estimates["method", f"margin_gap_{tercile}"].value == pytest.approx(wanted)
        assert estimates[FLOOR, f"margin_gap_{tercile}"].value == pytest.approx(0)
    assert ("oracle", "margin_gap_high") not in estimates


def test_oracles_that_choose_do_not_judge_and_the_reverse(make_context: MakeContext) -> None:
    usual = made(make_context, oracle=forgotten(flat(0.1), flat(0.6)))
    # Another first half of the same order: no estimate moves.
    choosing = made(make_context, oracle=forgotten(0.1 + GAIN / 2, flat(0.6)))
    assert not np.allclose(memorisation(choosing), memorisation(usual))
    for place, estimate in found(usual).items():
        assert found(choosing)[place].value == pytest.approx(estimate.value)
    # Another second half: the same terciles, other estimates.
    judging = made(make_context, oracle=forgotten(flat(0.1), flat(0.2)))
    assert memorisation(judging) == pytest.approx(memorisation(usual))
    assert found(judging)["oracle", "accuracy_high"].value == 0
    assert found(judging)[FLOOR, "margin_gap_low"].value == pytest.approx(
        np.log(0.6 / 0.4) - np.log(0.2 / 0.8)
    )


def test_reasons_where_terciles_cannot_be_had(make_context: MakeContext) -> None:
    one = made(make_context, oracle=forgotten(flat(0.1)))
    half = np.full((2, 24, 2), 0.5)
    few = make_context([0] * 5, [0] * 14, [0] * 5, oracle=half, second_oracle=half, original=half)
    without = make_context([0] * 5, [0] * 14, [0] * 5, oracle=half, second_oracle=half)
    for context, reason in ((one, "one oracle"), (few, "fewer than 15"), (without, "no original")):
        estimates = found(context)
        assert estimates[FLOOR, "margin_gap_high"].value is None
        assert reason in estimates[FLOOR, "margin_gap_high"].reason
        assert Memorisation().tables(context)["memorisation.csv"] == []
