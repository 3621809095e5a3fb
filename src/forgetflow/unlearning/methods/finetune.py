"""Control: train the affected constituents a little further on what is left.

Catastrophic forgetting is hoped for, nothing is promised; on random forget sets it barely moves
(Golatkar et al. 2020 and later use it as the weak baseline).
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from forgetflow.store.receipt import Receipt
from forgetflow.training.work import OnStep
from forgetflow.unlearning.further import affected_jobs, train_affected
from forgetflow.unlearning.protocol import Access, Family, Guarantee, Job, View


class Finetune:
    """Approximate; touches the retain set of the affected shards."""

    name: ClassVar[str] = "finetune"
    guarantee: ClassVar[Guarantee] = Guarantee.APPROXIMATE
    needs: ClassVar[frozenset[Access]] = frozenset({Access.RETAIN, Access.LABELS})
    rebuilds: ClassVar[Literal["affected", "all"] | None] = None
    families: ClassVar[frozenset[Family]] = frozenset({"network"})

    def jobs(self, view: View) -> list[Job]:
        """Fine-tune the affected constituents, carry the others over, drop emptied shards."""
        settings = view.settings.unlearn.finetune.model_dump(mode="json")
        return affected_jobs(view, self.name, view.retain_digest, settings)

    def run(self, view: View, job: Job, on_step: OnStep | None = None) -> Receipt:
        """Fine-tune one constituent."""
        return self.run_many([(view, job)], on_step)[0]

    def run_many(
        self, work: Sequence[tuple[View, Job]], on_step: OnStep | None = None
    ) -> list[Receipt]:
        """Fine-tune constituents together."""
        settings = work[0][0].settings.unlearn.finetune
        return train_affected(
            work,
            lambda view, shard: view.retain(shard),
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            on_step=on_step,
        )
