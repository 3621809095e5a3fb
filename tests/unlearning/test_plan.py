"""A forecast is what then happens, and making one writes nothing.

What waiting saves is compared with the counts of every later batch there could be.
"""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from forgetflow.cli import texts
from forgetflow.errors import InputError
from forgetflow.files.jsonable import to_json
from forgetflow.partition.assignment import Assignment, write_assignment
from forgetflow.partition.forecast import joint_batch, restart_slices
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.training.workspace import Workspace
from forgetflow.unlearning.edit import EditMethod
from forgetflow.unlearning.plan import plan_deletion, rebuild_seconds
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS
from forgetflow.unlearning.runner import Deletion

EDITS = [name for name, method in METHODS.items() if isinstance(method, EditMethod)]
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
REQUESTS = {
    "one record": [{"record": "r0005"}],
    "a subject": [{"subject": "s0010"}],
    "a class": [{"label": "c"}],
    "many": [{"subject": f"s{i:04d}"} for i in range(0, 30, 3)],
    "everything": [{"label": "a"}, {"label": "b"}, {"label": "c"}],
}


# Steps of one record and whole epochs a slice: what is counted is not rounded.
UNROUNDED = {"batch_size": 1, "epochs": 4}


def plan(folder, batch=None, method=None, clock=NOW + timedelta(days=3)):
    return plan_deletion(folder.project, batch, method, clock)


def simple_records(count, priors=None):
    """Return `count` records of as many subjects."""
    names = [f"{i:05d}" for i in range(count)]
    return build_record_set(
        RecordSchema(("a", "b"), TensorFeatures((2,), "float32")),
        record_ids=[f"r{name}" for name in names],
        subject_ids=[f"s{name}" for name in names],
        labels=[i % 2 for i in range(count)],
        features=np.arange(2 * count, dtype=np.float32).reshape(-1, 2),
        priors=priors,
        where="test",
    )


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


@pytest.mark.parametrize("method", ["sisa", "retrain", "finetune"])
def test_a_flow_says_what_the_forecast_says(folder, method):
    batch = folder.seal({"subject": "s0010"}, {"record": "r0005"})
    forecast, deletion = plan(folder, batch, method), Deletion.open(folder.project, batch)
    other = Deletion.open(folder.project, batch, deletion.workspace.with_seed(1))
    shards = deletion.workspace.occupied(deletion.retain)
    seconds = forecast.estimated_seconds if method != "finetune" else None
    for seeded in (deletion, other):  # the pace is that of the original, also for an oracle
        found = rebuild_seconds(seeded, METHODS[method], shards, deletion.workspace)
        assert found == pytest.approx(seconds)
    parts = [rebuild_seconds(deletion, METHODS[method], [s], deletion.workspace) for s in shards]
    assert (None in parts) or sum(parts) == pytest.approx(seconds)


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


def test_doing_nothing_has_no_forecast(folder):
    batch = folder.seal({"record": "r0005"})
    forecast = plan(folder, batch, "none")
    assert forecast.retrain_samples is None
    assert forecast.estimated_seconds is None
    assert forecast.guarantee == "approximate"
    assert forecast.full_samples > 0


@pytest.mark.parametrize("method", EDITS)
def test_the_forecast_of_an_edit_is_what_it_takes(folder, method, count_samples):
    batch = folder.seal({"subject": "s0010"}, {"record": "r0005"})
    deletion = Deletion.open(folder.project, batch)
    view, chosen = deletion.view(METHODS[method]), METHODS[method]
    if chosen.prepares:
        early = plan(folder, batch, method)
        sizes = {m.shard: m.records for m in view.parent.constituents}
        wanted = sum(sizes[shard] for shard in view.affected)
        assert early.prepare_samples == {"importances": wanted}
        assert early.retrain_samples is None
        assert "presupposes 'importances'" in early.note
        for shard in view.affected:
            for one in chosen.prepares:
                one.prepare(view, shard)
    before = folder.tree()
    forecast = plan(folder, batch, method)
    assert folder.tree() == before
    assert count_samples == [], "nothing is trained to know it"
    assert forecast.prepare_samples == {}
    folder.unlearn(batch, method)
    store, jobs = deletion.workspace.store, jobs_of(chosen, view)
    facts = [store.receipt(job.key).facts for job in jobs if job.fresh]
    assert forecast.retrain_samples == sum(fact["samples"] for fact in facts) > 0
    pace = forecast.full_seconds / forecast.full_samples
    assert forecast.estimated_seconds == pytest.approx(forecast.retrain_samples * pace)


def test_what_sealing_would_freeze_is_forecast_like_the_sealed_batch(folder):
    folder.request(subject="s0010")
    folder.request(record="r0005")
    before = plan(folder)
    assert not before.sealed
    batch = folder.seal()
    after = plan(folder, batch)
    assert after.sealed
    assert {**to_json(before), "sealed": True} == to_json(after)
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
    text = json.dumps(to_json(plan(folder, batch)))
    assert not any(one in text for one in ("r0020", "r0021", "s0010"))


def test_with_bands_of_shards_forecast_and_exactness_hold(make_folder, count_samples):
    bands = {"shards": 4, "shard_thresholds": [0.1], "band_shards": [1, 3]}
    records = simple_records(40, [0.05 if i % 2 else 0.4 for i in range(40)])
    folder = make_folder(records, partition=bands)
    folder.build()
    batch = folder.seal({"record": "r00003"}, {"record": "r00008"})
    forecast = plan(folder, batch)
    assert len(forecast.shards) == 2
    assert 0 in forecast.shards
    count_samples.clear()
    folder.unlearn(batch)
    assert forecast.retrain_samples == sum(count_samples)
    left = records.take(~records.mask(["r00003", "r00008"]))
    scratch = make_folder(left, partition=bands)
    scratch.build()
    assert folder.weights(batch) == scratch.weights("original")


