"""Records, placement, recipe and store of a project, read together.

`Workspace` answers the one question every build asks: given which records are left, what is the
chain of each constituent? The original model keeps everything; a deletion keeps less; nothing
else differs between them.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forgetflow.config.project import Project
from forgetflow.config.settings import Settings
from forgetflow.errors import InputError
from forgetflow.keys.digests import Digests, bytes_digest, set_digest
from forgetflow.partition.assignment import Assignment, read_assignment
from forgetflow.partition.selection import Selection
from forgetflow.records.record_set import RecordSet, read_record_set
from forgetflow.store.receipt import Receipt
from forgetflow.store.store import Store
from forgetflow.training import environment
from forgetflow.training.card import Constituent, ModelCard, export_weights
from forgetflow.training.chain import Chain, Samples, chain_keys
from forgetflow.training.promise import Exact, Promise
from forgetflow.training.recipe import Recipe

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Workspace:
    """Everything a build needs.

    Attributes:
        settings: `params.yaml`.
        records: the training set, N records.
        assignment: shard and slice of each.
        selection: which records a constituent learns from at all; made from the settings, and
            None where it is all of its shard.
        test: folder of the test set, for methods that declare `held out`.
        recipe: settings, seed, code and environment of a constituent.
        store: checkpoints.
    """

    settings: Settings
    records: RecordSet
    assignment: Assignment
    recipe: Recipe
    store: Store
    selection: Selection | None = None
    test: Path | None = None

    def __post_init__(self) -> None:
        """Make the selection, unless the one that is given is of these records and settings."""
        wanted, found = self.settings.partition.selection, self.selection
        if wanted.mode == "none":
            object.__setattr__(self, "selection", None)
        elif found is None or found.records is not self.records or found.settings != wanted:
            object.__setattr__(self, "selection", Selection(self.records, wanted))

    @classmethod
    def open(cls, project: Project) -> "Workspace":
        """Read a project's training set and partition; checks every record's digest.

        Raises:
            InputError: there are no records or no partition yet.
            VerdictError: a record was altered, or the partition is of other records.
        """
        records = read_record_set(project.train)
        records.check_digests()
        settings = project.settings
        shape, classes = records.schema.input_shape, len(records.schema.class_names)
        return cls(
            settings,
            records,
            read_assignment(records, project.partition / "assignment.parquet"),
            Recipe.from_settings(settings, shape, classes, project.root),
            Store(project.store),
            test=project.test,
        )

    def with_seed(self, seed: int) -> "Workspace":
        """Return the same workspace under another run seed; the placement stays."""
        return replace(self, recipe=replace(self.recipe, seed=seed))

    @property
    def held_out(self) -> RecordSet:
        """The test set: records that no constituent learned from.

        Raises:
            InputError: there is none.
        """
        if self.test is None:
            raise InputError("this workspace has no test set")
        return read_record_set(self.test)

    @property
    def everything(self) -> Mask:
        """The mask that keeps all records."""
        return np.ones(len(self.records), bool)

    def samples(self, where: NDArray[np.intp], *, labels: bool = True) -> Samples:
        """Return the records at `where` as a learner sees them."""
        return Samples.of(self.records, where, labels=labels)

    def learned(self, keep: Mask) -> Mask:
        """Return which of the kept records constituents learn from, bool (N,)."""
        return keep if self.selection is None else self.selection.of(keep)

    def slices(self, shard: int, keep: Mask, *, labels: bool = True) -> list[Samples]:
        """Return the kept and selected records of each slice of a shard, in canonical order."""
        members, learned = self.assignment.members(self.records, shard), self.learned(keep)
        return [self.samples(where[learned[where]], labels=labels) for where in members]

    def slice_digests(self, shard: int, keep: Mask) -> list[Digests]:
        """Return the digests of `slices`, without copying a record."""
        members, learned = self.assignment.members(self.records, shard), self.learned(keep)
        return [self.records.digests[where[learned[where]]] for where in members]

    def chain(self, shard: int, keep: Mask) -> Chain:
        """Return the chain of a constituent that learns only from the kept records."""
        return Chain(shard, self.slices(shard, keep), self.recipe.digest)

    def chain_keys(self, shard: int, keep: Mask, recipe_digest: str | None = None) -> list[str]:
        """Return the keys that `chain` would have, from digests alone: no record is copied.

        Args:
            shard: number of the shard.
            keep: records that are left, bool (N,).
            recipe_digest: root of the chain; default the recipe's.
        """
        digests = [set_digest(part) for part in self.slice_digests(shard, keep)]
        return chain_keys(recipe_digest or self.recipe.digest, shard, digests)

    def occupied(self, keep: Mask) -> list[int]:
        """Return the shards that have something to learn from."""
        return [int(shard) for shard in np.unique(self.assignment.shard[self.learned(keep)])]

    def constituent(self, shard: int, receipt: Receipt, keep: Mask) -> Constituent:
        """Describe a finished constituent state of this store."""
        return Constituent(
            shard=shard,
            key=receipt.key,
            weights=bytes_digest(export_weights(self.store, receipt.key)),
            records=int((self.assignment.shard[self.learned(keep)] == shard).sum()),
            learned_from=receipt.learned_from,
        )

    def card(
        self,
        generation: str,
        constituents: list[Constituent],
        keep: Mask,
        *,
        parent: ModelCard | None = None,
        method: str = "build",
        promise: Promise | None = None,
        manifest: str | None = None,
    ) -> ModelCard:
        """Describe a model generation built in this workspace from the kept records."""
        before = parent.manifests if parent else ()
        return ModelCard(
            generation=generation,
            parent=parent.generation if parent else None,
            method=method,
            promise=promise or Exact(),
            aggregation=self.settings.aggregation,
            class_names=self.records.schema.class_names,
            input_shape=self.records.schema.input_shape,
            architecture=self.settings.model.relevant(),
            records=int(keep.sum()),
            retain_digest=self.records.take(keep).digest,
            forgotten=int((~keep).sum()),
            manifests=(*before, manifest) if manifest else before,
            environment=environment.fingerprint(self.recipe.device),
            recipe=self.recipe.digest,
            constituents=tuple(sorted(constituents, key=lambda c: c.shard)),
            features=self.records.schema.features,
        )
