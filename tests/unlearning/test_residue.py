"""Everything that learned from a record can be found, and what is left never did."""

import pytest

from forgetflow.partition.forecast import restart_slices
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.trainer import train_chain
from forgetflow.unlearning.registry import METHODS

OF_NETWORKS = [name for name, method in METHODS.items() if "network" in method.families]


@pytest.fixture
def space(lab, records):
    return lab.space(records, train={"checkpoint_seconds": 0})


@pytest.fixture
def parent(lab, space):
    return lab.build(space)


def learned_from(store, digests):
    """Return the keys of all objects whose record sets meet `digests`, by brute force."""
    wanted = {row.tobytes() for row in digests}
    return {
        receipt.key
        for receipt in store.receipts()
        for name in receipt.learned_from
        if wanted & {row.tobytes() for row in store.members(name)}
    }


def erase(store, digests):
    for receipt in store.learned_from(digests):
        store.remove(receipt.key)


def test_found_are_the_states_from_the_first_hit_slice_on(space, parent, mask_of):
    forget = mask_of(space.records, 4, 21, 40)
    found = {r.key for r in space.store.learned_from(space.records.digests[forget])}
    assert found == {
        key
        for shard, first in restart_slices(space.assignment, forget).items()
        for key in space.chain(shard, space.everything).keys[first:]
    }
    assert found == learned_from(space.store, space.records.digests[forget])


@pytest.mark.parametrize("method", ["sisa", "retrain"])
def test_after_erasing_nothing_left_has_learned_from_it(space, parent, lab, mask_of, method):
    forget = mask_of(space.records, 4, 21, 40)
    child = lab.unlearn(lab.view(space, parent, forget, method), method)
    digests = space.records.digests[forget]
    assert learned_from(space.store, digests)
    erase(space.store, digests)
    assert not space.store.learned_from(digests)
    assert not learned_from(space.store, digests)
    for member in child.constituents:
        assert space.store.verify(member.key)
    assert len(Ensemble.from_store(child, space.store).predict(space.records.inputs)) == 60


def test_the_deletion_needs_nothing_of_what_was_erased(space, parent, lab, mask_of, count_samples):
    forget = mask_of(space.records, 4, 21, 40)
    view = lab.view(space, parent, forget)
    child = lab.unlearn(view)
    erase(space.store, space.records.digests[forget])
    count_samples.clear()
    assert lab.unlearn(view) == child
    assert count_samples == []


def test_an_unfinished_slice_leaves_a_recovery_point_that_is_found(space, lab, mask_of):
    chain = space.chain(1, space.everything)

    def crash(number, step):
        if (number, step) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_chain(space.store, chain, space.recipe, crash)
    kinds = {receipt.key: receipt.kind for receipt in space.store.receipts()}
    assert sorted(kinds.values()) == ["progress", "state"]
    early, late, unseen = (part.digests[:1] for part in chain.slices)
    assert {r.kind for r in space.store.learned_from(early)} == {"progress", "state"}
    assert {r.kind for r in space.store.learned_from(late)} == {"progress"}
    assert not space.store.learned_from(unseen)
    erase(space.store, late)
    assert [r.kind for r in space.store.receipts()] == ["state"]


def test_finished_slices_leave_no_recovery_point(space, parent, lab, mask_of):
    lab.unlearn(lab.view(space, parent, mask_of(space.records, 4)))
    assert {receipt.kind for receipt in space.store.receipts()} == {"state"}


def test_a_finetuned_model_still_counts_as_having_learned_from_it(space, parent, lab, mask_of):
    forget = mask_of(space.records, 4)
    child = lab.unlearn(lab.view(space, parent, forget, "finetune"), "finetune")
    shard = int(space.assignment.shard[4])
    found = {r.key for r in space.store.learned_from(space.records.digests[forget])}
    assert child.constituent(shard).key in found
    others = {member.key for member in child.constituents if member.shard != shard}
    assert not others & found


def test_every_object_names_what_it_learned_from(space, parent, lab, mask_of):
    for method in OF_NETWORKS:
        lab.unlearn(lab.view(space, parent, mask_of(space.records, 4, 40), method), method)
    everyone = {row.tobytes() for row in space.records.digests}
    for receipt in space.store.receipts():
        assert receipt.learned_from, receipt.kind
        for name in receipt.learned_from:
            assert {row.tobytes() for row in space.store.members(name)} <= everyone


@pytest.mark.parametrize("method", OF_NETWORKS)
def test_a_card_names_what_its_model_learned_from(space, parent, lab, mask_of, method):
    forget = mask_of(space.records, 4, 40)
    child = lab.unlearn(lab.view(space, parent, forget, method), method)
    forgotten = {row.tobytes() for row in space.records.digests[forget]}
    learned = {
        row.tobytes()
        for member in child.constituents
        for name in member.learned_from
        for row in space.store.members(name)
    }
    exact = METHODS[method].guarantee == "exact"
    assert bool(learned & forgotten) == (not exact)
    left = {row.tobytes() for row in space.records.digests[~forget]}
    assert left <= learned


def test_erased_states_can_be_built_again(space, parent, lab, mask_of, count_samples):
    """Should the records be kept after all, to the same bytes."""
    before = lab.states(space)
    erase(space.store, space.records.digests[mask_of(space.records, 4, 40)])
    count_samples.clear()
    assert lab.build(space) == parent
    assert sum(count_samples) > 0
    assert lab.states(space) == before
