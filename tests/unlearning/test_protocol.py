"""What a method may touch: what it declared, and nothing else."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from forgetflow.errors import AccessError, InputError
from forgetflow.keys.digests import set_digest
from forgetflow.unlearning.protocol import Job
from forgetflow.unlearning.registry import METHODS, method_named
from forgetflow.unlearning.view import Access, View

TOUCHES = {
    Access.FORGET: lambda view: view.forget(0),
    Access.RETAIN: lambda view: view.retain(0),
    Access.CLASS_ID: lambda view: view.forget_classes(),
    Access.TRAINING_LOG: lambda view: view.training_log(0),
    Access.HELD_OUT: lambda view: view.held_out(),
}
ALL = frozenset(Access)
OF_NETWORKS = {name: m for name, m in METHODS.items() if "network" in m.families}


@pytest.fixture(scope="module")
def space(lab, records):
    return lab.space(records)


@pytest.fixture(scope="module")
def parent(lab, space):
    return lab.build(space)


@pytest.fixture(scope="module")
def forget(space, mask_of):
    return mask_of(space.records, 1, 4, 40, 41)


@pytest.fixture
def view_with(space, parent, forget):
    """Return a maker of views for a method that declares these needs."""
    return lambda *needs: View("b1", parent, frozenset(needs), space, ~forget, forget)


@pytest.mark.parametrize("access", TOUCHES)
def test_what_was_not_declared_is_refused(view_with, access):
    others = ALL - {access}
    with pytest.raises(AccessError, match=f"'{access}'"):
        TOUCHES[access](view_with(*others))


def test_declaring_nothing_is_named_so(view_with):
    with pytest.raises(AccessError, match="declared nothing"):
        view_with().retain(0)


@pytest.mark.parametrize("missing", [Access.RETAIN, Access.LABELS])
def test_a_chain_holds_retained_records_and_their_labels(view_with, missing):
    with pytest.raises(AccessError, match=f"'{missing}'"):
        view_with(*(ALL - {missing})).chain(0)


def test_a_test_set_that_is_not_there_is_refused_even_if_declared(view_with):
    with pytest.raises(InputError, match="no test set"):
        view_with(Access.HELD_OUT).held_out()


@pytest.mark.parametrize("labelled", [True, False])
def test_labels_come_only_to_those_who_declared_them(view_with, labelled):
    extra = [Access.LABELS] if labelled else []
    view = view_with(Access.FORGET, Access.RETAIN, *extra)
    for part in (view.forget(0), *view.retain(0)):
        assert (part.labels is not None) == labelled


def test_the_two_sets_are_what_they_say(view_with, space, forget):
    view = view_with(Access.FORGET, Access.RETAIN, Access.LABELS, Access.CLASS_ID)
    for shard in range(3):
        own = space.assignment.shard == shard
        found = view.forget(shard)
        assert set_digest(found.digests) == view.forget_digest(shard)
        assert set_digest(space.records.digests[forget & own]) == view.forget_digest(shard)
        assert sorted(found.labels) == sorted(space.records.labels[forget & own])
        retained = np.concatenate([part.digests for part in view.retain(shard)])
        assert set_digest(retained) == view.retain_digest(shard)
        assert set_digest(space.records.digests[~forget & own]) == view.retain_digest(shard)
        assert len(view.retain(shard)) == 3
    assert view.forget_classes() == sorted(set(space.records.labels[forget].tolist()))


def test_counts_and_digests_need_no_declaration(view_with, space, forget):
    view = view_with()
    assert view.occupied == [0, 1, 2]
    assert view.affected == set(space.assignment.shard[forget].tolist())
    assert view.keys_before(0) == space.chain(0, space.everything).keys
    assert view.settings is space.settings
    assert view.recipe is space.recipe
    assert view.store is space.store


def test_keys_before_know_earlier_deletions(space, parent, lab, mask_of):
    gone = mask_of(space.records, 7)
    forget = mask_of(space.records, 8, 9)
    view = lab.view(space, parent, forget, gone=gone)
    shard = int(space.assignment.shard[7])
    assert view.keys_before(shard) == space.chain(shard, ~gone).keys
    assert view.keys_before(shard) != space.chain(shard, space.everything).keys


def test_a_method_that_peeks_is_stopped(view_with):
    class Peeking:
        """Declares nothing, and looks at the forget set all the same."""

        name: ClassVar[str] = "peeking"
        needs: ClassVar[frozenset[Access]] = frozenset()

        def jobs(self, view):
            return [Job(0, set_digest(view.forget(0).digests), ())]

    with pytest.raises(AccessError):
        Peeking().jobs(view_with(*Peeking.needs))


def test_methods_are_found_by_name():
    for name in METHODS:
        assert method_named(name).name == name
    with pytest.raises(InputError, match="known: sisa, dare, retrain, none, finetune"):
        method_named("magic")


def test_a_view_cannot_be_widened(view_with):
    view = view_with()
    with pytest.raises(AttributeError):
        view.needs = ALL
    assert replace(view, needs=ALL).needs == ALL, "only the runner makes another"
