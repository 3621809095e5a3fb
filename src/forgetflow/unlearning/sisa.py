"""SISA unlearning: build again from what is left (Bourtoule et al., IEEE S&P 2021, Sec. IV).

The restart before the earliest slice that loses a record is not coded anywhere: states before it
keep their content keys and are found in the store. On the monolith this is full retraining.
"""

from typing import ClassVar, Literal

from forgetflow.store import Receipt
from forgetflow.training.trainer import OnStep, train_chain
from forgetflow.unlearning.protocol import Access, Guarantee, Job, View


class Sisa:
    """Exact; touches the retain set of the affected shards only."""

    name: ClassVar[str] = "sisa"
    guarantee: ClassVar[Guarantee] = Guarantee.EXACT
    needs: ClassVar[frozenset[Access]] = frozenset({Access.RETAIN, Access.LABELS})
    rebuilds: ClassVar[Literal["affected", "all"] | None] = "affected"

    def jobs(self, view: View) -> list[Job]:
        """One job per shard that still holds records; `fresh` counts from the restart slice."""
        jobs = []
        for shard in view.occupied:
            keys = view.keys_after(shard)
            known = set(view.keys_before(shard))
            jobs.append(Job(shard, keys[-1], tuple(key for key in keys if key not in known)))
        return jobs

    def run(self, view: View, job: Job, on_step: OnStep | None = None) -> Receipt:
        """Train the missing states of one chain."""
        receipt, _ = train_chain(view.store, view.chain(job.shard), view.recipe, on_step)
        return receipt
