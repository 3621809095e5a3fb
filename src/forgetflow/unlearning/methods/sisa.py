"""SISA unlearning: build again from what is left (Bourtoule et al., IEEE S&P 2021, Sec. IV).

The restart before the earliest slice that loses a record is not coded anywhere: states before it
keep their content keys and are found in the store. On the monolith this is full retraining.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from forgetflow.store.receipt import Receipt
from forgetflow.training.promise import Guarantee
from forgetflow.training.trainer import train_chains
from forgetflow.training.work import OnStep
from forgetflow.unlearning.preparation import Preparation
from forgetflow.unlearning.protocol import ANY_FAMILY, Family, Job
from forgetflow.unlearning.view import Access, View


class Sisa:
    """Exact; touches the retain set of the affected shards only."""

    name: ClassVar[str] = "sisa"
    guarantee: ClassVar[Guarantee] = Guarantee.EXACT
    needs: ClassVar[frozenset[Access]] = frozenset({Access.RETAIN, Access.LABELS})
    rebuilds: ClassVar[Literal["affected", "all"] | None] = "affected"
    families: ClassVar[frozenset[Family]] = ANY_FAMILY
    prepares: ClassVar[tuple[Preparation, ...]] = ()

    def refuses(self, view: View) -> str | None:  # noqa: ARG002
        """Refuse no deletion."""
        return None

    def job(self, view: View, shard: int) -> Job | None:
        """Build what still holds records; `fresh` counts from the restart slice."""
        if shard not in view.occupied:
            return None
        keys, known = view.keys_after(shard), set(view.keys_before(shard))
        return Job(shard, keys[-1], tuple(key for key in keys if key not in known))

    def run(self, view: View, job: Job, on_step: OnStep | None = None) -> Receipt:
        """Train the missing states of one chain."""
        return self.run_many([(view, job)], on_step)[0]

    def run_many(
        self, work: Sequence[tuple[View, Job]], on_step: OnStep | None = None
    ) -> list[Receipt]:
        """Train the missing states of several chains together."""
        tasks = [(view.chain(job.shard), view.recipe) for view, job in work]
        return [receipt for receipt, _ in train_chains(work[0][0].store, tasks, on_step)]
