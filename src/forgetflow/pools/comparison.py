"""A deletion whose procedures are judged, and the pools of originals, oracles and unlearned models.

original       every record
none           everything but the batches before: the parent as it is
<method>       the method, started from the parent of the same seed
oracle, ...    built from the retain set alone, under seeds that nobody else has
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forgetflow.config.project import Project
from forgetflow.errors import InputError
from forgetflow.keys.digests import keyed_hash, keyed_order
from forgetflow.pools.member import member_seed
from forgetflow.pools.procedure import Procedure, Step
from forgetflow.requests.batches import ORIGINAL, forgotten_ids, read_batches
from forgetflow.training.workspace import Mask, Workspace
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import Deletion

SUBJECT = "subject"
ORACLES = ("oracle", "second oracle")
PARENT = "none"
"""The procedure of doing nothing: the parent as it is."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """A deletion whose procedures are to be judged.

    Attributes:
        space: records, placement, settings and the store of members.
        base: records the original is built from, bool (N,).
        before: deletions before this one, oldest first.
        batch: name of this one.
        retain, forget: records left after it, and records it removes, bool (N,).
    """

    space: Workspace
    base: Mask
    before: tuple[Step, ...]
    batch: str
    retain: Mask
    forget: Mask

    @classmethod
    def of_batch(cls, project: Project, space: Workspace, batch: str) -> "Comparison":
        """Return the comparison on a sealed batch, with all batches before it."""
        entries = read_batches(project)
        lineage = [batch]
        while (parent := entries[lineage[-1]].parent) != ORIGINAL:
            lineage.append(parent)
        this, *others = [Deletion.open(project, name, space) for name in lineage]
        before = tuple(
            Step(d.batch, method_named(entries[d.batch].method), d.retain, d.forget)
            for d in reversed(others)
        )
        return cls(space, space.everything, before, batch, this.retain, this.forget)

    @classmethod
    def of_sample(
        cls, project: Project, space: Workspace, label: int | None, records: int | None
    ) -> "Comparison":
        """Return the comparison on a forget set that nobody asked for: a class, or a draw.

        Records that a sealed batch forgets take no part, neither to be learned nor forgotten.

        Args:
            project: for the sealed batches.
            space: records, placement, settings, store.
            label: only records of this class; None: of any.
            records: how many, drawn by (seed, digest); None: all of the class.

        Raises:
            InputError: there are not that many, or nothing would be left.
        """
        batches = read_batches(project)
        gone = forgotten_ids(project, next(reversed(batches))) if batches else ()
        base = ~space.records.mask(gone)
        pool = base & (space.records.labels == label) if label is not None else base
        where = np.flatnonzero(pool)
        count = len(where) if records is None else records
        if not 0 < count <= len(where) or count == base.sum():
            raise InputError(
                f"a forget set of {count} record(s) cannot be drawn: {len(where)} match and "
                f"{int(base.sum())} are left; ask for fewer"
            )
        seed = keyed_hash(space.settings.run.seed, "trial")
        forget = np.zeros(len(base), bool)
        forget[where[keyed_order(space.records.digests[where], seed)[:count]]] = True
        name = "sample" if label is None else f"class {space.records.schema.class_names[label]}"
        return cls(space, base, (), f"{name}, {count} records", base & ~forget, forget)

    def procedure(self, contender: str, members: int) -> Procedure:
        """Return how a contender's members come about; see the module's text for the names.

        Raises:
            InputError: there is no such method, or the deletion is not for it.
        """
        role = contender if contender in ORACLES else SUBJECT
        seeds = [member_seed(self.space.settings.run.seed, role, m) for m in range(members)]
        if contender in ORACLES:
            return Procedure(self.space, seeds, self.retain)
        if contender == ORIGINAL:
            return Procedure(self.space, seeds, self.base)
        if contender == PARENT:
            return self._after(self.before, seeds)
        this = Step(self.batch, method_named(contender), self.retain, self.forget)
        return self._after((*self.before, this), seeds)

    def _after(self, steps: Sequence[Step], seeds: Sequence[int]) -> Procedure:
        """Return the pool after these deletions."""
        if not steps:
            return Procedure(self.space, seeds, self.base)
        return Procedure(self.space, seeds, self._after(steps[:-1], seeds), steps[-1])
