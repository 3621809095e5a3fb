"""The report's page: what was measured, what is promised, and what nobody could check."""

import numpy as np
import pytest

from forgetflow.config.gate import GateSettings
from forgetflow.evaluation.evaluate import Evaluation, with_extra
from forgetflow.evaluation.gate import Check, GateVerdict, check_gate
from forgetflow.evaluation.loss import BIN_EDGES
from forgetflow.evaluation.report import Entry
from forgetflow.pages.report import report_page, verdict
from forgetflow.records.schema import TensorFeatures
from forgetflow.training.card import ModelCard
from forgetflow.training.promise import Approximate, Certified, Exact

CARD = {
    "parent": None,
    "method": "build",
    "promise": Exact(),
    "aggregation": "mean",
    "class_names": ("a", "b"),
    "input_shape": (1,),
    "architecture": {},
    "records": 100,
    "retain_digest": "0" * 64,
    "forgotten": 0,
    "manifests": (),
    "environment": {},
    "recipe": "0" * 64,
    "constituents": (),
    "features": TensorFeatures((1,), "float32"),
}
MODELS = ("unlearned", "parent", "original", "oracle")
SHARES = np.full(len(BIN_EDGES) - 1, 1 / (len(BIN_EDGES) - 1)).tolist()


def check(name: str, outcome: str = "passed", reason: str = "it is", note: str = "") -> Check:
    return Check(name, 0.5, 0.4, outcome, reason, note)


def metrics() -> dict:
    """Metrics of a deletion, no two alike."""
    value = iter(np.linspace(0.301, 0.899, 60).round(3).tolist())
    return {
        "records": {"forget": 20, "retain": 80, "test": 40},
        "accuracy": {m: {s: next(value) for s in ("retain", "forget", "test")} for m in MODELS},
        "membership": {
            **{m: {"auc": next(value), "attack_accuracy": next(value)} for m in MODELS},
            "pairs": 20,
            "auc_deviation": 0.0912,
        },
        "loss": {m: {"forget": {"mean": next(value)}} for m in MODELS},
        "points": {"counted": 1500, "full_retraining": 6000.0},
        "cost": {"unlearned": {"seconds": 0.25}, "full_retraining": {"seconds": 1.5}},
    }


def deletion(batch="b1", extra=None, checks=(), **changes) -> Entry:
    rows = [
        {"model": model, "set": "forget", "bin": number, "share": share}
        for model in ("unlearned", "oracle")
        for number, share in enumerate(SHARES)
    ]
    evaluation = Evaluation(metrics(), {}, {"loss_histogram.csv": rows})
    facts = {"parent": "original", "method": "sisa", "forgotten": 20, "manifests": ("0",)}
    card = ModelCard(**({"generation": batch} | CARD | facts | changes))
    checks = tuple(checks) or (check("min_test_accuracy"),)
    gate = GateVerdict(all(one.outcome != "failed" for one in checks), checks)
    return Entry(card, with_extra(evaluation, extra or {}), gate)


def original() -> Entry:
    metrics = {"accuracy": {"original": {"test": 0.95, "retain": 0.99}}}
    gate = check_gate(metrics, GateSettings(), "exact", 0, {})
    return Entry(ModelCard(generation="original", **CARD), Evaluation(metrics, {}, {}), gate)


def test_every_metric_that_was_measured_is_there(read) -> None:
    page = read(report_page([original(), deletion()]))
    known = metrics()
    for by_set in known["accuracy"].values():
        assert all(f"{100 * share:.1f} %" in page.text for share in by_set.values())
    for model in MODELS:
        assert f"{known['membership'][model]['auc']:.3f}" in page.text
        assert f"{known['loss'][model]['forget']['mean']:.3f}" in page.text
    assert "1,500 records passed through training, 25.0 % of the 6,000" in page.text
    assert "Computing took 0.25 s against 1.50 s." in page.text
    assert "its AUC varies by ±0.091" in page.text


