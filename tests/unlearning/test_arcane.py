"""ARCANE deletes exactly: A1 to A6 of its method, for both one-class models.

A1  a selected record      its class's model is one built without it; others keep their bytes
A2  an unselected record   nothing is trained, no file changes
A3  a whole class          model, file and probability go
A4  sorting by prior       likelier leavers last costs less than anywhere, than first
A5  isolation              another class's records reach nothing of a model
A6  accuracy               beside a joint model and SISA, on digits
"""

from dataclasses import replace

import numpy as np
import pytest

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema
from forgetflow.records.sources.registry import import_records
from forgetflow.store.store import Store
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.promise import Guarantee
from forgetflow.training.trainer import train_chain
from forgetflow.training.work import slice_samples
from forgetflow.unlearning.protocol import guarantee_of, jobs_of
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import changed_slices
from forgetflow.unlearning.verify import verify_generation

HEADS = {
    "gaussian": {"model": {"architecture": "gaussian"}},
    "autoencoder": {"model": {"architecture": "autoencoder", "hidden": [3]}},
}
RANGE = {"low": -4.0, "high": 6.0, "bins": 8}
SELECTIONS = {
    "all": {"mode": "none"},
    "threshold": {"mode": "threshold", "threshold": 1.2, **RANGE},
    "joint": {"mode": "joint", "share": 0.5, **RANGE},
    "frozen": {"mode": "joint", "share": 0.5, "frozen": True, **RANGE},
}


@pytest.fixture(params=list(HEADS))
def head(request):
    return HEADS[request.param]


@pytest.fixture
def make(lab, records, head):
    """Return a maker of workspaces with ARCANE's placement and a selection."""

    def make_space(selection="all", own=records, slices=3):
        partition = {"method": "arcane", "slices": slices, "selection": SELECTIONS[selection]}
        return lab.space(own, **head, partition=partition)

    return make_space


def weights(card):
    return {member.shard: member.weights for member in card.constituents}


def keys(card):
    return {member.shard: member.key for member in card.constituents}


def learned(space):
    return space.learned(space.everything)


def fresh(view):
    return [key for job in jobs_of(method_named("sisa"), view) for key in job.fresh]


def without(lab, space, forget):
    """Build in a workspace that never had the records."""
    return lab.build(lab.without(space, forget))


@pytest.mark.parametrize("selection", ["all", "threshold", "joint"])
def test_a1_a_selected_record_leaves_what_a_build_without_it_gives(lab, make, selection, mask_of):
    space = make(selection)
    parent = lab.build(space)
    for slice_number in range(3):
        there = learned(space) & (space.assignment.slice == slice_number)
        forget = mask_of(space.records, np.flatnonzero(there)[0])
        view = lab.view(space, parent, forget)
        child = lab.unlearn(view)
        label = int(space.records.labels[forget][0])
        assert weights(child) == weights(without(lab, space, forget))
        others = [n for n in weights(parent) if n != label]
        assert all(keys(child)[n] == keys(parent)[n] for n in others)
        assert weights(child)[label] != weights(parent)[label]
        assert fresh(view)


@pytest.mark.parametrize("method", ["sisa", "retrain"])
@pytest.mark.parametrize("selection", ["all", "threshold", "joint"])
def test_a1_people_with_records_in_several_classes(lab, make, selection, method, mask_of):
    space = make(selection)
    forget = mask_of(space.records, *range(10))
    child = lab.unlearn(lab.view(space, lab.build(space), forget, method), method)
    assert weights(child) == weights(without(lab, space, forget))


def test_a1_order_does_not_matter(lab, make, mask_of):
    """a then b, b then a, both at once: the same bytes, also where others take their place."""
    space = make("joint")
    one, other = (mask_of(space.records, *w) for w in ((0, 1, 2), (30, 31)))
    parent = lab.build(space)
    at_once = lab.unlearn(lab.view(space, parent, one | other))
    for first, second in ((one, other), (other, one)):
        between = lab.unlearn(lab.view(space, parent, first))
        last = lab.unlearn(lab.view(space, between, second, gone=first))
        assert weights(last) == weights(at_once)


