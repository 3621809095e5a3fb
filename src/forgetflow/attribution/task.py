"""What an engine is asked: one model generation, the records it learned from, and the queries.

Records appear in canonical digest order and queries are chosen by digest, so nothing downstream
can depend on a position in a file.

Shapes: N train records, Q query records.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forgetflow.errors import InputError, VerdictError
from forgetflow.keys.digests import canonical_order
from forgetflow.records.record_set import RecordSet
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.workspace import Mask, Workspace


@dataclass(frozen=True, eq=False)
class Task:
    """One attribution task; made by `build`.

    Attributes:
        ensemble: the model generation.
        train: the N records it learned from, in canonical order.
        shard: shard of each, int64 (N,): whose constituent, and no other, learned from it.
        queries: the Q records whose margins are explained, in canonical order.
    """

    ensemble: Ensemble
    train: RecordSet
    shard: NDArray[np.int64]
    queries: RecordSet


def build(
    workspace: Workspace, ensemble: Ensemble, keep: Mask, test: RecordSet, queries: int
) -> Task:
    """Put a task together; `forgetflow.attribution.attribute` documents arguments and errors."""
    card, schema = ensemble.card, test.schema
    if not card.constituents:
        raise InputError("every record was forgotten: this model has no constituent left")
    if card.classes < 2:
        raise InputError("attribution explains margins between classes and needs at least two")
    if (schema.class_names, schema.input_shape) != (card.class_names, card.input_shape):
        raise InputError(
            "the test records have other classes or inputs than the model: import the data again"
        )
    if not len(test):
        raise InputError("attribution needs test records as queries: raise data.test_fraction")

    where = np.flatnonzero(keep)
    where = where[canonical_order(workspace.records.digests[where])]
    train, shard = workspace.records.take(where), workspace.assignment.shard[where]
    members = [constituent.shard for constituent in card.constituents]
    learned = workspace.learned(keep)[where]
    if train.digest != card.retain_digest or not np.isin(shard[learned], members).all():
        raise VerdictError(
            f"the records given are not those that model {card.generation} learned from: "
            "run `dvc repro` to rebuild it"
        )
    return Task(ensemble, train, shard, test.take(choose_queries(test, queries)))


def choose_queries(test: RecordSet, count: int) -> NDArray[np.intp]:
    """Return the positions of the `count` test records (or all) with the smallest digests.

    A digest is as good as a random draw, and whether a record is chosen depends on the digests
    alone: adding or removing one test record exchanges one query at most.
    """
    return canonical_order(test.digests)[:count]
