"""DaRE deletes from forests, and what is left are the bytes of a build without the records."""

from datetime import UTC, datetime

import numpy as np
import pytest

from forgetflow.cli import texts
from forgetflow.errors import InputError, VerdictError
from forgetflow.pools.comparison import Comparison
from forgetflow.pools.member import read_member
from forgetflow.training.workspace import Workspace
from forgetflow.unlearning.plan import plan_deletion
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import deletion_cost
from forgetflow.unlearning.verify import verify_generation
from forgetflow.unlearning.view import View

pytest.importorskip("numba")

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
FOREST = {"architecture": "forest", "forest": {"trees": 7, "low": -2.0, "high": 4.0}}
MONOLITH = {"partition": {"method": "monolith"}, "model": FOREST}
SHARDS = {"partition": {"shards": 4, "slices": 1}, "model": FOREST}
LAYOUTS = pytest.mark.parametrize("blocks", [MONOLITH, SHARDS], ids=["one shard", "four shards"])


def files(space, card):
    """Return shard -> bytes of the stored state."""
    return {c.shard: state(space, c.key) for c in card.constituents}


def state(space, key):
    path = space.store.root / "objects" / key[:2] / f"{key}.safetensors"
    return path.read_bytes()


@LAYOUTS
@pytest.mark.parametrize(
    "batches",
    [
        [[3]],
        [[0, 1, 2], [30, 31], [5]],
        [[5], [30, 31], [0, 1, 2]],
        [list(range(0, 60, 2)), list(range(1, 59, 2))],
        [[i for i in range(60) if i % 3 == 1]],
    ],
    ids=["one record", "three batches", "other order", "nearly all", "a whole class"],
)
def test_what_is_left_is_a_build_without_the_records(lab, records, mask_of, blocks, batches):
    space = lab.space(records, **blocks)
    card, gone = lab.build(space), ~space.everything
    for batch in batches:
        forget = mask_of(records, *batch)
        view = lab.view(space, card, forget, "dare", gone=gone)
        card, gone = lab.unlearn(view, "dare"), gone | forget
    other = lab.without(space, gone)
    built = lab.build(other)
    assert {c.shard: c.key for c in card.constituents} == {
        c.shard: c.key for c in built.constituents
    }
    assert files(space, card) == files(other, built)
    assert card.digest == built.digest
    assert [c.learned_from for c in card.constituents] == [
        c.learned_from for c in built.constituents
    ], "the receipts name the records that a build names, and no others"


@LAYOUTS
def test_only_affected_forests_are_changed(lab, records, mask_of, blocks):
    space = lab.space(records, **blocks)
    card, forget = lab.build(space), mask_of(records, 3)
    view = lab.view(space, card, forget, "dare")
    jobs = jobs_of(method_named("dare"), view)
    assert [job.shard for job in jobs if job.fresh] == space.occupied(forget)
    assert len(jobs) == space.assignment.shards
    lab.unlearn(view, "dare")
    before = {c.shard: c.key for c in card.constituents}
    assert all(job.key == before[job.shard] for job in jobs if not job.fresh)


def test_a_deletion_costs_less_than_a_build_and_more_than_nothing(lab, records, mask_of):
    space = lab.space(records, **MONOLITH)
    card = lab.build(space)
    view = lab.view(space, card, mask_of(records, 3), "dare")
    jobs = jobs_of(method_named("dare"), view)
    foretold = [method_named("dare").foretell(view, job) for job in jobs]
    assert not space.store.verify(jobs[0].key), "foretelling stores nothing"
    lab.unlearn(view, "dare")
    cost = deletion_cost(view, jobs)
    built = space.store.receipt(card.constituents[0].key)
    assert 0 < cost.backward_samples < built.facts["samples"] == 60 * 7
    assert cost.seconds > 0
    assert sum(one.samples for one in foretold) == cost.backward_samples


def test_running_again_finds_what_was_made(lab, records, mask_of):
    space = lab.space(records, **MONOLITH)
    view = lab.view(space, lab.build(space), mask_of(records, 3), "dare")
    first = lab.unlearn(view, "dare")
    receipt = space.store.receipt(first.constituents[0].key)
    assert lab.unlearn(view, "dare") == first
    assert space.store.receipt(first.constituents[0].key) == receipt


def test_a_shard_that_loses_everybody_loses_its_forest(lab, records):
    space = lab.space(records, **SHARDS)
    card = lab.build(space)
    forget = space.assignment.shard == 2
    after = lab.unlearn(lab.view(space, card, forget, "dare"), "dare")
    assert [c.shard for c in after.constituents] == [0, 1, 3]
    assert after.digest == lab.build(lab.without(space, forget)).digest


def test_everything_can_be_forgotten(lab, records):
    space = lab.space(records, **MONOLITH)
    view = lab.view(space, lab.build(space), space.everything, "dare")
    assert lab.unlearn(view, "dare").constituents == ()


