"""Audits of models that are no networks: what cannot be had says why, and the rest holds."""

import json

import numpy as np
import pytest

from forgetflow.audit.audit import Audit, audit
from forgetflow.audit.context import MAX_MARGIN, margins, smooth
from forgetflow.audit.registry import AUDITS
from forgetflow.audit.remarks import remarks
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.training.abilities import LACKS, lacks_of

LABELS = np.arange(60) % 3
VOTES = 10
SMALL = {
    "relearn": {"max_steps": 2, "members": 1},
    "inversion": {"steps": 1, "starts": 1, "members": 1},
}


def shares(members, seed, sure=0.7):
    """Members whose 180 records get shares of ten votes, many of them 0 or 1."""
    rng = np.random.default_rng(seed)
    chances = np.full((180, 3), (1 - sure) / 2)
    chances[np.arange(180), np.tile(LABELS, 3)] = sure
    votes = [[rng.multinomial(VOTES, one) for one in chances] for _ in range(members)]
    return np.array(votes) / VOTES


@pytest.fixture
def forests(make_context):
    """Four forests of ten trees per contender; nothing is trained by gradients."""

    def make(**more):
        pools = {"oracle": shares(4, 0), "second_oracle": shares(4, 1)}
        pools |= {"original": shares(4, 2, 0.97), "none": shares(4, 2, 0.97), "dare": shares(4, 3)}
        lacks = LACKS["forest"]
        labels = (LABELS, LABELS, LABELS)
        return make_context(*labels, settings=SMALL, votes=VOTES, lacks=lacks, **pools | more)

    return make


def judged(context):
    return audit(context, "b1", {}, {}, {}, ["Something was left out"])


def test_networks_lack_nothing():
    assert lacks_of("mlp") == lacks_of("autoencoder") == {}
    assert set(lacks_of("gaussian")) == {"parameters"}
    assert set(lacks_of("forest")) == {"parameters", "gradients"}


@pytest.mark.parametrize(
    ("measure", "ability"),
    [
        ("weights", "parameters"),
        ("zrf", "parameters"),
        ("relearn", "parameters"),
        ("inversion", "gradients"),
    ],
)
def test_a_measure_gives_the_reason_and_asks_for_no_network(forests, measure, ability, monkeypatch):
    context = forests()
    monkeypatch.setattr(
        type(context.untrained), "network", lambda *_: pytest.fail("there is no network")
    )
    estimates = AUDITS[measure].estimates(context)
    assert {f.contender for f in estimates} >= set(context.names)
    assert {f.value for f in estimates} == {None}
    assert {f.reason for f in estimates} == {LACKS["forest"][ability]}
    assert not any(AUDITS[measure].tables(context).values())


def test_every_estimate_is_finite_or_has_its_reason(forests):
    found = judged(forests())
    for estimate in found.estimates:
        known = [
            v
            for v in (estimate.value, estimate.low, estimate.high, estimate.target)
            if v is not None
        ]
        assert np.isfinite(known).all(), estimate
        assert estimate.value is not None or estimate.reason, estimate
    measured = {f.measure for f in found.estimates if f.value is not None}
    assert measured == set(AUDITS) - {"weights", "zrf", "relearn", "inversion"}
    assert from_json(Audit, json.loads(json.dumps(to_json(found)))) == found
    assert "Something was left out" in found.notes
    assert any("shares of 10 votes" in note for note in found.notes)


def test_doing_nothing_is_found_out_on_shares(forests):
    by_contender = {
        f.contender: f.value
        for f in judged(forests()).estimates
        if (f.measure, f.set, f.statistic) == ("ulira", "forget", "accuracy")
    }
    assert by_contender["none"] > 0.7
    assert abs(by_contender["second oracle"] - 0.5) < 0.1


