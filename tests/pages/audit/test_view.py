"""Who stands in which row of an audit, and how an estimate stands to the floor."""

import json

import pytest

from forgetflow.audit.audit import Audit
from forgetflow.audit.context import FLOOR, ORACLE
from forgetflow.audit.protocol import Estimate
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.pages.audit.columns import Place
from forgetflow.pages.audit.view import View


def test_methods_come_first_and_oracles_last(make_audit) -> None:
    audit = make_audit(methods=("sisa", "finetune"), controls=("original", "none", "ascent"))
    view = View(audit)
    assert view.methods == ["sisa", "finetune"]
    assert view.contenders == ["sisa", "finetune", "original", "none", "ascent", FLOOR, ORACLE]
    assert view.role("finetune") == "under audit, and a control"
    assert view.role("none") == "control: nothing done"


@pytest.mark.parametrize(
    ("low", "high", "side"),
    [(0.70, 0.75, "above"), (0.55, 0.70, "within"), (0.1, 0.2, "below"), (None, None, None)],
)
def test_apart_is_an_interval_that_clears_both_oracles(make_audit, low, high, side) -> None:
    estimates = [
        Estimate("performance", ORACLE, "test", "accuracy", 0.5, 0.45, 0.55, target=0.5),
        Estimate("performance", FLOOR, "test", "accuracy", 0.55, 0.5, 0.6, target=0.5),
        Estimate("performance", "sisa", "test", "accuracy", 0.6, low, high, target=0.5),
    ]
    view = View(make_audit(estimates=estimates))
    assert view.band(Place("performance", "test", "accuracy")) == (0.45, 0.6)
    assert view.side("sisa", Place("performance", "test", "accuracy")) == side


def test_ranges_of_single_runs_are_not_judged(make_audit) -> None:
    place = Place("relearn", "forget", "anamnesis_index")
    estimates = [
        Estimate("relearn", FLOOR, "forget", "anamnesis_index", 1.0, 1.0, 1.0, target=1.0),
        Estimate("relearn", "sisa", "forget", "anamnesis_index", 0.8, 0.8, 0.8, target=1.0),
    ]
    assert View(make_audit(estimates=estimates)).side("sisa", place) is None


def test_the_order_of_contenders_survives_the_file(make_audit) -> None:
    audit = make_audit(methods=("sisa", "finetune"), controls=("original", "none", "ascent"))
    stored = from_json(Audit, json.loads(json.dumps(to_json(audit), sort_keys=True)))
    assert View(stored).contenders == View(audit).contenders


def test_distances_are_multiples_of_the_floor(make_audit) -> None:
    estimates = [
        Estimate("divergence", FLOOR, "forget", "js", 0.002),
        Estimate("divergence", "sisa", "forget", "js", 0.005),
    ]
    view = View(make_audit(estimates=estimates))
    assert view.times_floor("sisa", Place("divergence", "forget", "js")) == 2.5
    assert view.times_floor("sisa", Place("ulira", "forget", "accuracy")) is None
