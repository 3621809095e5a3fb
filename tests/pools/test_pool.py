"""Pools: every member is the procedure itself under another seed, kept by member."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forgetflow.errors import InputError, VerdictError
from forgetflow.pools import comparison as comparison_module
from forgetflow.pools import procedure as procedure_module
from forgetflow.pools.comparison import ORACLES, Comparison
from forgetflow.pools.member import member_seed, read_member
from forgetflow.pools.pool import Untrained
from forgetflow.pools.procedure import Procedure, Step
from forgetflow.training.sequential import weights_of
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS, method_named


@pytest.fixture
def trial(lab, records, mask_of):
    """A deletion of four records, straight from the original."""
    space = lab.space(records)
    forget = mask_of(records, 0, 1, 17, 40)
    return Comparison(space, space.everything, (), "t", ~forget, forget)


def member(plan, number):
    """Return shard -> name -> bytes of a member's weights."""
    found = read_member(plan.store, plan.keys[number])
    return {s: {n: t.numpy().tobytes() for n, t in w.items()} for s, w in found.items()}


def built(lab, trial, seed, keep):
    """Return the same of a build by the pipeline, shard by shard, in a store of its own."""
    space = lab.space(trial.space.records).with_seed(seed)
    card = lab.build(space, keep)
    return {
        one.shard: {
            name: tensor.numpy().tobytes()
            for name, tensor in weights_of(space.store.require(one.key)).items()
        }
        for one in card.constituents
    }


@pytest.mark.parametrize(
    ("contender", "kept"), [("original", "base"), ("oracle", "retain"), ("second oracle", "retain")]
)
def test_built_members_are_what_the_pipeline_builds(lab, trial, contender, kept):
    plan = trial.procedure(contender, 3)
    plan.train()
    for number, seed in enumerate(plan.seeds):
        assert member(plan, number) == built(lab, trial, seed, getattr(trial, kept))


@pytest.mark.parametrize("method", ["sisa", "retrain"])
def test_exact_members_are_builds_without_the_forgotten(lab, trial, method):
    plan = trial.procedure(method, 3)
    plan.train()
    for number, seed in enumerate(plan.seeds):
        assert member(plan, number) == built(lab, trial, seed, trial.retain)


@pytest.mark.parametrize("method", ["finetune", "ascent"])
def test_approximate_members_are_what_the_method_makes_of_their_own_original(lab, trial, method):
    plan = trial.procedure(method, 3)
    plan.train()
    for number, seed in enumerate(plan.seeds):
        space = lab.space(trial.space.records).with_seed(seed)
        view = lab.view(space, lab.build(space), trial.forget, method)
        card = lab.unlearn(view, method)
        made = {
            one.shard: {
                name: tensor.numpy().tobytes()
                for name, tensor in weights_of(space.store.require(one.key)).items()
            }
            for one in card.constituents
        }
        assert member(plan, number) == made
    assert member(plan, 0) != member(trial.procedure("original", 3), 0)


def test_doing_nothing_is_the_original_of_a_first_batch(trial):
    assert trial.procedure("none", 4).keys == trial.procedure("original", 4).keys


def test_seeds_of_oracles_are_nobody_elses(trial):
    seeds = [set(trial.procedure(name, 50).seeds) for name in ("sisa", *ORACLES)]
    assert all(len(one) == 50 for one in seeds)
    assert len(set.union(*seeds)) == 150
    assert trial.procedure("original", 5).seeds == trial.procedure("finetune", 5).seeds


def test_a_pool_grows_and_is_shared(trial, monkeypatch):
    made = []
    put = procedure_module.put_member
    monkeypatch.setattr(
        procedure_module, "put_member", lambda *given: made.append(given[3]) or put(*given)
    )
    trial.procedure("oracle", 3).train()
    assert len(made) == 3
    bigger = trial.procedure("oracle", 5)
    assert bigger.keys[:3] == trial.procedure("oracle", 3).keys
    assert bigger.missing() == [3, 4]
    bigger.train()
    assert len(made) == 5
    bigger.train()
    assert len(made) == 5


@pytest.mark.parametrize("contender", ["oracle", "finetune", "sisa"])
def test_killed_while_training_it_goes_on_with_the_same_bytes(lab, trial, contender, monkeypatch):
    monkeypatch.setattr(procedure_module, "GROUP", 2)
    whole = replace(trial, space=lab.space(trial.space.records)).procedure(contender, 5)
    whole.train()
    put, left = procedure_module.put_member, 3

    def dying(*given):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return put(*given)

    plan = trial.procedure(contender, 5)
    with monkeypatch.context() as patch:
        patch.setattr(procedure_module, "put_member", dying)
        with pytest.raises(KeyboardInterrupt):
            plan.train()
    assert plan.missing()
    plan.train()
    assert [member(plan, m) for m in range(5)] == [member(whole, m) for m in range(5)]


