import numpy as np
import pytest

from forgetflow.config.settings import Settings
from forgetflow.evaluation.context import EvaluationContext
from forgetflow.evaluation.distance import Distance, jensen_shannon

ONE_HOT = np.eye(10)[:1]
UNIFORM = np.full((1, 10), 0.1)


def test_jensen_shannon_closed_forms() -> None:
    assert jensen_shannon(ONE_HOT, np.eye(10)[1:2])[0] == pytest.approx(1.0)
    assert jensen_shannon(ONE_HOT, UNIFORM)[0] == pytest.approx(0.75828, abs=5e-6)
    assert jensen_shannon(UNIFORM, UNIFORM)[0] == 0.0


def test_jensen_shannon_is_symmetric_and_bounded() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.full(5, 0.2), 100), rng.dirichlet(np.full(5, 0.2), 100)
    there, back = jensen_shannon(p, q), jensen_shannon(q, p)
    np.testing.assert_allclose(there, back)
    assert ((there >= 0) & (there <= 1)).all()


def test_distance_to_the_oracle(attacked) -> None:
    sure = np.zeros(20)
    half_wrong = np.array([0.0, np.inf] * 10)
    context = attacked(unlearned=(half_wrong, sure), parent=(sure, sure), oracle=(sure, sure))
    assert Distance().measure(context) == {
        "unlearned": {"forget": {"identical": 0.5, "js": 0.5}, "test": {"identical": 1, "js": 0}},
        "parent": {"forget": {"identical": 1, "js": 0}, "test": {"identical": 1, "js": 0}},
    }


def test_what_cannot_be_said_is_not(attacked, make_records) -> None:
    context = attacked(unlearned=(np.ones(20), np.ones(20)))
    assert "no oracle" in Distance().measure(context)["reason"]

    model = context.models["unlearned"]
    few = EvaluationContext(
        {"unlearned": model, "oracle": model}, {"forget": make_records([0, 1, 0, 1])}, Settings()
    )
    metrics = Distance().measure(few)["unlearned"]["forget"]
    assert metrics["js"] is None
    assert "fewer than 5" in metrics["reason"]
