"""Pools, audits and forecasts of models that are no networks that tell classes apart."""

from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from forgetflow.audit.audit import audit
from forgetflow.audit.context import FLOOR, ORACLE, AuditContext
from forgetflow.audit.registry import AUDITS
from forgetflow.cli import texts
from forgetflow.config.evaluate import AuditSettings
from forgetflow.pools.comparison import Comparison
from forgetflow.pools.pool import Untrained
from forgetflow.training.abilities import lacks_of, votes
from forgetflow.training.workspace import Workspace
from forgetflow.unlearning.plan import plan_deletion

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ARCANE = {"partition": {"method": "arcane", "slices": 2}}
ENCODERS = ARCANE | {"model": {"architecture": "autoencoder", "hidden": [4]}}
DENSITIES = ARCANE | {"model": {"architecture": "gaussian"}}
SELECTED = {
    "partition": {
        "method": "arcane",
        "slices": 2,
        "selection": {"mode": "threshold", "threshold": 0.9, "low": -3.0, "high": 5.0, "bins": 8},
    },
    "model": {"architecture": "gaussian"},
}
SMALL = AuditSettings.model_validate(
    {
        "relearn": {"max_steps": 3, "members": 2},
        "inversion": {"steps": 2, "starts": 1, "members": 2},
    }
)


def trial_of(space, forget):
    return Comparison(space, space.everything, (), "t", ~forget, forget)


def grown(trial, name, members=3):
    plan = trial.procedure(name, members)
    plan.train()
    return plan.pool()


@pytest.fixture(scope="module")
def without_a_class(lab, records):
    """Pools of autoencoders, one per class, of which class 1 was forgotten as a whole."""
    trial = trial_of(lab.space(records, **ENCODERS), records.labels == 1)
    return trial, {
        n: grown(trial, n) for n in ("oracle", "second oracle", "sisa", "original", "none")
    }


def test_pools_say_what_they_lack(without_a_class, lab, records):
    assert without_a_class[1]["sisa"].lacks == {}
    space = lab.space(records, **DENSITIES)
    pool = grown(trial_of(space, records.labels == 1), "oracle")
    assert set(pool.lacks) == {"parameters"}
    assert pool.votes is None


@pytest.mark.parametrize(
    ("blocks", "shards", "expected"),
    [
        ({"model": {"architecture": "mlp"}}, 3, None),
        ({"partition": {"aggregation": "vote"}}, 3, 3),
        (DENSITIES, 3, None),
        (
            {
                "partition": {"slices": 1},
                "model": {"architecture": "forest", "forest": {"trees": 7}},
            },
            3,
            21,
        ),
        (
            {
                "partition": {"slices": 1, "aggregation": "vote"},
                "model": {"architecture": "forest"},
            },
            3,
            3,
        ),
    ],
)
def test_votes_are_trees_or_votes(make_settings, blocks, shards, expected):
    assert votes(make_settings(**blocks), shards) == expected
    assert lacks_of("mlp") == {}


def test_a_class_without_a_model_has_probability_zero_everywhere(without_a_class, records):
    _, pools = without_a_class
    found = pools["sisa"].probabilities(records.inputs)
    assert (found[:, :, 1] == 0).all()
    np.testing.assert_allclose(found.sum(axis=2), 1)
    assert (pools["none"].probabilities(records.inputs)[:, :, 1] > 0).all()


def test_gradients_of_what_is_left_are_finite(without_a_class, records):
    """A record of the class without a model has an infinite loss and teaches nothing."""
    network = without_a_class[1]["sisa"].network(0)
    inputs = torch.tensor(records.inputs).requires_grad_()
    logs = network(inputs)
    assert (logs[:, 1] == -torch.inf).all()
    torch.nn.functional.nll_loss(logs, torch.tensor(records.labels)).backward()
    gone = torch.tensor(records.labels == 1)
    assert inputs.grad[~gone].abs().sum() > 0
    for parameter in [inputs, *network.parameters()]:
        assert torch.isfinite(parameter.grad).all()
    alone = network(torch.from_numpy(records.inputs)[gone])
    assert torch.isfinite(alone[:, [0, 2]]).all()


