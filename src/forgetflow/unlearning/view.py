"""What one method sees of one deletion: digests and counts always, data only as declared."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

from forgetflow.config.settings import Settings
from forgetflow.errors import AccessError, VerdictError
from forgetflow.keys.digests import Digests, set_digest
from forgetflow.records.record_set import RecordSet
from forgetflow.store.store import Store
from forgetflow.training.card import Constituent, ModelCard
from forgetflow.training.chain import Chain, Samples
from forgetflow.training.log import TrainingLog
from forgetflow.training.recipe import Recipe
from forgetflow.training.workspace import Mask, Workspace


class Access(StrEnum):
    """Data a method may declare."""

    FORGET = "forget"
    RETAIN = "retain"
    LABELS = "labels"
    CLASS_ID = "class id"
    HELD_OUT = "held out"
    TRAINING_LOG = "training log"
    ATTRIBUTIONS = "attributions"


@dataclass(frozen=True, eq=False)
class View:
    """The only window that a method has on the data.

    Attributes:
        batch: batch id, the generation being made.
        parent: card of the model to unlearn from.
        needs: what the method declared.
    """

    batch: str
    parent: ModelCard
    needs: frozenset[Access]
    _workspace: Workspace
    _retain: Mask
    _forget: Mask

    @property
    def settings(self) -> Settings:
        """`params.yaml`."""
        return self._workspace.settings

    @property
    def recipe(self) -> Recipe:
        """How constituents are trained."""
        return self._workspace.recipe

    @property
    def store(self) -> Store:
        """Where results go."""
        return self._workspace.store

    @cached_property
    def occupied(self) -> list[int]:
        """Shards that still hold records."""
        return self._workspace.occupied(self._retain)

    @cached_property
    def affected(self) -> frozenset[int]:
        """Shards that hold a record of this batch."""
        return frozenset(self._workspace.occupied(self._forget))

    @cached_property
    def whole_classes(self) -> bool:
        """Whether this batch takes every record that is left of each class it touches."""
        labels = self._workspace.records.labels
        return not np.isin(labels[self._retain], labels[self._forget]).any()

    def member(self, shard: int) -> Constituent:
        """Return the parent's constituent of a shard that has one."""
        found = self.parent.constituent(shard)
        if found is None:
            raise RuntimeError(f"the parent has no constituent for shard {shard}")
        return found

    def retain_digest(self, shard: int) -> str:
        """Digest of the retain set of a shard; no data, so it needs no declaration."""
        return self._digest(shard, self._retain)

    def forget_digest(self, shard: int) -> str:
        """Digest of the forget set of a shard."""
        return self._digest(shard, self._forget)

    def keys_before(self, shard: int) -> list[str]:
        """Content keys that a chain of this shard has while the forget set is still in it."""
        return self._workspace.chain_keys(shard, self._retain | self._forget)

    def keys_after(self, shard: int, recipe_digest: str | None = None) -> list[str]:
        """Content keys that `chain` of this shard has, or would have under another root."""
        return self._workspace.chain_keys(shard, self._retain, recipe_digest)

    def retain(self, shard: int) -> list[Samples]:
        """Return the retain set of a shard, slice by slice.

        Raises:
            AccessError: the method did not declare `retain`.
        """
        self.demand(Access.RETAIN)
        return self._workspace.slices(shard, self._retain, labels=Access.LABELS in self.needs)

    def forget(self, shard: int) -> Samples:
        """Return the forget set of a shard.

        Raises:
            AccessError: the method did not declare `forget`.
        """
        self.demand(Access.FORGET)
        where = np.flatnonzero(self._forget & (self._workspace.assignment.shard == shard))
        return self._workspace.samples(where, labels=Access.LABELS in self.needs)

    def forget_classes(self) -> list[int]:
        """Return the classes that occur in the forget set.

        Raises:
            AccessError: the method did not declare `class id`.
        """
        self.demand(Access.CLASS_ID)
        return [int(c) for c in np.unique(self._workspace.records.labels[self._forget])]

    def held_out(self) -> RecordSet:
        """Return the test set: records that no constituent learned from.

        Raises:
            AccessError: the method did not declare `held out`.
        """
        self.demand(Access.HELD_OUT)
        return self._workspace.held_out

    def training_log(self, shard: int) -> TrainingLog:
        """Return the steps of the training of the parent's constituent.

        Raises:
            AccessError: the method did not declare `training log`.
            VerdictError: the parent's constituent was not trained step by step.
        """
        self.demand(Access.TRAINING_LOG)
        chain = self._workspace.chain(shard, self._retain | self._forget)
        if chain.key != self.member(shard).key:
            raise VerdictError(
                f"shard {shard} of {self.parent.generation} was not trained step by step on the "
                "records that were there before this batch, so it has no training log: use "
                "another method, or sisa for the batch before"
            )
        return TrainingLog.open(chain, self.recipe, self.store)

    def chain(self, shard: int) -> Chain:
        """Return the chain that a build without the forgotten records has; needs retain + labels.

        Raises:
            AccessError: the method did not declare both.
        """
        self.demand(Access.RETAIN)
        self.demand(Access.LABELS)
        return self._workspace.chain(shard, self._retain)

    def learned(self, shard: int) -> list[Samples]:
        """Return what the parent's constituent learned from; for preparations, not for methods."""
        return self._workspace.slices(shard, self._retain | self._forget)

    def learned_sets(self, shard: int) -> list[Digests]:
        """Return the digests of `learned`; no data, so it needs no declaration."""
        return self._workspace.slice_digests(shard, self._retain | self._forget)

    def retain_sets(self, shard: int) -> list[Digests]:
        """Return the digests of the retain set of a shard, slice by slice."""
        return self._workspace.slice_digests(shard, self._retain)

    def forget_set(self, shard: int) -> Digests:
        """Return the digests of the forget set of a shard."""
        mask = self._forget & (self._workspace.assignment.shard == shard)
        return self._workspace.records.digests[mask]

    def demand(self, *accesses: Access) -> None:
        """Check that the method declared these.

        Raises:
            AccessError: it did not.
        """
        for access in accesses:
            if access not in self.needs:
                declared = ", ".join(sorted(self.needs)) or "nothing"
                raise AccessError(f"the method reads '{access}' but declared {declared}")

    def _digest(self, shard: int, keep: Mask) -> str:
        mask = keep & (self._workspace.assignment.shard == shard)
        return set_digest(self._workspace.records.digests[mask])
