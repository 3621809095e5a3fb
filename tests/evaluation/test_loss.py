import numpy as np
import pytest

from forgetflow.config.settings import Settings
from forgetflow.evaluation.context import MAX_LOSS, EvaluationContext
from forgetflow.evaluation.loss import BIN_EDGES, TABLE, Loss, histogram


def test_every_loss_falls_into_one_bin_both_ends_included() -> None:
    losses = np.array([0.0, 1e-4, 0.5, 9.9, 10.0, MAX_LOSS, 1e6])
    shares = histogram(losses)
    assert shares.sum() == pytest.approx(1.0)
    assert shares[0] == shares[1] == pytest.approx(1 / 7)  # bins are closed on the left
    assert shares[-1] == pytest.approx(3 / 7)


def test_statistics_and_table(attacked) -> None:
    losses = np.array([0.5] * 10 + [2.0] * 9 + [20.0])
    context = attacked(unlearned=(losses, losses), oracle=(losses, losses))
    metrics = Loss().measure(context)["unlearned"]["forget"]
    assert metrics["mean"] == pytest.approx((5 + 18 + 20) / 20)
    assert metrics["median"] == pytest.approx(1.25)
    rows = Loss().tables(context)[TABLE]
    assert len(rows) == 2 * 2 * (len(BIN_EDGES) - 1)
    assert list(rows[0]) == ["bin_low", "bin_high", "model", "set", "share"]
    mine = [r for r in rows if (r["model"], r["set"]) == ("unlearned", "forget")]
    assert {r["bin_low"]: r["share"] for r in mine if r["share"]} == {0.3: 0.5, 1.0: 0.45, 10: 0.05}


def test_few_records_are_withheld(attacked, make_records) -> None:
    context = attacked(unlearned=(np.ones(20), np.ones(20)))
    for count, withheld in ((4, True), (5, False)):
        sets = {"forget": make_records([0] * count)}
        few = EvaluationContext(context.models, sets, Settings())
        metrics = Loss().measure(few)["unlearned"]["forget"]
        assert (metrics["mean"] is None) == withheld
        assert (not Loss().tables(few)[TABLE]) == withheld
