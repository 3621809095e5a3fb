import numpy as np

from forgetflow.config.settings import Settings
from forgetflow.evaluation.accuracy import TABLE, Accuracy
from forgetflow.evaluation.context import EvaluationContext

RIGHT, WRONG = 0.1, 3.0


def test_accuracy_is_the_share_of_right_predictions(attacked) -> None:
    losses = np.array([RIGHT] * 15 + [WRONG] * 5)
    context = attacked(unlearned=(losses, np.full(20, RIGHT)), oracle=(losses[::-1], losses))
    assert Accuracy().measure(context) == {
        "unlearned": {"forget": 0.75, "test": 1.0},
        "oracle": {"forget": 0.75, "test": 0.75},
    }


def test_accuracy_by_class(attacked) -> None:
    # Labels alternate 0, 1: the wrong five are records 15 to 19, three of class 1.
    losses = np.array([RIGHT] * 15 + [WRONG] * 5)
    rows = Accuracy().tables(attacked(unlearned=(losses, losses)))[TABLE]
    forget = [row for row in rows if row["set"] == "forget"]
    assert forget == [
        {"model": "unlearned", "set": "forget", "class": "class-0", "records": 10, "accuracy": 0.8},
        {"model": "unlearned", "set": "forget", "class": "class-1", "records": 10, "accuracy": 0.7},
    ]


def test_nothing_has_no_accuracy_and_says_why(make_records, model_with_losses) -> None:
    model = model_with_losses([0, 0], [RIGHT, WRONG])
    sets = {"forget": make_records([]), "test": make_records([0, 0])}
    context = EvaluationContext({"unlearned": model}, sets, Settings())
    assert Accuracy().measure(context)["unlearned"] == {
        "forget": None,
        "test": 0.5,
        "reason": "no records in the forget set",
    }
    empty = [row for row in Accuracy().tables(context)[TABLE] if row["records"] == 0]
    assert len(empty) == 3  # both classes of the forget set, class 1 of the test set
    assert all(row["accuracy"] is None for row in empty)
