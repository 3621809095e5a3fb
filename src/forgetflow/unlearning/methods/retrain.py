"""Full retraining on the retain set, using no saved state: the honest baseline and the oracle.

The chain's keys are made from another root than SISA's, so nothing that the original or an
earlier deletion left in the store is found, while seeds and data order are the same. The weights
must therefore come out byte-equal to SISA's: that is what `verify` checks.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from forgetflow.keys.digests import digest_of
from forgetflow.store.receipt import Receipt
from forgetflow.training.promise import Guarantee
from forgetflow.training.trainer import train_chains
from forgetflow.training.work import OnStep
from forgetflow.unlearning.preparation import Preparation
from forgetflow.unlearning.protocol import ANY_FAMILY, Family, Job
from forgetflow.unlearning.view import Access, View


class Retrain:
    """Exact; trains every constituent from its initial weights."""

    name: ClassVar[str] = "retrain"
    guarantee: ClassVar[Guarantee] = Guarantee.EXACT
    needs: ClassVar[frozenset[Access]] = frozenset({Access.RETAIN, Access.LABELS})
    rebuilds: ClassVar[Literal["affected", "all"] | None] = "all"
    families: ClassVar[frozenset[Family]] = ANY_FAMILY
    prepares: ClassVar[tuple[Preparation, ...]] = ()

    def refuses(self, view: View) -> str | None:  # noqa: ARG002
        """Refuse no deletion."""
        return None

    def job(self, view: View, shard: int) -> Job | None:
        """Build what still holds records; all of its states count as cost."""
        if shard not in view.occupied:
            return None
        keys = view.keys_after(shard, _root(view.recipe.digest))
        return Job(shard, keys[-1], tuple(keys))

    def run(self, view: View, job: Job, on_step: OnStep | None = None) -> Receipt:
        """Train one constituent from scratch."""
        return self.run_many([(view, job)], on_step)[0]

    def run_many(
        self, work: Sequence[tuple[View, Job]], on_step: OnStep | None = None
    ) -> list[Receipt]:
        """Train several constituents from scratch, together."""
        tasks = []
        for view, job in work:
            chain = view.chain(job.shard)
            root = _root(chain.recipe_digest)
            tasks.append((replace(chain, recipe_digest=root), view.recipe))
        return [receipt for receipt, _ in train_chains(work[0][0].store, tasks, on_step)]


def _root(recipe_digest: str) -> str:
    """Return the root of a chain that finds none of SISA's states."""
    return digest_of(["retrain", recipe_digest])
