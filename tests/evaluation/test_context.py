import numpy as np
import pytest

from forgetflow.config.settings import Settings
from forgetflow.evaluation.context import MAX_LOSS, EvaluationContext


def test_a_model_predicts_a_set_once(attacked) -> None:
    context = attacked(unlearned=(np.ones(20), np.ones(20)))
    for _ in range(3):
        context.losses("unlearned", "forget")
        context.correct("unlearned", "forget")
    assert context.models["unlearned"].calls == [20]


def test_losses_are_minus_log_of_the_labels_probability(attacked) -> None:
    wanted = np.linspace(0.01, 4.0, 20)
    context = attacked(unlearned=(wanted, np.ones(20)))
    np.testing.assert_allclose(context.losses("unlearned", "forget"), wanted)
    assert context.correct("unlearned", "forget").tolist() == (wanted < np.log(2)).tolist()


def test_a_vote_without_a_voice_for_the_label_has_the_largest_loss(attacked) -> None:
    context = attacked(unlearned=(np.full(20, np.inf), np.zeros(20)))
    assert (context.losses("unlearned", "forget") == MAX_LOSS).all()
    assert (context.losses("unlearned", "test") == 0.0).all()


def test_an_empty_set_asks_no_model(attacked, make_records) -> None:
    context = attacked(unlearned=(np.ones(20), np.ones(20)))
    empty = EvaluationContext(context.models, {"forget": make_records([])}, Settings())
    assert empty.losses("unlearned", "forget").shape == (0,)
    assert empty.size("forget") == empty.size("retain") == 0
    assert context.models["unlearned"].calls == []


def test_names_come_in_a_fixed_order_and_others_are_refused(attacked) -> None:
    sides = (np.ones(20), np.ones(20))
    context = attacked(oracle=sides, parent=sides, unlearned=sides)
    assert context.model_names == ["unlearned", "parent", "oracle"]
    assert context.set_names == ["forget", "test"]
    with pytest.raises(ValueError, match="gold"):
        EvaluationContext({"gold": context.models["oracle"]}, {}, Settings())