def test_a_damaged_member_is_made_again(trial, lab):
    plan = trial.procedure("oracle", 2)
    plan.train()
    before = member(plan, 1)
    path = lab.path(plan.store, plan.keys[1])
    path.write_bytes(path.read_bytes()[:-1])
    assert plan.missing() == [1]
    plan.train()
    assert member(plan, 1) == before


def test_who_learned_from_a_record_is_known_of_members_too(trial):
    for name in ("original", "oracle", "finetune", "sisa"):
        trial.procedure(name, 2).train()
    digests = trial.space.records.digests[np.flatnonzero(trial.forget)[:1]]
    found = {receipt.key for receipt in trial.space.store.learned_from(digests)}
    assert set(trial.procedure("original", 2).keys) <= found
    assert set(trial.procedure("finetune", 2).keys) <= found, "it started from the original"
    assert not found & set(trial.procedure("oracle", 2).keys)
    assert not found & set(trial.procedure("sisa", 2).keys)


def test_a_second_batch_starts_from_the_first_ones_procedure(folder):
    first = folder.seal({"record": "r0000"}, method="finetune")
    folder.unlearn(first, "finetune")
    second = folder.seal({"record": "r0017"})
    space = pool_space(folder)
    trial = Comparison.of_batch(folder.project, space, second)
    alone = Comparison.of_batch(folder.project, space, first)
    assert [step.method.name for step in trial.before] == ["finetune"]
    plan = trial.procedure("none", 2)
    assert plan.keys == alone.procedure("finetune", 2).keys
    after = trial.procedure("sisa", 2)
    after.train()
    assert not after.missing()
    assert not alone.procedure("finetune", 2).missing(), "parents are kept, too"


def pool_space(folder):
    from forgetflow.training.workspace import Workspace

    return Workspace.open(folder.project)


def test_forget_sets_can_be_drawn(folder):
    space = pool_space(folder)
    trial = Comparison.of_sample(folder.project, space, label=1, records=5)
    assert trial.forget.sum() == 5
    assert set(space.records.labels[trial.forget]) == {1}
    assert not (trial.forget & trial.retain).any()
    assert (trial.forget | trial.retain).all()
    again = Comparison.of_sample(folder.project, space, label=1, records=5)
    assert (again.forget == trial.forget).all()
    assert Comparison.of_sample(folder.project, space, label=1, records=None).forget.sum() == 20


def test_sealed_records_take_no_part_in_a_drawn_trial(folder):
    batch = folder.seal({"record": "r0000"})
    folder.unlearn(batch)
    space = pool_space(folder)
    trial = Comparison.of_sample(folder.project, space, label=None, records=5)
    gone = space.records.mask(["r0000"])
    assert gone.any()
    assert not (gone & (trial.base | trial.forget | trial.retain)).any()


@pytest.mark.parametrize(("label", "count"), [(1, 21), (None, 60), (None, 0)])
def test_a_forget_set_that_cannot_be_drawn_is_refused(folder, label, count):
    with pytest.raises(InputError, match="ask for fewer"):
        Comparison.of_sample(folder.project, pool_space(folder), label, count)


@pytest.mark.parametrize("aggregation", ["mean", "vote"])
@pytest.mark.parametrize("normalize", ["none", "standard"])
@pytest.mark.parametrize("architecture", ["mlp", "logistic"])
def test_predictions_are_those_of_the_pipelines_ensemble(
    lab, records, mask_of, aggregation, normalize, architecture
):
    from forgetflow.training.ensemble import Ensemble

    space = lab.space(
        records,
        partition={"shards": 3, "slices": 2, "aggregation": aggregation},
        model={"normalize": normalize, "architecture": architecture},
    )
    forget = mask_of(records, 3)
    plan = Comparison(space, space.everything, (), "t", ~forget, forget).procedure("original", 2)
    plan.train()
    found = plan.pool().probabilities(records.inputs)
    for number, seed in enumerate(plan.seeds):
        own = space.with_seed(seed)
        expected = Ensemble.from_store(lab.build(own), own.store).probabilities(records.inputs)
        np.testing.assert_allclose(found[number], expected, atol=1e-6)
        logs = plan.pool().network(number)(torch.from_numpy(records.inputs))
        if aggregation == "mean":
            np.testing.assert_allclose(logs.exp().detach().numpy(), expected, atol=1e-6)