@pytest.mark.parametrize("selection", ["threshold", "frozen"])
def test_a2_an_unselected_record_costs_nothing(lab, make, selection):
    space = make(selection)
    parent = lab.build(space)
    idle = np.flatnonzero(~learned(space))
    assert len(idle) > 10
    for position in idle[:5]:
        forget = np.zeros(60, bool)
        forget[position] = True
        view = lab.view(space, parent, forget)
        assert not fresh(view)
        assert not changed_slices(space, ~forget, forget)
        assert lab.unlearn(view).constituents == parent.constituents


def test_a2_with_threshold_it_is_as_if_the_record_had_never_been_there(lab, make):
    space = make("threshold")
    forget = np.zeros(60, bool)
    forget[np.flatnonzero(~learned(space))[0]] = True
    assert weights(without(lab, space, forget)) == weights(lab.build(space))


def test_a2_with_joint_an_unselected_record_may_cost_and_stays_exact(lab, make):
    """Its leaving changes what is rare in its class, and so who is chosen."""
    space = make("joint")
    parent, costs = lab.build(space), []
    for position in np.flatnonzero(~learned(space)):
        forget = np.zeros(60, bool)
        forget[position] = True
        view = lab.view(space, parent, forget)
        child = lab.unlearn(view)
        assert weights(child) == weights(without(lab, space, forget))
        costs.append(bool(fresh(view)))
        assert bool(changed_slices(space, ~forget, forget)) == costs[-1]
    assert any(costs)


def test_a2_frozen_is_no_build_without_the_record_and_says_so(lab, make):
    """The gap of a choice that remembers: it differs from a fresh choice for selected leavers."""
    space = make("frozen")
    assert guarantee_of(method_named("sisa"), space.settings) is Guarantee.APPROXIMATE
    assert guarantee_of(method_named("sisa"), make("joint").settings) is Guarantee.EXACT
    forget = np.zeros(60, bool)
    forget[np.flatnonzero(learned(space))[:6]] = True
    child = lab.unlearn(lab.view(space, lab.build(space), forget))
    assert weights(child) != weights(without(lab, space, forget))
    assert weights(child) == weights(lab.build(space, ~forget)), "but it is what frozen means"


@pytest.mark.parametrize("selection", list(SELECTIONS))
def test_a3_a_class_that_goes_takes_model_and_probability_along(lab, make, selection):
    space = make(selection)
    parent = lab.build(space)
    forget = space.records.labels == 1
    view = lab.view(space, parent, forget)
    assert not fresh(view), "there is nothing to train"
    child = lab.unlearn(view)
    assert child.constituents == tuple(m for m in parent.constituents if m.shard != 1)
    ensemble = Ensemble.from_store(child, space.store)
    probabilities = ensemble.probabilities(space.records.inputs)
    assert (probabilities[:, 1] == 0).all()
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert 1 not in ensemble.predict(space.records.inputs)
    left = ~forget
    before = Ensemble.from_store(parent, space.store)
    right = before.predict(space.records.inputs) == space.records.labels
    after = ensemble.predict(space.records.inputs) == space.records.labels
    assert (after | ~right)[left].all(), "no competitor is gained by losing one"
    if selection != "frozen":
        assert weights(child) == weights(without(lab, space, forget))


def test_a3_a_class_that_goes_takes_its_file_along(make_folder, records, head):
    folder = make_folder(records, **head, partition={"method": "arcane", "slices": 2})
    folder.build()
    assert sorted(folder.weights("original")) == [f"shard-00{n}.safetensors" for n in range(3)]
    card = folder.forget({"label": "c"})
    assert sorted(folder.weights(card.generation)) == [f"shard-00{n}.safetensors" for n in range(2)]
    before = folder.weights("original")
    assert all(before[name] == data for name, data in folder.weights(card.generation).items())
    found = verify_generation(folder.project, card.generation)
    assert found.compared == 2
    assert not found.different