def test_untrained_models_have_every_class(without_a_class, records):
    recipe = without_a_class[0].space.recipe
    found = Untrained(recipe, [3, 4]).probabilities(records.inputs)
    assert found.shape == (2, 60, 3)
    assert (found > 0).all()
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-6)
    assert not np.allclose(found[0], found[1])


@pytest.mark.parametrize("kind", ["encoders", "densities"])
def test_an_audit_of_a_forgotten_class_has_values_or_reasons(without_a_class, lab, records, kind):
    trial, pools = without_a_class
    if kind == "densities":
        trial = trial_of(lab.space(records, **DENSITIES), records.labels == 1)
        pools = {name: grown(trial, name) for name in pools}
    ordered = {ORACLE: pools["oracle"], FLOOR: pools["second oracle"], **pools}
    sets = {
        "retain": records.take(trial.retain),
        "forget": records.take(trial.forget),
        "test": records,
    }
    context = AuditContext(ordered, sets, Untrained(trial.space.recipe, [1, 2]), SMALL)
    found = audit(context, "t", {}, {}, {})
    for estimate in found.estimates:
        known = [v for v in (estimate.value, estimate.low, estimate.high) if v is not None]
        assert np.isfinite(known).all(), estimate
        assert estimate.value is not None or estimate.reason, estimate
    by_place = {(f.measure, f.contender, f.set, f.statistic): f for f in found.estimates}
    assert by_place["performance", "sisa", "forget", "accuracy"].value == 0
    assert by_place["ulira", "none", "forget", "accuracy"].value is None  # three members
    assert any("no model of class b" in note for note in found.notes)
    measured = {f.measure for f in found.estimates if f.value is not None}
    assert "inversion" in measured
    lacking = {"encoders": {"weights", "relearn"}, "densities": {"weights", "relearn", "zrf"}}[kind]
    reasons = {f.measure: f.reason for f in found.estimates if f.value is None}
    assert lacking <= set(reasons)
    if kind == "encoders":
        assert "a shard is empty in one of the two" in reasons["weights"]
        assert ">3 steps" in reasons["relearn"], "nothing can be learned without a model"
        assert "zrf" in measured
    assert set(AUDITS) >= measured


def test_records_that_nobody_learned_from_cost_nothing(make_folder, records):
    folder = make_folder(records, **SELECTED)
    folder.build()
    space = Workspace.open(folder.project)
    chosen = space.learned(space.everything)
    assert 0 < chosen.sum() < len(records), "the example selects some"
    names = np.array(records.record_ids)
    out = [{"record": str(name)} for name in names[~chosen][:2]]
    idle = plan_deletion(folder.project, folder.seal(*out), None, NOW)
    assert (idle.records, idle.learned, idle.retrain_samples) == (2, 0, 0)
    assert idle.shards == {}
    assert "0 were selected and learned from, the others cost nothing" in texts.plan(idle)
    before = folder.weights("original")
    folder.unlearn("b1")
    assert folder.weights("b1") == before
    some = plan_deletion(folder.project, folder.seal({"record": str(names[chosen][0])}), None, NOW)
    assert (some.records, some.learned) == (1, 1)
    assert some.retrain_samples > 0
    assert "selected" not in texts.plan(some)


def test_a_choice_that_changes_among_those_who_stay_is_told(make_folder, records):
    selection = {"mode": "joint", "share": 0.5, "low": -3.0, "high": 5.0, "bins": 8}
    blocks = {"partition": {"method": "arcane", "slices": 1, "selection": selection}}
    folder = make_folder(records, **blocks, model={"architecture": "gaussian"})
    folder.build()
    batch = folder.seal(*({"subject": f"s{i:04d}"} for i in range(8)))
    forecast = plan_deletion(folder.project, batch, None, NOW)
    assert forecast.guarantee == "exact"
    assert 0 < forecast.learned < forecast.records == 16
    assert forecast.reselected > 0
    assert f"{forecast.reselected} of those who stay" in texts.plan(forecast)
    assert "cost nothing" not in texts.plan(forecast)
    card = folder.unlearn(batch)
    assert sum(c.records for c in card.constituents) < card.records
