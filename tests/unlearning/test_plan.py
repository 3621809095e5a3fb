"""A forecast is what then happens, and making one writes nothing."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from forgetflow.errors import InputError
from forgetflow.partition.forecast import restart_slices
from forgetflow.training.workspace import Workspace
from forgetflow.unlearning.plan import plan_deletion

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
REQUESTS = {
    "one record": [{"record": "r0005"}],
    "a subject": [{"subject": "s0010"}],
    "a class": [{"label": "c"}],
    "many": [{"subject": f"s{i:04d}"} for i in range(0, 30, 3)],
    "everything": [{"label": "a"}, {"label": "b"}, {"label": "c"}],
}


def plan(folder, batch=None, method=None):
    return plan_deletion(folder.project, batch, method, NOW + timedelta(days=3))


@pytest.mark.parametrize("method", ["sisa", "retrain"])
@pytest.mark.parametrize("selectors", REQUESTS.values(), ids=REQUESTS)
def test_the_forecast_is_what_is_counted(folder, selectors, method, count_samples):
    batch = folder.seal(*selectors)
    forecast = plan(folder, batch, method)
    count_samples.clear()
    folder.unlearn(batch, method)
    assert forecast.retrain_samples == sum(count_samples)
    assert forecast.method == method
    assert forecast.guarantee == "exact"


def test_the_forecast_of_a_second_batch_knows_the_first(folder, count_samples):
    folder.forget({"subject": "s0010"}, {"record": "r0005"})
    second = folder.seal({"subject": "s0012"}, {"record": "r0004"})
    forecast, full = plan(folder, second), plan(folder, second, "retrain")
    for method, expected in (("sisa", forecast), ("retrain", full)):
        count_samples.clear()
        folder.unlearn(second, method)
        assert expected.retrain_samples == sum(count_samples)
    assert forecast.full_samples == full.retrain_samples == full.full_samples
    assert forecast.retrain_samples < full.retrain_samples


def test_on_the_monolith_everything_is_retrained(make_folder, records, count_samples):
    folder = make_folder(records, partition={"method": "monolith"})
    folder.build()
    batch = folder.seal({"record": "r0005"})
    forecast = plan(folder, batch)
    count_samples.clear()
    folder.unlearn(batch)
    assert forecast.retrain_samples == forecast.full_samples == sum(count_samples)
    assert (forecast.shards, forecast.total_shards) == ({0: 0}, 1)


@pytest.mark.parametrize("method", ["none", "finetune"])
def test_a_method_that_rebuilds_nothing_has_no_forecast(folder, method):
    batch = folder.seal({"record": "r0005"})
    forecast = plan(folder, batch, method)
    assert forecast.retrain_samples is None
    assert forecast.estimated_seconds is None
    assert forecast.guarantee == "approximate"
    assert forecast.full_samples > 0


def test_what_sealing_would_freeze_is_forecast_like_the_sealed_batch(folder):
    folder.request(subject="s0010")
    folder.request(record="r0005")
    before = plan(folder)
    assert not before.sealed
    batch = folder.seal()
    after = plan(folder, batch)
    assert after.sealed
    assert {**before.to_json(), "sealed": True} == after.to_json()
    assert (after.batch, after.records, after.requests) == ("b1", 3, 2)


def test_a_forecast_says_who_is_hit_and_what_must_be_erased(folder):
    batch = folder.seal({"subject": "s0010"}, {"record": "r0005"})
    forecast = plan(folder, batch)
    space = Workspace.open(folder.project)
    forget = space.records.mask(["r0005", "r0020", "r0021"])
    assert forecast.shards == restart_slices(space.assignment, forget)
    assert forecast.total_shards == 3
    states = [
        key
        for shard, first in forecast.shards.items()
        for key in space.chain(shard, space.everything).keys[first:]
    ]
    assert forecast.objects_to_erase == len(states)
    assert forecast.due_at == NOW + timedelta(days=30)
    assert forecast.days_left == 27


def test_seconds_follow_from_the_pace_of_the_training(folder):
    batch = folder.seal({"record": "r0005"})
    forecast = plan(folder, batch)
    space = Workspace.open(folder.project)
    facts = [
        space.store.receipt(key).facts
        for shard in range(3)
        for key in space.chain(shard, space.everything).keys
    ]
    pace = sum(f["seconds"] for f in facts) / sum(f["samples"] for f in facts)
    np.testing.assert_allclose(forecast.estimated_seconds, pace * forecast.retrain_samples)
    np.testing.assert_allclose(forecast.full_seconds, pace * forecast.full_samples)


def test_without_a_trained_model_there_is_no_pace(make_folder, records):
    folder = make_folder(records)
    forecast = plan(folder, folder.seal({"record": "r0005"}))
    assert (forecast.estimated_seconds, forecast.full_seconds) == (None, None)
    assert forecast.objects_to_erase == 0
    assert forecast.retrain_samples > 0


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("method", [None, "retrain", "none"])
def test_planning_writes_nothing(folder, sealed, method):
    folder.request(record="r0005")
    batch = folder.seal() if sealed else None
    before = folder.tree()
    plan(folder, batch, method)
    assert folder.tree() == before


def test_planning_writes_nothing_before_anything_was_built(make_folder, records):
    folder = make_folder(records)
    batch = folder.seal({"record": "r0005"})
    before = folder.tree()
    plan(folder, batch)
    assert folder.tree() == before


def test_a_plan_of_nothing_is_refused(folder):
    before = folder.tree()
    with pytest.raises(InputError, match="nothing is waiting"):
        plan(folder)
    with pytest.raises(InputError, match="no batch 'b1'"):
        plan(folder, "b1")
    with pytest.raises(InputError, match="forgets nothing"):
        plan(folder, "original")
    assert folder.tree() == before
    folder.request(record="r0005")
    with pytest.raises(InputError, match="unknown unlearning method"):
        plan(folder, None, "magic")


def test_a_plan_is_json_without_ids(folder):
    batch = folder.seal({"subject": "s0010"})
    text = json.dumps(plan(folder, batch).to_json())
    assert not any(one in text for one in ("r0020", "r0021", "s0010"))
