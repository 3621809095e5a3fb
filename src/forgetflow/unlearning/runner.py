"""From a sealed batch to a model generation: open the view, list the jobs, put results together.

Pure wiring over the rooms below, without any orchestrator: flows call these functions, tests
call them directly, and both leave the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from forgetflow.config.project import Project
from forgetflow.errors import VerdictError
from forgetflow.keys.digests import bytes_digest
from forgetflow.partition.forecast import restart_slices
from forgetflow.records.record_set import RecordSet
from forgetflow.requests.batches import batch_manifest, forgotten_ids, read_batches
from forgetflow.requests.manifest import Manifest
from forgetflow.store.receipt import Receipt
from forgetflow.training.card import Constituent, ModelCard, export_weights, read_card, write_model
from forgetflow.training.trainer import train_chain
from forgetflow.training.workspace import Mask, Workspace
from forgetflow.unlearning.cost import Cost, cost_of
from forgetflow.unlearning.protocol import Job, UnlearningMethod, jobs_of, promised, refuse
from forgetflow.unlearning.view import View


@dataclass(frozen=True, eq=False)
class Deletion:
    """One sealed batch, resolved against a workspace.

    Attributes:
        workspace: records, placement, recipe, store.
        batch: batch id.
        manifest: what it forgets.
        parent: card of the generation it starts from.
        retain: records left after this batch and all before it, bool (N,).
        forget: records of this batch that are still there, bool (N,).
    """

    workspace: Workspace
    batch: str
    manifest: Manifest
    parent: ModelCard
    retain: Mask
    forget: Mask

    @classmethod
    def open(cls, project: Project, batch: str, workspace: Workspace | None = None) -> "Deletion":
        """Resolve a batch.

        Raises:
            InputError: there is no such batch, or its parent model is not built yet.
            VerdictError: a manifest was altered, or a record changed since it was sealed.
        """
        space = workspace or Workspace.open(project)
        manifest = batch_manifest(project, batch)
        parent = read_card(project.model(read_batches(project)[batch].parent))
        forget = space.records.mask(manifest.record_ids)
        _refuse_changed_records(space.records.take(forget), manifest)
        retain = ~space.records.mask(forgotten_ids(project, batch))
        return cls(space, batch, manifest, parent, retain, forget)

    def view(self, method: UnlearningMethod) -> View:
        """Return the window that `method` gets on this deletion.

        Raises:
            InputError: this deletion is not for the method; the message says why.
        """
        space = self.workspace
        view = View(self.batch, self.parent, method.needs, space, self.retain, self.forget)
        refuse(method, view)
        return view

    def card(self, method: UnlearningMethod, receipts: Mapping[int, Receipt]) -> ModelCard:
        """Describe the generation that the finished constituents make up."""
        members = [
            self.workspace.constituent(shard, receipt, self.retain)
            for shard, receipt in receipts.items()
        ]
        return self.describe(method, members, list(receipts.values()))

    def describe(
        self,
        method: UnlearningMethod,
        members: list[Constituent],
        receipts: Sequence[Receipt] = (),
    ) -> ModelCard:
        """Return the card of these members, however they were made."""
        card = self.workspace.card(
            self.batch,
            members,
            self.retain,
            parent=self.parent,
            method=method.name,
            promise=promised(method, self.view(method), receipts),
            manifest=self.manifest.digest,
        )
        # Counted from the manifests: after erasure the training set knows nothing of them.
        return replace(card, forgotten=self.parent.forgotten + len(self.manifest))


def unlearn(project: Project, deletion: Deletion, method: UnlearningMethod) -> ModelCard:
    """Run all jobs of a deletion one after another and write `models/<batch>`."""
    view = deletion.view(method)
    receipts = {job.shard: method.run(view, job) for job in jobs_of(method, view)}
    card = deletion.card(method, receipts)
    write_model(deletion.workspace.store, card, project.model(deletion.batch))
    return card


def build_original(project: Project, workspace: Workspace | None = None) -> ModelCard:
    """Train the original model on all records and write `models/original`."""
    space = workspace or Workspace.open(project)
    keep = space.everything
    members = []
    for shard in space.occupied(keep):
        receipt, _ = train_chain(space.store, space.chain(shard, keep), space.recipe)
        members.append(space.constituent(shard, receipt, keep))
    card = space.card("original", members, keep)
    write_model(space.store, card, project.model("original"))
    return card


def deletion_cost(view: View, jobs: list[Job]) -> Cost:
    """Return what the states cost that exist because of this deletion."""
    return cost_of(view.store, [key for job in jobs for key in job.fresh])


def restarts(deletion: Deletion, method: UnlearningMethod) -> dict[int, int] | None:
    """Return shard -> first slice that `method` trains again; None if it rebuilds nothing."""
    space = deletion.workspace
    return planned_restarts(space, method, deletion.retain, deletion.forget)


def planned_restarts(
    space: Workspace, method: UnlearningMethod, retain: Mask, forget: Mask
) -> dict[int, int] | None:
    """Return what `restarts` does, for a deletion that need not be sealed yet."""
    if method.rebuilds == "all":
        return dict.fromkeys(space.occupied(retain), 0)
    if method.rebuilds == "affected":
        occupied = set(space.occupied(retain))
        found = changed_slices(space, retain, forget)
        return {shard: first for shard, first in found.items() if shard in occupied}
    return None


def changed_slices(space: Workspace, retain: Mask, forget: Mask) -> dict[int, int]:
    """Return shard -> first slice that a deletion changes, emptied shards included.

    Slices change by records that leave and, where the choice is made again, by those that are
    selected in their place.
    """
    changed = space.learned(retain | forget) ^ space.learned(retain)
    return restart_slices(space.assignment, changed)


def check_integrity(view: View, method: UnlearningMethod, card: ModelCard) -> None:
    """Check that a generation is what its method makes of the records that are left.

    The content keys are derived again from the data; every constituent's bytes must be those
    its key has in the store. This proves the inputs, not the arithmetic; `verify` proves that
    too by training again.

    Raises:
        VerdictError: a constituent is missing, of other origin, or altered.
    """
    check_keys(view, method, card)
    for member in card.constituents:
        if bytes_digest(export_weights(view.store, member.key)) != member.weights:
            raise VerdictError(
                f"{card.generation}: constituent {member.shard} is not what its key names"
            )


def check_keys(view: View, method: UnlearningMethod, card: ModelCard) -> None:
    """Check that the card names the content keys that the records left give; needs no store.

    Raises:
        VerdictError: it does not.
    """
    expected = {job.shard: job.key for job in jobs_of(method, view)}
    found = {member.shard: member.key for member in card.constituents}
    if expected == found:
        return
    if card.recipe != view.recipe.digest:
        raise VerdictError(
            f"{card.generation} was made by other settings or another version of the code: "
            "run `dvc repro` to build it again"
        )
    raise VerdictError(
        f"{card.generation} is not what {method.name} makes of the records that are left: "
        "run `dvc repro` to build it again"
    )


def _refuse_changed_records(present: RecordSet, manifest: Manifest) -> None:
    sealed = dict(zip(manifest.record_ids, manifest.digests, strict=True))
    changed = sum(
        not np.array_equal(sealed[one], digest)
        for one, digest in zip(present.record_ids, present.digests, strict=True)
    )
    if changed:
        raise VerdictError(
            f"{changed} record(s) of batch {manifest.batch} changed since it was sealed: "
            "restore data/train, or ask for their deletion again"
        )
