"""Metrics as people read them: rounded, named, and a reason for every one that is missing."""

import re

import pytest

from forgetflow.cli import metrics
from forgetflow.cli.console import seconds
from forgetflow.evaluation.evaluate import Evaluation
from forgetflow.evaluation.gate import GateVerdict
from forgetflow.evaluation.report import Entry, summarise
from forgetflow.records.schema import TensorFeatures
from forgetflow.training.card import ModelCard
from forgetflow.training.promise import Exact

CARD = {
    "promise": Exact(),
    "aggregation": "mean",
    "class_names": ("a", "b"),
    "input_shape": (1,),
    "architecture": {},
    "records": 1377,
    "retain_digest": "0" * 64,
    "environment": {},
    "recipe": "0" * 64,
    "constituents": (),
    "features": TensorFeatures((1,), "float32"),
}
SHARE = 0.9518072289156626
METRICS = {
    "records": {"forget": 5, "retain": 1377, "test": 415},
    "accuracy": {
        "unlearned": {"test": SHARE, "retain": 0.9587554269175108, "forget": 0.8},
        "oracle": {"test": 0.9542168674698795, "retain": 0.9600580973129993, "forget": 0.8},
        "original": {"test": 0.9493975903614458, "retain": 0.95, "forget": 1.0},
    },
    "membership": {"unlearned": {"auc": 0.5199999999}, "oracle": {"auc": 0.54321}},
    "points": {"counted": 4480, "full_retraining": 57984.0},
    "cost": {"unlearned": {"seconds": 0.0123}, "full_retraining": {"seconds": 0.36}},
}
REASONS = {"audit": "no audit: evaluate.audit.members is 0"}
GATE = GateVerdict(True, ())


def deletion(without=(), reasons=REASONS, gate=GATE, **changes) -> Entry:
    """Return a deletion's entry, without the metrics of some models or measures."""
    metrics = {
        name: {k: v for k, v in values.items() if k not in without}
        for name, values in METRICS.items()
        if name not in without
    }
    facts = {"parent": "original", "method": "sisa", "forgotten": 5, "manifests": ("0",)}
    card = ModelCard(generation="b1", **(CARD | facts | changes))
    return Entry(card, Evaluation(metrics, reasons), gate)


def original() -> Entry:
    facts = {"parent": None, "method": "build", "forgotten": 0, "manifests": ()}
    measured = Evaluation({"accuracy": {"original": {"test": SHARE, "retain": 0.99}}})
    return Entry(ModelCard(generation="original", **(CARD | facts)), measured, GATE)


def lines(text: str) -> dict[str, str]:
    """Return name -> value of the lines of a text."""
    return dict(re.split(r"  +", line, maxsplit=1) for line in text.splitlines())


ENTRIES = {
    "all": deletion(),
    "without an oracle": deletion(["oracle", "full_retraining"]),
    "without an attack": deletion(["membership"], REASONS | {"membership": "too few pairs"}),
    "without an evaluation": deletion(METRICS, {}),
    "without a gate": deletion(gate=None),
    "the original": original(),
}


@pytest.mark.parametrize("against", ["oracle", "parent", "original"])
@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_no_metric_is_a_dash_nothing_or_sixteen_digits(entry, against):
    texts = [metrics.evaluation(entry, against)]
    texts += [metrics.generation(summarise(entry))] if entry.card.parent else []
    for text in texts:
        assert not re.search(r"(^|[ (])(-|None|nan|\{.*)($|[ ,)])", text, re.MULTILINE)
        assert not re.search(r"\.\d{4}", text)
        assert all(lines(text).values())


def test_metrics_are_rounded_named_and_beside_those_of_another_model():
    assert lines(metrics.evaluation(deletion(), "oracle")) == {
        "generation": "b1: sisa (exact)",
        "test accuracy": "95.2 % (oracle 95.4 %)",
        "retain accuracy": "95.9 % (oracle 96.0 %)",
        "forget accuracy": "80.0 % (oracle 80.0 %)",
        "membership attack AUC": "0.520 (oracle 0.543)",
        "gate": "nothing checked",
    }


def test_without_an_oracle_it_says_why():
    said = lines(metrics.evaluation(ENTRIES["without an oracle"], "oracle"))
    assert said["test accuracy"] == "95.2 %"
    assert "no test accuracy, no retain accuracy" in said["oracle"]
    assert "evaluate.oracle is false" in said["oracle"]


def test_each_reason_is_told_once_beside_the_metrics_it_is_of():
    said = metrics.evaluation(deletion(), "original")
    assert lines(said)["original"] == "no membership attack AUC: not measured for the original"
    said = lines(metrics.evaluation(original(), "oracle"))
    assert said["forget accuracy"] == "none: this is the first build: nothing was forgotten"


def test_a_deletion_says_why_it_has_no_audit_no_oracle_and_no_gate():
    said = lines(metrics.generation(summarise(ENTRIES["without an oracle"])))
    assert said["audit"] == "no audit: evaluate.audit.members is 0"
    assert said["training time"].startswith("12.3 ms (no full retraining: ")
    assert said["test accuracy"].startswith("95.2 % (no oracle: ")
    assert "no gate was checked" in metrics.generation(summarise(ENTRIES["without a gate"]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0004, "0.400 ms"),
        (0.0123, "12.3 ms"),
        (0.36, "0.36 s"),
        (28.4, "28.4 s"),
        (246, "4.1 min"),
        (8280, "2.3 h"),
    ],
)
def test_durations_are_said_as_people_say_them(value, text):
    assert seconds(value) == text
