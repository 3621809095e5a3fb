"""The audit as a whole: every registered measure, files, and what the gate reads."""

import json
import math

import numpy as np
import pytest

from forgetflow.audit import audit as audit_module
from forgetflow.audit.audit import (
    Audit,
    audit,
    audit_files,
    read_audit,
    write_no_audit,
)
from forgetflow.audit.context import FLOOR, ORACLE
from forgetflow.audit.registry import AUDITS
from forgetflow.audit.summary import HEADLINES, headline
from forgetflow.errors import InputError
from forgetflow.files.atomic import write_folder
from forgetflow.files.jsonable import from_json, to_json

COSTS = {
    ORACLE: {"seconds": 2.0, "samples": 400.0, "steps": 40.0, "bytes": 100.0},
    "none": {"seconds": 0.0, "samples": 0.0, "steps": 0.0, "bytes": 100.0},
    "sisa": {"seconds": 0.5, "samples": 100.0, "steps": 10.0, "bytes": 100.0},
}


@pytest.fixture(scope="module")
def result(make_context) -> Audit:
    """An audit of pools of six members with random margins."""

    def pool(seed: int, forget: float) -> np.ndarray:
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=(6, 90, 3))
        logits[:, :, 0] += 2.0
        logits[:, 40:60, 0] += forget
        return np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)

    context = make_context(
        [0] * 40,
        [0] * 20,
        [0] * 30,
        oracle=pool(1, 0.0),
        second_oracle=pool(2, 0.0),
        sisa=pool(3, 0.0),
        original=pool(4, 3.0),
        none=pool(4, 3.0),
        finetune=pool(5, 2.0),
        ascent=pool(6, -3.0),
    )
    # A table has no gradient in its input.
    measures = {name: m for name, m in AUDITS.items() if name != "inversion"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_module, "AUDITS", measures)
        return audit(context, "b1", COSTS, {"seed": 0}, {})


def test_every_measure_speaks_of_every_contender(result):
    for name in AUDITS:
        if name == "inversion":
            continue
        mine = [f for f in result.estimates if f.measure == name]
        assert {f.contender for f in mine} >= {FLOOR, "sisa", "none", "finetune", "ascent"}, name


def test_a_missing_estimate_has_a_reason_and_a_present_one_is_finite(result):
    for estimate in result.estimates:
        if estimate.value is None:
            assert estimate.reason, estimate
        else:
            assert math.isfinite(estimate.value), estimate


def test_estimates_are_named_once(result):
    places = [(f.measure, f.contender, f.set, f.statistic) for f in result.estimates]
    assert len(places) == len(set(places))


def test_an_audit_survives_its_file(result, tmp_path):
    files = audit_files(result)
    assert set(files) >= {"audit.json", "audit.csv", "margins.csv"}
    write_folder(tmp_path / "audit", files.items())
    assert read_audit(tmp_path / "audit") == from_json(Audit, to_json(result))


def test_no_audit_is_told_apart_from_a_lost_one(tmp_path):
    write_no_audit(tmp_path / "audit", "too small")
    assert read_audit(tmp_path / "audit") is None
    assert json.loads((tmp_path / "audit" / "audit.json").read_text()) == {"reason": "too small"}
    (tmp_path / "audit" / "audit.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        read_audit(tmp_path / "audit")
    assert read_audit(tmp_path / "nowhere") is None


def test_files_are_a_pure_function_and_name_no_record(result, make_context):
    files = audit_files(result)
    assert files == audit_files(from_json(Audit, to_json(result)))
    for name, data in files.items():
        assert b"record-0" not in data, name
        assert b"subject-0" not in data, name


def test_costs_stand_beside_an_oracles(result):
    assert result.costs["sisa"]["of_retrain"] == 0.25
    assert result.costs["sisa"]["passes"] == 2.5
    assert result.costs["none"]["of_retrain"] == 0.0


def test_a_control_that_could_not_be_made_misbehaves(make_context, monkeypatch):
    monkeypatch.setattr(audit_module, "AUDITS", {"ulira": AUDITS["ulira"]})
    table = np.full((4, 30, 2), 0.5)
    context = make_context([0] * 10, [0] * 10, [0] * 10, oracle=table, second_oracle=table)
    found = audit(context, "b1", {}, {}, {"ascent": "diverged", "finetune": "diverged"})
    assert [c.contender for c in found.misbehaving] == ["finetune"]


def test_the_headline_stands_beside_the_floor(result):
    found = headline(result, "sisa")
    assert found["members"] == 6
    for name, (measure, group, statistic) in HEADLINES.items():
        mine = result.estimate(measure, "sisa", group, statistic)
        floor = result.estimate(measure, FLOOR, group, statistic)
        assert mine is not None, name
        assert found[name]["value"] == mine.value, name
        assert found[name]["floor"] == floor.value, name
    assert found["misbehaving"] == len(result.misbehaving)
