"""What an engine is asked: one model generation, the records it learned from, and the queries.

Records appear in canonical digest order and queries are chosen by digest, so nothing downstream
can depend on a position in a file.

Shapes: N train records, Q query records, M models, C classes.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from forgetflow.errors import AccessError, InputError, VerdictError
from forgetflow.keys.digests import canonical_order
from forgetflow.records.record_set import RecordSet
from forgetflow.training.card import ModelCard
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.log import TrainingLog
from forgetflow.training.sequential import weights_of
from forgetflow.training.workspace import Mask, Workspace


class Source(StrEnum):
    """What an attributor may declare to look at besides records."""

    WEIGHTS = "weights"
    CHECKPOINTS = "checkpoints"
    LOG = "training log"
    SUBSETS = "subset pool"


@dataclass(frozen=True, eq=False)
class Subsets:
    """A pool of models that learned from subsets of the training records.

    Attributes:
        masks: which records each learned from, bool (M, N), columns as `Task.train`.
        outputs: logits of each on the queries, float32 (M, Q, C).
    """

    masks: NDArray[np.bool_]
    outputs: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Task:
    """One attribution task; made by `build`.

    Attributes:
        train: the N records the generation learned from, in canonical order.
        shard: shard of each, int64 (N,): whose constituent, and no other, learned from it.
        queries: the Q records whose margins are explained, in canonical order.
        sources: what the attributor declared.
    """

    train: RecordSet
    shard: NDArray[np.int64]
    queries: RecordSet
    sources: frozenset[Source]
    _ensemble: Ensemble
    _workspace: Workspace
    _keep: Mask
    _subsets: Subsets | None = None

    @property
    def card(self) -> ModelCard:
        """The generation that is explained."""
        return self._ensemble.card

    @property
    def ensemble(self) -> Ensemble:
        """The generation with its weights; needs the source `weights`."""
        self._demand(Source.WEIGHTS)
        return self._ensemble

    def checkpoints(self, shard: int) -> list[dict[str, Tensor]]:
        """Return the networks after each slice of a shard; needs the source `checkpoints`.

        Raises:
            VerdictError: the constituent was edited and not trained slice by slice, or a
                checkpoint is not in the store.
        """
        self._demand(Source.CHECKPOINTS)
        keys = self._workspace.chain_keys(shard, self._keep)
        self._refuse_edited(shard, keys[-1])
        return [weights_of(self._workspace.store.require(key)) for key in keys]

    def log(self, shard: int) -> TrainingLog:
        """Return the steps of a shard's training; needs the source `training log`.

        Raises:
            VerdictError: the constituent was edited and not trained step by step.
        """
        self._demand(Source.LOG)
        chain = self._workspace.chain(shard, self._keep)
        self._refuse_edited(shard, chain.key)
        return TrainingLog.open(chain, self._workspace.recipe, self._workspace.store)

    @property
    def subsets(self) -> Subsets:
        """A pool of models of subsets; needs the source `subset pool`.

        Raises:
            InputError: nobody made one.
        """
        self._demand(Source.SUBSETS)
        if self._subsets is None:
            raise InputError("this attributor needs a pool of models trained on subsets")
        return self._subsets

    def _demand(self, source: Source) -> None:
        if source not in self.sources:
            declared = ", ".join(sorted(self.sources)) or "nothing"
            raise AccessError(f"the attributor reads '{source}' but declared {declared}")

    def _refuse_edited(self, shard: int, key: str) -> None:
        member = self.card.constituent(shard)
        if member is None or member.key != key:
            raise VerdictError(
                f"shard {shard} of {self.card.generation} was edited by {self.card.method}, not "
                "trained slice by slice: use an attributor that looks at weights only"
            )


def build(
    workspace: Workspace,
    ensemble: Ensemble,
    keep: Mask,
    test: RecordSet,
    queries: int,
    sources: frozenset[Source] = frozenset({Source.WEIGHTS}),
    subsets: Subsets | None = None,
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
    chosen = test.take(choose_queries(test, queries))
    return Task(train, shard, chosen, sources, ensemble, workspace, keep, subsets)


def choose_queries(test: RecordSet, count: int) -> NDArray[np.intp]:
    """Return the positions of the `count` test records (or all) with the smallest digests.

    A digest is as good as a random draw, and whether a record is chosen depends on the digests
    alone: adding or removing one test record exchanges one query at most.
    """
    return canonical_order(test.digests)[:count]
