"""Verification: is a published generation what a build without the forgotten records gives?"""

import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

from pydantic import computed_field

from forgetflow.config.project import Project
from forgetflow.errors import VerdictError
from forgetflow.requests.batches import ORIGINAL, batch_manifest
from forgetflow.requests.ledger import Ledger
from forgetflow.store.store import Store
from forgetflow.training import environment
from forgetflow.training.card import Constituent, ModelCard, read_card
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.promise import Guarantee
from forgetflow.training.trainer import train_chain
from forgetflow.training.workspace import Mask, Workspace
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import Deletion, check_keys


@dataclass(frozen=True)
class Verdict:
    """What verifying one generation showed.

    Attributes:
        generation: `original` or a batch id.
        guarantee: exact, certified or approximate.
        compared: constituents trained again from nothing and compared byte for byte.
        different: shards whose bytes differ or that only one side has.
        ledger_entries: entries of the ledger whose chain was checked.
        same_environment: whether this machine's numeric environment is the one of the training.
        weights: digest of the published weights.
    """

    generation: str
    guarantee: str
    compared: int
    different: tuple[int, ...]
    ledger_entries: int
    same_environment: bool
    weights: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        """Whether nothing contradicts the guarantee."""
        return not self.different


def verify_generation(project: Project, generation: str) -> Verdict:
    """Check ledger, manifests and files of a generation and, where it is exact, build it again.

    The rebuild uses an empty temporary store: no checkpoint, cache or result can help it.
    Approximate generations promise nothing to rebuild; for them the inputs, keys and bytes are
    checked.

    Raises:
        InputError: there is no such generation.
        VerdictError: a file, manifest, record or ledger entry was altered, or the model was made
            in another numeric environment, where byte equality is not promised.
    """
    entries = len(Ledger(project).verify())
    if generation != ORIGINAL:
        batch_manifest(project, generation)
    space = Workspace.open(project)
    card = read_card(project.model(generation))
    same_environment = environment.fingerprint(space.recipe.device) == card.environment
    if not same_environment:
        raise VerdictError(
            f"{generation} was trained in another numeric environment: verify it there, "
            "or run `dvc repro --force` to build it here"
        )
    if card.recipe != space.recipe.digest:
        raise VerdictError(
            f"{generation} was made by other settings or another version of the code: "
            "run `dvc repro` to build it again"
        )
    if generation == ORIGINAL:
        keep = space.everything
        expected = space.card(ORIGINAL, list(card.constituents), keep)
    else:
        deletion = Deletion.open(project, generation, space)
        keep, method = deletion.retain, method_named(card.method)
        view = deletion.view(method)
        check_keys(view, method, card)
        # Facts about a member come from the store where it has the state; a clone without
        # checkpoints is judged by the rebuild alone.
        members = [
            space.constituent(member.shard, receipt, keep) if receipt else member
            for member in card.constituents
            for receipt in [space.store.verify(member.key)]
        ]
        expected = deletion.describe(method, members)
    _refuse_other_facts(card, expected)
    Ensemble.load(project.model(generation))
    verdict = Verdict(
        generation=generation,
        guarantee=card.guarantee,
        compared=0,
        different=(),
        ledger_entries=entries,
        same_environment=same_environment,
        weights=card.digest,
    )
    if card.guarantee != Guarantee.EXACT:
        return verdict
    rebuilt = _rebuild(space, keep)
    published = {member.shard: member for member in card.constituents}
    different = {
        shard
        for shard in rebuilt.keys() | published.keys()
        if not _same(rebuilt.get(shard), published.get(shard), any_key=generation != ORIGINAL)
    }
    return replace(verdict, compared=len(rebuilt), different=tuple(sorted(different)))


def _refuse_other_facts(card: ModelCard, expected: ModelCard) -> None:
    names = [f.name for f in fields(card) if getattr(card, f.name) != getattr(expected, f.name)]
    if names:
        raise VerdictError(
            f"{card.generation}: model.json says something else than records, requests and store "
            f"({', '.join(names)}): restore it with `dvc checkout`"
        )


def _same(rebuilt: Constituent | None, published: Constituent | None, *, any_key: bool) -> bool:
    """Compare bytes and facts; a method may have keys of its own."""
    if rebuilt is None or published is None:
        return rebuilt is published
    return (replace(rebuilt, key=published.key) if any_key else rebuilt) == published


def _rebuild(space: Workspace, keep: Mask) -> dict[int, Constituent]:
    """Train every constituent from nothing; returns them by shard."""
    with tempfile.TemporaryDirectory(prefix="forgetflow-verify-") as folder:
        empty = replace(space, store=Store(Path(folder)))
        found = {}
        for shard in space.occupied(keep):
            receipt, _ = train_chain(empty.store, empty.chain(shard, keep), empty.recipe)
            found[shard] = empty.constituent(shard, receipt, keep)
        return found