def test_charts_show_accuracy_cost_and_losses(read) -> None:
    labels = read(report_page([original(), deletion()])).labels()
    assert labels == [
        "Test records",
        "Forgotten records",
        "Records passed through training",
        "Computing time",
        "b1, losses on the forget set",
    ]
    assert read(report_page([original()])).labels() == []


def test_what_each_guarantee_means_is_said(read) -> None:
    exact = read(report_page([deletion()])).text
    assert "byte for byte" in exact
    assert "one numeric environment" in exact
    assert "non-adaptive" in exact
    assert "no promise" not in exact
    approximate = read(report_page([deletion(method="ft", promise=Approximate())])).text
    assert "Approximate: no promise." in approximate
    assert "byte for byte" not in approximate
    budget = Certified(epsilon=1.5, delta=1e-5, spent_epsilon=0.25, spent_delta=2e-6)
    certified = read(report_page([deletion(promise=budget)])).text
    assert "up to its epsilon and delta, while the budget lasts" in certified
    assert "Spent so far: epsilon 0.25 of 1.5, delta 2e-06 of 1e-05." in certified


def test_missing_values_are_dashes_with_a_reason(read) -> None:
    page = read(report_page([original()]))
    dashes = [attrs["title"] for _, attrs in page.tags if attrs.get("class") == "missing"]
    assert "this is the first build: nothing was forgotten" in dashes
    assert page.text.count("this is the first build") == 1  # one footnote for all its dashes


def test_an_approximate_model_is_not_green_when_its_parent_would_pass() -> None:
    noted = [check("max_membership_gap", note="the parent passes too")]
    assert verdict(deletion(promise=Approximate(), checks=noted)).badge == "skipped"
    assert verdict(deletion(promise=Approximate())).badge == "passed"
    assert verdict(deletion(promise=Exact(), checks=noted)).badge == "passed"


def test_a_stopped_model_is_named_at_the_top(read) -> None:
    stopped = deletion(checks=[check("max_membership_gap", "failed", "it is too large")])
    page = read(report_page([stopped]))
    assert "the gate stops b1" in page.text
    assert "max membership gap: it is too large." in page.text
    assert "badge failed" in page.values("class")


@pytest.mark.parametrize("misbehaving", [0, 2])
def test_what_the_audit_found_is_said(misbehaving, read) -> None:
    found = {"ulira": {"value": 0.612, "floor": 0.505}, "misbehaving": misbehaving, "members": 16}
    page = read(report_page([deletion(extra={"audit": found})]))
    assert "Audited by 16 models per contender" in page.text
    assert "with accuracy 0.612 (U-LiRA; two pools of retrained models: 0.505" in page.text
    assert ("rely on no estimate of the audit" in page.text) == bool(misbehaving)
    assert ("failed" in page.values("class", "p")) == bool(misbehaving)


def test_why_there_is_no_audit_is_said(read) -> None:
    extra = {"audit": {"misbehaving": None, "reason": "no audit: too few records"}}
    assert "no audit: too few records" in read(report_page([deletion(extra=extra)])).text


def test_losses_of_models_that_exclude_classes_are_explained(read) -> None:
    assert "Such a loss is cut at" not in read(report_page([deletion()])).text
    assert "Such a loss is cut at" in read(report_page([deletion(aggregation="vote")])).text
    forest = deletion(architecture={"architecture": "forest"})
    assert "growing trees, each tree counted" in read(report_page([forest])).text


def test_a_generation_that_was_not_evaluated_is_there(read) -> None:
    entry = deletion()
    bare = Entry(entry.card, Evaluation({}), None)
    page = read(report_page([original(), bare]))
    assert "this model was not evaluated" in page.text
    assert "no gate was checked for b1" in page.text
    assert "not checked" in page.text


def test_names_cannot_break_the_page(read, nasty) -> None:
    page = read(report_page([deletion(batch=nasty, method=nasty)]))
    assert nasty in page.text
    assert page.values("onclick") == []


def test_a_project_without_models_has_a_page_too(read) -> None:
    assert "There is no model yet" in read(report_page([])).text


def test_the_same_entries_give_the_same_bytes() -> None:
    assert report_page([original(), deletion()]) == report_page([original(), deletion()])