# What waiting saves


@pytest.mark.parametrize("partition", [{}, {"shards": 5, "slices": 1}, {"shards": 1, "slices": 3}])
@pytest.mark.parametrize("method", ["sisa", "retrain"])
def test_waiting_saves_the_mean_over_all_later_batches(
    make_folder, make_records, partition, method
):
    some = make_records(24)
    train = UNROUNDED if partition.get("slices") != 1 else {"batch_size": 1, "epochs": 3}

    def counted(*batches):
        """Return the samples of the last of these batches of subjects."""
        folder = make_folder(some, partition=partition, train=train)
        for subjects in batches:
            batch = folder.seal(*({"subject": one} for one in subjects))
        return plan(folder, batch, method)

    first = counted(["s0005"])
    others = sorted(set(some.subject_ids) - {"s0005"})
    later = [counted(["s0005"], [one]).retrain_samples for one in others]
    joint = [counted(["s0005", one]).retrain_samples for one in others]
    assert first.waiting.subjects == 1
    assert first.waiting.later_samples == pytest.approx(np.mean(later))
    assert first.waiting.together_samples == pytest.approx(np.mean(joint))
    saved = first.retrain_samples + np.mean(later) - np.mean(joint)
    assert first.waiting.saved_samples == pytest.approx(saved)


def test_on_many_equal_shards_waiting_saves_what_the_formula_says(make_folder):
    count, shards, slices = 3000, 5, 3
    records = simple_records(count)
    numbers = np.arange(count)
    equal = Assignment(shards, slices, numbers % shards, numbers // shards % slices)
    saved = []
    # A record of every slice of shard 0: the mean over the slices that a request may hit.
    for record in ("r00000", "r00005", "r00010"):
        folder = make_folder(
            records, partition={"shards": shards, "slices": slices}, train=UNROUNDED
        )
        write_assignment(records, equal, folder.project.partition / "assignment.parquet")
        saved.append(plan(folder, folder.seal({"record": record})).waiting.saved_samples)
    one, two = (joint_batch(count, shards, slices, requests, 4.0) for requests in (1, 2))
    assert np.mean(saved) == pytest.approx(2 * one - two, rel=0.005)


def test_all_of_a_full_retraining_is_saved(make_folder, records):
    folder = make_folder(records, partition={"method": "monolith"})
    forecast = plan(folder, folder.seal({"record": "r0005"}))
    assert forecast.waiting.saved_samples == pytest.approx(forecast.retrain_samples)


def test_nothing_is_said_of_waiting_where_it_means_nothing(folder):
    edited = plan(folder, folder.seal({"record": "r0005"}), "finetune")
    assert edited.waiting is None
    assert "finetune rebuilds nothing" in edited.waiting_note
    everybody = plan(folder, folder.seal(*REQUESTS["everything"]))
    assert everybody.waiting is None
    assert "nobody is left" in everybody.waiting_note
    assert "waiting" not in texts.plan(everybody)


def test_a_later_batch_is_no_larger_than_what_is_left(folder):
    many = [{"subject": f"s{i:04d}"} for i in range(20)]
    assert plan(folder, folder.seal(*many)).waiting.subjects == 10


def test_what_waiting_saves_is_told_before_sealing_only(folder):
    folder.request(subject="s0010")
    before = plan(folder)
    seconds = before.waiting.saved_seconds
    assert seconds == pytest.approx(
        before.waiting.saved_samples * before.full_seconds / before.full_samples
    )
    text = texts.plan(before)
    assert f"{before.waiting.saved_samples:,.0f} of " in text
    assert "if 1 more ask" in text
    assert "waiting" not in texts.plan(plan(folder, folder.seal()))
    assert plan(folder, "b1").waiting == before.waiting


# What the due date forbids


def test_one_may_wait_until_a_full_retraining_before_the_due_date(folder):
    batch = folder.seal({"record": "r0005"})
    forecast = plan(folder, batch)
    reserve = timedelta(seconds=forecast.full_seconds)
    assert forecast.due_at - reserve - timedelta(seconds=1) <= forecast.start_by
    assert forecast.start_by <= forecast.due_at - reserve
    assert (forecast.days_left, forecast.wait_days) == (27, 26)
    assert f"{forecast.start_by:%Y-%m-%d} (26 day(s) to wait at most" in texts.plan(forecast)


def test_without_a_pace_one_may_wait_until_the_due_date(make_folder, records):
    folder = make_folder(records)
    forecast = plan(folder, folder.seal({"record": "r0005"}))
    assert forecast.start_by == forecast.due_at
    assert forecast.wait_days == forecast.days_left == 27
    assert forecast.waiting.saved_seconds is None


def test_the_most_urgent_request_decides(folder):
    folder.request(record="r0005")
    assert plan(folder).wait_days == 26
    folder.request(record="r0006", due_at="2026-01-12T12:00:00Z")
    urgent = plan(folder)
    assert urgent.due_at == NOW + timedelta(days=7)
    assert urgent.wait_days == 3
    folder.request(record="r0007", due_at="2026-02-12")
    assert plan(folder).start_by == urgent.start_by


@pytest.mark.parametrize("days", [30, 31, 100])
def test_no_day_is_left_when_the_time_has_come(folder, days):
    folder.request(record="r0005")
    late = plan(folder, clock=NOW + timedelta(days=days))
    assert late.wait_days == 0
    assert late.days_left == 30 - days
    assert "no day left to wait" in texts.plan(late)