def test_a_network_is_a_copy(trial):
    plan = trial.procedure("oracle", 1)
    plan.train()
    inputs = trial.space.records.inputs
    before = plan.pool().probabilities(inputs)
    network = plan.pool().network(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    assert (plan.pool().probabilities(inputs) == before).all()


def test_costs_are_those_of_the_step_itself(trial):
    facts = {}
    for name in ("original", "sisa", "retrain", "finetune", "none"):
        plan = trial.procedure(name, 2)
        plan.train()
        facts[name] = plan.pool().facts[0]["samples"]
    assert 0 < facts["finetune"] < facts["sisa"] < facts["retrain"] <= facts["original"]
    assert facts["none"] == facts["original"], "the pool of doing nothing is the original's"


def test_a_pool_that_is_not_trained_says_so(trial):
    with pytest.raises(VerdictError, match="train the pool"):
        _ = trial.procedure("oracle", 1).pool().facts


def test_untrained_networks_differ_by_seed(trial):
    recipe = trial.space.recipe
    pool = Untrained(recipe, [member_seed(0, "untrained", n) for n in range(2)])
    found = pool.probabilities(trial.space.records.inputs)
    assert found.shape == (2, 60, 3)
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-6)
    assert not np.allclose(found[0], found[1])


def test_a_method_without_a_joint_run_is_run_job_by_job(trial, monkeypatch):
    """`run_many` is an option: a method of its own file needs `run` only."""
    plan = trial.procedure("finetune", 2)
    plan.train()
    expected = [member(plan, m) for m in range(2)]

    class Plain:
        name, guarantee = "finetune", method_named("finetune").guarantee
        needs, rebuilds = method_named("finetune").needs, None

        def job(self, view, shard):
            return method_named("finetune").job(view, shard)

        def refuses(self, view):
            return None

        def run(self, view, job, on_step=None):
            return method_named("finetune").run(view, job)

    monkeypatch.setattr(comparison_module, "method_named", lambda _: Plain())
    for key in plan.keys:
        plan.store.remove(key)
    again = trial.procedure("finetune", 2)
    again.train()
    assert [member(again, m) for m in range(2)] == expected


def test_the_cost_of_an_exact_member_is_that_of_the_pipelines_deletion(lab, trial):
    """Pools keep no states between slices, but what they say a deletion costs counts from one."""
    from forgetflow.unlearning.cost import cost_of

    plan = trial.procedure("sisa", 2)
    plan.train()
    for number, seed in enumerate(plan.seeds):
        space = lab.space(trial.space.records).with_seed(seed)
        view = lab.view(space, lab.build(space), trial.forget, "sisa")
        lab.unlearn(view)
        keys = [key for job in jobs_of(method_named("sisa"), view) for key in job.fresh]
        assert plan.pool().facts[number]["samples"] == cost_of(space.store, keys).backward_samples


# Members that learn from records of their own, and what methods prepare


def test_every_member_can_have_records_of_its_own(lab, records):
    """The bytes of a member are those of a pool that all of its members' records are."""
    space = lab.space(records)
    seeds = [member_seed(0, "subsets", m) for m in range(4)]
    rng = np.random.default_rng(5)
    masks = rng.random((4, len(records))) < 0.6
    masks[3] = masks[0]
    procedure = Procedure(space, seeds, masks)
    procedure.train()
    for member, (seed, mask) in enumerate(zip(seeds, masks, strict=True)):
        alone = Procedure(lab.space(records), [seed], mask)
        assert alone.keys == [procedure.keys[member]]
        alone.train()
        one, other = (read_member(p.store, alone.keys[0]) for p in (alone, procedure))
        assert one.keys() == other.keys()
        for shard, weights in one.items():
            assert all(torch.equal(weights[n], other[shard][n]) for n in weights)
        sets = procedure.store.receipt(alone.keys[0]).learned_from
        learned = {row.tobytes() for name in sets for row in procedure.store.members(name)}
        assert learned == {row.tobytes() for row in records.digests[mask]}
    assert len(set(procedure.keys)) == 4, "seeds differ where masks do not"


def test_what_members_start_from_must_fit(lab, records):
    space = lab.space(records)
    with pytest.raises(ValueError, match="2 masks for 3 members"):
        Procedure(space, [1, 2, 3], np.ones((2, len(records)), bool))
    forget = np.zeros(len(records), bool)
    step = Step("b1", METHODS["none"], ~forget, forget)
    with pytest.raises(ValueError, match="built from records, or unlearned"):
        Procedure(space, [1], ~forget, step)
    with pytest.raises(ValueError, match="built from records, or unlearned"):
        Procedure(space, [1], Procedure(space, [1], ~forget))


def test_what_a_method_prepares_is_told_apart_from_what_it_costs(lab, records):
    space = lab.space(records)
    forget = np.zeros(len(records), bool)
    forget[[0, 1, 2]] = True
    comparison = Comparison(space, space.everything, (), "t", ~forget, forget)
    procedure = comparison.procedure("ssd", 2)
    procedure.train()
    affected = np.isin(space.assignment.shard, space.occupied(forget))
    for facts in procedure.pool().facts:
        assert facts["samples"] == 3
        assert facts["prepared_samples"] == affected.sum()
        assert facts["prepared_bytes"] > 0
    assert procedure.parent is not None
    assert not any(facts["prepared_samples"] for facts in procedure.parent.pool().facts)