def test_a_parent_that_kept_forgotten_records_is_refused(lab, records, mask_of):
    """After `none` the forest still has the first batch's records in it."""
    space = lab.space(records, **MONOLITH)
    first, second = mask_of(records, 3), mask_of(records, 8)
    kept = lab.unlearn(lab.view(space, lab.build(space), first, "none"), "none")
    view = lab.view(space, kept, second, "dare", gone=first)
    with pytest.raises(VerdictError, match="use sisa or retrain"):
        lab.unlearn(view, "dare")
    again = lab.unlearn(lab.view(space, kept, second, "sisa", gone=first), "sisa")
    assert again.digest == lab.build(lab.without(space, first | second)).digest


@LAYOUTS
def test_members_of_a_pool_are_those_that_are_built(lab, records, mask_of, blocks):
    space = lab.space(records, **blocks)
    forget = mask_of(records, 3, 11, 40)
    trial = Comparison(space, space.everything, (), "t", ~forget, forget)
    made, built = (trial.procedure(name, 3) for name in ("dare", "retrain"))
    for plan in (made, built):
        plan.train()
    for one, other in zip(made.keys, built.keys, strict=True):
        here, there = read_member(space.store, one), read_member(space.store, other)
        assert here.keys() == there.keys()
        for shard, weights in here.items():
            assert all((weights[n] == there[shard][n]).all() for n in weights)
    assert len({tuple(c.values()) for c in made.constituents}) == 3, "members differ by their seed"
    samples = [plan.pool().facts[0]["samples"] for plan in (made, built)]
    assert 0 < samples[0] < samples[1]
    found = made.pool().probabilities(records.inputs)
    assert found.shape == (3, 60, 3)
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-6)


@pytest.fixture(scope="module")
def grown(make_folder, records):
    folder = make_folder(records, **MONOLITH)
    folder.build()
    return folder


@pytest.fixture
def forest_folder(copy_folder, grown):
    return copy_folder(grown)


def test_a_generation_by_dare_is_verified_by_a_build(forest_folder):
    first = forest_folder.forget({"subject": "s0010"}, method="dare")
    second = forest_folder.forget({"record": "r0005"}, {"label": "b"}, method="dare")
    assert (first.guarantee, second.guarantee) == ("exact", "exact")
    for generation in ("original", "b1", "b2"):
        verdict = verify_generation(forest_folder.project, generation)
        assert verdict.passed
        assert verdict.compared == 1


def test_the_forecast_is_measured_on_a_copy_and_writes_nothing(forest_folder):
    batch = forest_folder.seal({"subject": "s0010"}, method="dare")
    before = forest_folder.tree()
    forecast = plan_deletion(forest_folder.project, batch, None, NOW)
    assert forest_folder.tree() == before
    assert (forecast.method, forecast.guarantee, forecast.note) == ("dare", "exact", "")
    assert 0 < forecast.retrain_samples < forecast.full_samples == 58 * 7
    assert forecast.estimated_seconds > 0
    assert f"{forecast.retrain_samples:,} record passes" in texts.plan(forecast)
    card = forest_folder.unlearn(batch, "dare")
    space = Workspace.open(forest_folder.project)
    receipt = space.store.receipt(card.constituents[0].key)
    assert receipt.facts["samples"] == forecast.retrain_samples


def test_a_forecast_without_a_forest_says_why(make_folder, forest_folder, records):
    bare = make_folder(records, **MONOLITH)
    unbuilt = plan_deletion(bare.project, bare.seal({"record": "r0005"}, method="dare"), None, NOW)
    assert unbuilt.retrain_samples is None
    assert "run `dvc repro` first" in texts.plan(unbuilt)
    forest_folder.forget({"record": "r0005"}, method="none")
    second = forest_folder.seal({"record": "r0006"}, method="dare")
    kept = plan_deletion(forest_folder.project, second, None, NOW)
    assert kept.retrain_samples is None
    assert "use sisa or retrain" in texts.plan(kept)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("dare", {"architecture": "mlp"}),
        ("finetune", FOREST),
        ("ascent", FOREST),
        ("dare", {"architecture": "gaussian"}),
        ("finetune", {"architecture": "autoencoder"}),
    ],
)
def test_a_method_refuses_models_it_cannot_treat(make_settings, name, model):
    method = "arcane" if model["architecture"] in ("gaussian", "autoencoder") else "sisa"
    settings = make_settings(model=model, partition={"method": method, "slices": 1})
    with pytest.raises(InputError, match=r"cannot treat models of .*those that can: .*sisa"):
        method_named(name, settings)


def test_the_view_gives_what_was_declared_and_no_more(lab, records, mask_of):
    space = lab.space(records, **MONOLITH)
    view = lab.view(space, lab.build(space), mask_of(records, 3), "dare")
    assert isinstance(view, View)
    job = jobs_of(method_named("dare"), view)[0]
    blind = lab.view(space, view.parent, mask_of(records, 3), "none")
    with pytest.raises(Exception, match="declared nothing"):
        method_named("dare").run(blind, job)
