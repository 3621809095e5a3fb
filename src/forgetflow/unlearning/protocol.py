"""What an unlearning method is, and the only window it has on the data.

A method declares its guarantee and exactly which data it may touch. The runner hands it a `View`
that holds only that; asking for anything else raises `AccessError`. Half the published
"data-free" methods peek at real data somewhere; here they cannot.

    records ─► Workspace ─► View(needs) ─► method.jobs ─► one Job per constituent
                                              │                   │ method.run (cached by key)
                                           key = f(parent, data digests, settings, code)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from forgetflow.config.settings import Settings
from forgetflow.errors import AccessError
from forgetflow.keys.digests import set_digest
from forgetflow.store.receipt import Receipt
from forgetflow.store.store import Store
from forgetflow.training.chain import Chain, Samples
from forgetflow.training.ensemble import ModelCard
from forgetflow.training.recipe import Recipe
from forgetflow.training.work import OnStep
from forgetflow.training.workspace import Mask, Workspace


class Guarantee(StrEnum):
    """What a method promises towards a build without the forgotten records."""

    EXACT = "exact"
    CERTIFIED = "certified"
    APPROXIMATE = "approximate"


class Access(StrEnum):
    """Data a method may declare."""

    FORGET = "forget"
    RETAIN = "retain"
    LABELS = "labels"
    TRAINING_LOG = "training log"
    CLASS_ID = "class id"
    ATTRIBUTIONS = "attributions"


Family = Literal["network", "forest", "one-class"]
"""Kinds of constituents (`ModelSettings.family`)."""

ANY_FAMILY: frozenset[Family] = frozenset({"network", "forest", "one-class"})


@dataclass(frozen=True)
class Job:
    """One constituent to be made.

    Attributes:
        shard: whose constituent.
        key: content key of the result.
        fresh: keys of the stored states that exist because of this deletion; their receipts
            are its cost. Empty when the parent's constituent is carried over.
    """

    shard: int
    key: str
    fresh: tuple[str, ...]


class UnlearningMethod(Protocol):
    """One file, one class, one registry line, one params block, one test.

    Attributes:
        name: what it is called everywhere.
        guarantee: what it promises.
        needs: the data it touches.
        rebuilds: which shards it trains again from saved or initial states, so that its cost can
            be foretold: the `affected` ones, `all`, or None for methods that rebuild nothing.
        families: the kinds of constituents it can treat.
    """

    name: ClassVar[str]
    guarantee: ClassVar[Guarantee]
    needs: ClassVar[frozenset[Access]]
    rebuilds: ClassVar[Literal["affected", "all"] | None]
    families: ClassVar[frozenset[Family]]

    def jobs(self, view: "View") -> list[Job]:
        """Return the constituents of the new model, without computing anything."""

    def run(self, view: "View", job: Job, on_step: OnStep | None = None) -> Receipt:
        """Make one constituent, or find it in the store, and return its receipt."""


def guarantee_of(method: UnlearningMethod, settings: Settings) -> Guarantee:
    """Return what a method promises in this project.

    A frozen selection was chosen with the help of records that are gone by now: whoever learns
    from it promises nothing exact.
    """
    frozen = settings.partition.selection.frozen
    return Guarantee.APPROXIMATE if frozen else method.guarantee


@runtime_checkable
class RunsMany(Protocol):
    """Optional: a method that makes constituents of several seeds faster together than apart.

    The bytes must be those of `run`, one job after another.
    """

    def run_many(
        self, work: Sequence[tuple["View", Job]], on_step: OnStep | None = None
    ) -> list[Receipt]:
        """Make constituents, or find them in their stores, and return their receipts."""


@dataclass(frozen=True)
class Effort:
    """What making one constituent takes.

    Attributes:
        samples: records passed through training, in the unit of the recipe's engine.
        seconds: wall seconds.
    """

    samples: int
    seconds: float


@runtime_checkable
class Foretells(Protocol):
    """Optional: a method that rebuilds nothing and can yet say what a job will take."""

    def foretell(self, view: "View", job: Job) -> Effort:
        """Return what `run` would take, writing nothing; computes as much as it needs to."""


@dataclass(frozen=True, eq=False)
class View:
    """What one method sees of one deletion: digests and counts always, data only as declared.

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

    def retain_digest(self, shard: int) -> str:
        """Digest of the retain set of a shard; no data, so it needs no declaration."""
        return self._digest(shard, self._retain)

    def keys_before(self, shard: int) -> list[str]:
        """Content keys that a chain of this shard has while the forget set is still in it."""
        return self._workspace.chain_keys(shard, self._retain | self._forget)

    def keys_after(self, shard: int, recipe_digest: str | None = None) -> list[str]:
        """Content keys that `chain` of this shard has, or would have under another root."""
        return self._workspace.chain_keys(shard, self._retain, recipe_digest)

    def forget_digest(self, shard: int) -> str:
        """Digest of the forget set of a shard."""
        return self._digest(shard, self._forget)

    def retain(self, shard: int) -> list[Samples]:
        """Return the retain set of a shard, slice by slice.

        Raises:
            AccessError: the method did not declare `retain`.
        """
        self._demand(Access.RETAIN)
        return self._workspace.slices(shard, self._retain, targets=Access.LABELS in self.needs)

    def forget(self, shard: int) -> Samples:
        """Return the forget set of a shard.

        Raises:
            AccessError: the method did not declare `forget`.
        """
        self._demand(Access.FORGET)
        where = np.flatnonzero(self._forget & (self._workspace.assignment.shard == shard))
        return self._workspace.samples(where, targets=Access.LABELS in self.needs)

    def forget_classes(self) -> list[int]:
        """Return the classes that occur in the forget set.

        Raises:
            AccessError: the method did not declare `class id`.
        """
        self._demand(Access.CLASS_ID)
        return [int(c) for c in np.unique(self._workspace.records.labels[self._forget])]

    def training_log(self) -> Mapping[str, Tensor]:
        """Return the recorded updates of the parent's training.

        Raises:
            AccessError: the method did not declare `training log`, or none was recorded.
        """
        self._demand(Access.TRAINING_LOG)
        raise AccessError(f"{self.parent.generation} was trained without a training log")

    def attributions(self) -> Mapping[str, Tensor]:
        """Return train x query scores of the parent model.

        Raises:
            AccessError: the method did not declare `attributions`, or none were computed.
        """
        self._demand(Access.ATTRIBUTIONS)
        raise AccessError(f"no attributions were computed for {self.parent.generation}")

    def chain(self, shard: int) -> Chain:
        """Return the chain that a build without the forgotten records has; needs retain + labels.

        Raises:
            AccessError: the method did not declare both.
        """
        self._demand(Access.RETAIN)
        self._demand(Access.LABELS)
        return self._workspace.chain(shard, self._retain)

    def _digest(self, shard: int, keep: Mask) -> str:
        mask = keep & (self._workspace.assignment.shard == shard)
        return set_digest(self._workspace.records.digests[mask])

    def _demand(self, access: Access) -> None:
        if access not in self.needs:
            declared = ", ".join(sorted(self.needs)) or "nothing"
            raise AccessError(f"the method reads '{access}' but declared {declared}")