def test_a_new_class_adds_a_model_and_leaves_the_others_alone(lab, make, records):
    """Another name in the schema and other records: keys and bytes of the rest stay."""
    before = make("joint")
    schema = RecordSchema((*records.schema.class_names, "new"), records.schema.features)
    rng = np.random.default_rng(0)
    inputs = np.concatenate([records.inputs, rng.normal(size=(9, 6)).astype(np.float32) - 5])
    grown = build_record_set(
        schema,
        record_ids=[*records.record_ids, *(f"new{i}" for i in range(9))],
        subject_ids=[*records.subject_ids, *(f"newcomer{i}" for i in range(9))],
        labels=np.concatenate([records.labels, np.full(9, 3)]),
        features=inputs,
        where="test",
    )
    after = make("joint", grown)
    old, new = lab.build(before), lab.build(after)
    assert len(new.constituents) == 4
    assert new.constituents[:3] == old.constituents
    scores, fewer = (
        Ensemble.from_store(*of).outputs(inputs) for of in ((new, after.store), (old, before.store))
    )
    assert np.array_equal(scores[:3], fewer)
    assert (Ensemble.from_store(new, after.store).probabilities(inputs)[:, 3] > 0).any()
    assert Ensemble.from_store(old, before.store).probabilities(inputs).shape == (69, 3)


@pytest.mark.parametrize("selection", ["all", "threshold", "joint"])
def test_a5_other_classes_reach_nothing_of_a_model(lab, make, records, selection):
    """Every record of two classes is another one; the third class's chain does not notice."""
    inputs = records.inputs.copy()
    others = records.labels != 0
    inputs[others] = inputs[others] * 2 + 1
    changed = build_record_set(
        records.schema,
        record_ids=records.record_ids,
        subject_ids=records.subject_ids,
        labels=records.labels,
        features=inputs,
        where="test",
    )
    one, other = (lab.build(make(selection, own)) for own in (records, changed))
    assert one.constituent(0) == other.constituent(0)
    assert weights(one)[1] != weights(other)[1]


def test_a4_sorting_by_prior_saves_training(lab, make_records):
    """Mean over 200 draws of what is trained again: blocks sorted, by hash, and reversed.

    Blocks are of about equal size, which the comparison with the reversed order needs.
    """
    plain = make_records(180)
    rng = np.random.default_rng(0)
    priors = rng.permutation(np.repeat([0.01, 0.1, 0.5], 60))
    records = build_record_set(
        plain.schema,
        record_ids=plain.record_ids,
        subject_ids=plain.record_ids,
        labels=plain.labels,
        features=plain.inputs,
        priors=priors.tolist(),
        where="test",
    )
    by_hash, ascending = (
        lab.space(
            records,
            **HEADS["autoencoder"],
            partition={"method": "arcane", "slices": 3, "prior_thresholds": bounds},
        )
        for bounds in ((), (0.05, 0.3))
    )
    sorted_last = ascending.assignment
    reverse = replace(sorted_last, slice=2 - sorted_last.slice)
    spaces = {
        "ascending": ascending,
        "hash": by_hash,
        "descending": replace(ascending, assignment=reverse),
    }
    costs = {order: [] for order in spaces}
    for _ in range(200):
        forget = np.zeros(180, bool)
        forget[rng.choice(180, p=priors / priors.sum())] = True
        for order, space in spaces.items():
            ((shard, first),) = changed_slices(space, ~forget, forget).items()
            sizes = space.assignment.take(~forget).sizes()[shard].tolist()
            costs[order].append(sum(slice_samples(space.recipe, sizes)[first:]))
    found = {order: np.array(values) for order, values in costs.items()}
    for less, more in (("ascending", "hash"), ("hash", "descending")):
        apart = found[more] - found[less]
        assert apart.mean() > 3 * apart.std(ddof=1) / np.sqrt(200)


