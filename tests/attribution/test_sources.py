"""What an attributor may look at: what it declared, of any generation that has it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forgetflow.attribution.task import Source, Subsets, build
from forgetflow.errors import AccessError, InputError, VerdictError
from forgetflow.training.promise import Approximate
from forgetflow.training.sequential import weights_of

READS = {
    Source.WEIGHTS: lambda task: task.ensemble,
    Source.CHECKPOINTS: lambda task: task.checkpoints(0),
    Source.LOG: lambda task: task.log(0),
    Source.SUBSETS: lambda task: task.subsets,
}
ALL = frozenset(Source)


def task_of(trained, *sources, ensemble=None, subsets=None):
    chosen = ensemble or trained.ensemble
    keep, test = trained.keep, trained.test
    return build(trained.workspace, chosen, keep, test, 5, frozenset(sources), subsets)


@pytest.mark.parametrize("source", READS)
def test_what_was_not_declared_is_refused(trained, source):
    assert set(READS) == ALL
    with pytest.raises(AccessError, match=f"'{source}' but declared"):
        READS[source](task_of(trained, *(ALL - {source})))


def test_checkpoints_are_the_states_after_each_slice(trained):
    task, space = task_of(trained, Source.CHECKPOINTS), trained.workspace
    for shard in range(3):
        keys = space.chain_keys(shard, trained.keep)
        found = task.checkpoints(shard)
        assert len(found) == len(keys) == 2
        for weights, key in zip(found, keys, strict=True):
            expected = weights_of(space.store.require(key))
            assert all(torch.equal(weights[name], value) for name, value in expected.items())


def test_the_log_ends_in_the_weights_that_are_explained(trained):
    log = task_of(trained, Source.LOG).log(1)
    end = trained.ensemble.networks[1].state_dict()
    assert all(torch.equal(log.before(len(log))[name], value) for name, value in end.items())


@pytest.mark.parametrize("source", [Source.CHECKPOINTS, Source.LOG])
def test_an_edited_constituent_has_neither_checkpoints_nor_log(trained, source):
    card = trained.ensemble.card
    members = tuple(replace(member, key="0" * 64) for member in card.constituents)
    edited = replace(card, constituents=members, method="ascent", promise=Approximate())
    ensemble = replace(trained.ensemble, card=edited)
    with pytest.raises(VerdictError, match="shard 0 of original was edited by ascent"):
        READS[source](task_of(trained, source, ensemble=ensemble))


def test_a_pool_of_subsets_is_handed_in(trained):
    with pytest.raises(InputError, match="needs a pool of models trained on subsets"):
        _ = task_of(trained, Source.SUBSETS).subsets
    given = Subsets(np.ones((2, 3), bool), np.zeros((2, 5, 10), np.float32))
    assert task_of(trained, Source.SUBSETS, subsets=given).subsets is given


def test_any_generation_can_be_attributed(trained, scores):
    """A model of fewer records is explained by those records, with its own weights."""
    keep = trained.keep.copy()
    keep[::7] = False
    later = trained.build(keep)
    found = replace_keep(trained, keep).attribute(later)
    assert found.summary.train_records == keep.sum() < scores.summary.train_records
    gone = {row.tobytes() for row in trained.workspace.records.digests[~keep]}
    assert not gone & {row.tobytes() for row in found.train_digests}


def replace_keep(trained, keep):
    class Later(type(trained)):
        @property
        def keep(self):
            return keep

    return Later(trained.workspace, trained.test, trained.ensemble)