def test_one_voice_more_is_as_much_near_certainty_as_elsewhere(make_context):
    """Unsmoothed, the last vote would be worth 95 nats and all others together 5."""
    steps = np.array([[k / VOTES, 1 - k / VOTES] for k in range(VOTES + 1)])
    labels = np.zeros(VOTES + 1, int)
    jumps = np.diff(margins(smooth(steps[None], VOTES), labels))[0]
    assert (jumps > 0).all()
    assert jumps.max() < 2
    assert np.diff(margins(steps[None], labels)).max() > MAX_MARGIN - 3
    table = np.tile(steps, (2, 3, 1))
    context = make_context(labels, labels, labels, votes=VOTES, oracle=table, second_oracle=table)
    np.testing.assert_allclose(np.diff(context.margins("oracle", "forget")[0]), jumps)
    assert context.losses("oracle", "forget").max() < 4
    np.testing.assert_array_equal(context.probabilities("oracle", "forget")[0], steps)


@pytest.mark.parametrize("votes", [1, 10, 1000])
def test_smoothed_shares_are_probabilities(votes):
    rows = np.random.default_rng(0).dirichlet(np.ones(4), size=(3, 5))
    rows[0, 0] = [1, 0, 0, 0]
    found = smooth(rows, votes)
    np.testing.assert_allclose(found.sum(axis=-1), 1)
    assert found.min() >= 1 / (4 * (votes + 1)) - 1e-12
    np.testing.assert_array_equal(found.argmax(axis=-1), rows.argmax(axis=-1))
    np.testing.assert_array_equal(smooth(rows, None), rows)


def test_equal_models_are_told_so_and_no_estimate_breaks(make_context):
    """A density draws nothing at random: every member of a pool is the same model."""
    rng = np.random.default_rng(0)
    same = np.tile(rng.dirichlet(np.ones(3), size=180), (5, 1, 1))
    other = np.tile(rng.dirichlet(np.ones(3), size=180), (5, 1, 1))
    context = make_context(
        LABELS,
        LABELS,
        LABELS,
        settings=SMALL,
        lacks=LACKS["forest"],
        oracle=same,
        second_oracle=same,
        original=other,
        none=other,
        sisa=same,
    )
    found = judged(context)
    assert any("draws nothing at random" in note for note in found.notes)
    estimates = {(f.measure, f.contender, f.set, f.statistic): f for f in found.estimates}
    assert estimates["ulira", "sisa", "forget", "accuracy"].value == 0.5
    assert estimates["ulira", "none", "forget", "accuracy"].value > 0.95
    assert estimates["klom", "sisa", "forget", "ks_p95"].value == 0
    assert estimates["klom", "none", "forget", "ks_p95"].value == 1
    law = estimates["klom", "none", "forget", "gaussian_p95"]
    assert law.value is None
    assert "100% of the records the same margin" in law.reason
    values = [f.value for f in found.estimates if f.value is not None]
    assert np.isfinite(values).all()
    assert not found.misbehaving
    assert not found.powerless


def test_a_class_without_a_model_is_named(make_context):
    rng = np.random.default_rng(1)
    pools = {n: rng.dirichlet(np.ones(3), size=(3, 180)) for n in ("oracle", "second_oracle")}
    pools = {name: table * [1, 1, 0] for name, table in pools.items()}
    pools = {name: table / table.sum(axis=2, keepdims=True) for name, table in pools.items()}
    pools["none"] = rng.dirichlet(np.ones(3), size=(3, 180))
    context = make_context(LABELS, LABELS[LABELS == 2].repeat(3), LABELS, settings=SMALL, **pools)
    said = remarks(context)
    assert any("no model of class class-2" in note for note in said)
    assert any("are cut there" in note for note in said)
    estimates = judged(context).estimates
    assert np.isfinite([f.value for f in estimates if f.value is not None]).all()


def test_ordinary_networks_need_no_remark(make_context):
    rng = np.random.default_rng(2)
    pools = {n: rng.dirichlet(np.ones(3), size=(3, 180)) for n in ("oracle", "second_oracle")}
    assert remarks(make_context(LABELS, LABELS, LABELS, **pools)) == []
