import json

import pytest

from forgetflow.config.gate import GateSettings
from forgetflow.evaluation.gate import GateVerdict, check_gate
from forgetflow.files.jsonable import from_json, to_json

GATE = GateSettings(
    min_test_accuracy=0.8,
    max_test_accuracy_drop=0.05,
    max_membership_gap=0.1,
    min_forget_records=20,
)


def metrics(test=0.9, parent=0.92, auc=0.55, oracle=0.5, parent_auc=0.7, **audit):
    judged = {
        "ulira": 0.5,
        "low": 0.4,
        "misbehaving": 0,
        "no_power": 0,
        "members": 100,
        "klom": 1.0,
    }
    judged |= audit
    return {
        "audit": {
            "ulira": {"value": judged["ulira"], "low": judged["low"]},
            "klom_p95": {"value": judged["klom"]},
            **{name: judged[name] for name in ("misbehaving", "no_power", "members")},
        },
        "accuracy": {"unlearned": {"test": test}, "parent": {"test": parent}},
        "membership": {
            "unlearned": {"auc": auc},
            "oracle": {"auc": oracle},
            "parent": {"auc": parent_auc},
        },
    }


def outcomes(verdict: GateVerdict) -> list[str]:
    return [check.outcome for check in verdict.checks]


def test_a_model_within_all_bounds_passes() -> None:
    verdict = check_gate(metrics(), GATE, "approximate", 100)
    assert verdict.passed
    assert verdict.words == "passed"
    assert [check.name for check in verdict.checks] == [
        "min_test_accuracy",
        "max_test_accuracy_drop",
        "max_membership_gap",
        "max_ulira_accuracy",
        "controls",
    ]
    assert [check.value for check in verdict.checks] == pytest.approx([0.9, 0.02, 0.05, 0.4, 0])


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"test": 0.79, "parent": 0.8}, 0),
        ({"test": 0.85, "parent": 0.91}, 1),
        ({"auc": 0.61}, 2),
        ({"auc": 0.39}, 2),  # over-forgetting gives the records away as well
        ({"ulira": 0.9, "low": 0.76}, 3),
        ({"misbehaving": 1}, 4),
        ({"no_power": 1}, 4),
    ],
)
def test_each_bound_can_fail(changes, failing) -> None:
    verdict = check_gate(metrics(**changes), GATE, "approximate", 100)
    assert not verdict.passed
    assert verdict.words == "failed"
    assert [index for index, one in enumerate(outcomes(verdict)) if one == "failed"] == [failing]


def test_a_bound_that_is_just_met_is_met() -> None:
    # 0.95 - 0.9 is 0.05 and a little in floating point.
    exactly = metrics(test=0.9, parent=0.95, auc=0.6, oracle=0.5)
    assert check_gate(exactly, GATE, "approximate", 20).passed


def test_a_rise_of_accuracy_is_no_drop() -> None:
    assert check_gate(metrics(test=0.99, parent=0.9), GATE, "exact", 100).passed


def test_small_forget_sets_skip_bounds_on_attacks_and_controls_only() -> None:
    verdict = check_gate(metrics(auc=0.9, low=0.9, misbehaving=1), GATE, "approximate", 19)
    assert outcomes(verdict) == ["passed", "passed", "skipped", "skipped", "skipped"]
    assert "19" in verdict.checks[2].reason
    assert verdict.passed
    assert verdict.words == "passed (3 of 5 skipped)"
    assert not check_gate(metrics(auc=0.9), GATE, "approximate", 20).passed


def test_missing_metrics_are_skipped_with_the_reason_given() -> None:
    values = metrics()
    del values["membership"]
    verdict = check_gate(values, GATE, "approximate", 100, {"membership": "no oracle: too dear"})
    assert outcomes(verdict) == ["passed", "passed", "skipped", "passed", "passed"]
    assert verdict.checks[2].reason == "no oracle: too dear"
    assert "membership.unlearned.auc" in check_gate(values, GATE, "exact", 100).checks[2].reason


def test_nothing_measured_is_not_called_passed() -> None:
    verdict = check_gate({}, GATE, "approximate", 100)
    assert outcomes(verdict) == ["skipped"] * 5
    assert verdict.words == "nothing checked"


def test_bounds_of_null_are_not_checked() -> None:
    open_gate = GateSettings(
        min_test_accuracy=None,
        max_test_accuracy_drop=None,
        max_membership_gap=None,
        max_ulira_accuracy=None,
        controls=False,
    )
    wrong = metrics(test=0.0, auc=1.0, low=1.0, misbehaving=3)
    verdict = check_gate(wrong, open_gate, "approximate", 100)
    assert outcomes(verdict) == ["skipped"] * 5
    assert all("params.yaml" in check.reason for check in verdict.checks)


def test_the_first_build_is_held_to_its_accuracy() -> None:
    verdict = check_gate({"accuracy": {"original": {"test": 0.7}}}, GATE, "exact", 0)
    assert outcomes(verdict) == ["failed", "skipped", "skipped", "skipped", "skipped"]
    assert "no parent" in verdict.checks[1].reason


def test_a_failure_says_what_it_means_for_the_guarantee() -> None:
    exact = check_gate(metrics(auc=0.9), GATE, "exact", 100).checks[2].reason
    approximate = check_gate(metrics(auc=0.9), GATE, "approximate", 100).checks[2].reason
    assert "forgetflow verify" in exact
    assert "another method" in approximate


def test_a_check_that_the_unchanged_parent_passes_says_so() -> None:
    assert "unchanged" in check_gate(metrics(parent_auc=0.55), GATE, "exact", 100).checks[2].note
    assert check_gate(metrics(parent_auc=0.7), GATE, "exact", 100).checks[2].note == ""


def test_without_power_an_exact_method_passes_with_a_note() -> None:
    check = check_gate(metrics(no_power=1), GATE, "exact", 100).checks[4]
    assert check.outcome == "passed"
    assert "cannot be told" in check.note


@pytest.mark.parametrize("guarantee", ["exact", "approximate"])
def test_misbehaving_controls_stop_every_method(guarantee) -> None:
    assert not check_gate(metrics(misbehaving=1), GATE, guarantee, 100).passed


def test_klom_is_held_to_its_bound_with_enough_members_only() -> None:
    bound = GATE.model_copy(update={"max_klom_p95": 2.0})
    names = {
        check.name: check for check in check_gate(metrics(klom=2.1), bound, "exact", 50).checks
    }
    assert names["max_klom_p95"].outcome == "failed"
    few = check_gate(metrics(klom=9.0, members=79), bound, "exact", 50)
    assert "79 members" in next(c for c in few.checks if c.name == "max_klom_p95").reason
    assert few.passed


def test_a_low_end_that_is_missing_is_the_value_itself() -> None:
    values = metrics(ulira=0.8)
    del values["audit"]["ulira"]["low"]
    assert outcomes(check_gate(values, GATE, "approximate", 100))[3] == "failed"


def test_a_ulira_bound_that_doing_nothing_holds_says_so() -> None:
    values = metrics()
    values["audit"]["ulira"]["none"] = 0.5
    assert "unchanged" in check_gate(values, GATE, "exact", 100).checks[3].note
    values["audit"]["ulira"]["none"] = 0.9
    assert check_gate(values, GATE, "exact", 100).checks[3].note == ""


def test_json_round_trip() -> None:
    verdict = check_gate(metrics(auc=0.9), GATE, "approximate", 5)
    assert from_json(GateVerdict, json.loads(json.dumps(to_json(verdict)))) == verdict