def test_a4_without_a_prior_the_cost_is_that_of_sisa(lab, make_records):
    """The mean over all single deletions is e' D (2/3 + 1/(3 B)), up to sizes and whole steps."""
    records = make_records(900)
    space = lab.space(records, **HEADS["autoencoder"], partition={"method": "arcane", "slices": 4})
    costs = []
    for position in range(0, 900, 3):
        forget = np.zeros(900, bool)
        forget[position] = True
        ((shard, first),) = changed_slices(space, ~forget, forget).items()
        sizes = space.assignment.take(~forget).sizes()[shard].tolist()
        costs.append(sum(slice_samples(space.recipe, sizes)[first:]))
    expected = space.recipe.train.epochs * 300 * (2 / 3 + 1 / (3 * 4))
    assert np.mean(costs) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_kill_between_blocks_costs_a_block_and_no_bit(lab, make, number):
    whole = make()
    expected = weights(lab.build(whole))
    space = make()
    chain = space.chain(0, space.everything)
    steps = []

    def crash(block, step):
        steps.append((block, step))
        if block == number:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_chain(space.store, chain, space.recipe, crash)
    assert steps[-1][0] == number
    again = Store(space.store.root)
    resumed = replace(space, store=again)
    assert weights(lab.build(resumed)) == expected
    assert not [r for r in again.receipts() if r.kind != "state"]


@pytest.mark.parametrize("selection", ["joint", "threshold"])
def test_a_project_with_a_selection_is_verified_byte_for_byte(make_folder, records, selection):
    partition = {"method": "arcane", "slices": 2, "selection": SELECTIONS[selection]}
    folder = make_folder(records, **HEADS["gaussian"], partition=partition)
    folder.build()
    card = folder.forget({"record": "r0000"}, {"subject": "s0010"})
    assert card.guarantee == "exact"
    found = verify_generation(folder.project, card.generation)
    assert found.guarantee == "exact"
    assert found.compared == 3
    assert not found.different


def test_a_project_with_a_frozen_selection_promises_nothing(make_folder, records):
    partition = {"method": "arcane", "slices": 2, "selection": SELECTIONS["frozen"]}
    folder = make_folder(records, **HEADS["gaussian"], partition=partition)
    folder.build()
    card = folder.forget({"record": "r0000"}, {"subject": "s0010"})
    assert card.guarantee == "approximate"
    found = verify_generation(folder.project, card.generation)
    assert found.guarantee == "approximate"
    assert found.compared == 0


@pytest.mark.parametrize("name", ["finetune", "ascent", "dare"])
def test_methods_for_other_models_are_refused(make, name):
    with pytest.raises(InputError, match="cannot treat models of architecture"):
        method_named(name, make().settings)


def test_a6_accuracy_beside_a_joint_model_and_sisa(lab):
    """On digits, end to end: a density per class is at most a point below the joint model."""
    digits = import_records(DataSettings())
    train = {"epochs": 20, "batch_size": 16, "learning_rate": 0.05}
    found = {}
    for name, blocks in {
        "gaussian": {"partition": {"method": "arcane"}, "model": {"architecture": "gaussian"}},
        "joint": {"partition": {"method": "monolith"}, "model": {"hidden": [64]}},
        "sisa": {"partition": {"shards": 10, "slices": 4}, "model": {"hidden": [64]}},
    }.items():
        space = lab.space(digits.train, **blocks, train=train)
        ensemble = Ensemble.from_store(lab.build(space), space.store)
        found[name] = (ensemble.predict(digits.test.inputs) == digits.test.labels).mean()
    assert found["gaussian"] > found["joint"] - 0.01
    assert found["gaussian"] > found["sisa"] + 0.01
