"""Verification: is a published generation what a build without the forgotten records gives?"""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from forgetflow.errors import VerdictError
from forgetflow.keys import bytes_digest
from forgetflow.project import Project
from forgetflow.requests.batches import ORIGINAL
from forgetflow.requests.ledger import Ledger
from forgetflow.store import Store
from forgetflow.training import environment
from forgetflow.training.ensemble import Ensemble, export_weights
from forgetflow.training.trainer import train_chain
from forgetflow.training.workspace import Mask, Workspace
from forgetflow.unlearning import method_named
from forgetflow.unlearning.protocol import Guarantee
from forgetflow.unlearning.runner import Deletion, check_integrity


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

    @property
    def passed(self) -> bool:
        """Whether nothing contradicts the guarantee."""
        return not self.different

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return {**asdict(self), "passed": self.passed}


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
    space = Workspace.open(project)
    card = Ensemble.load(project.model(generation)).card
    if generation == ORIGINAL:
        keep = space.everything
    else:
        deletion = Deletion.open(project, generation, space)
        keep = deletion.retain
        method = method_named(card.method)
        check_integrity(deletion.view(method), method, card)
    same_environment = environment.fingerprint(space.recipe.device) == card.environment
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
    if not same_environment:
        raise VerdictError(
            f"{generation} was trained in another numeric environment: verify it there, "
            "or run `dvc repro --force` to build it here"
        )
    rebuilt = _rebuild(space, keep)
    published = {member.shard: member.weights for member in card.constituents}
    different = {
        shard
        for shard in rebuilt.keys() | published.keys()
        if rebuilt.get(shard) != published.get(shard)
    }
    return replace(verdict, compared=len(rebuilt), different=tuple(sorted(different)))


def _rebuild(space: Workspace, keep: Mask) -> dict[int, str]:
    """Train every constituent from nothing; returns shard -> digest of its weights file."""
    with tempfile.TemporaryDirectory(prefix="forgetflow-verify-") as folder:
        store = Store(Path(folder))
        found = {}
        for shard in space.occupied(keep):
            receipt, _ = train_chain(store, space.chain(shard, keep), space.recipe)
            found[shard] = bytes_digest(export_weights(store, receipt.key))
        return found
