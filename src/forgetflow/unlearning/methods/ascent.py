"""Control: gradient ascent on the forget set, with nothing to protect the rest.

The opposite failure of doing nothing: the loss on forgotten records rises beyond that of a model
that never saw them, and the model may collapse (`GA` of Thudi et al. 2022 and of the tables of
Jia et al., NeurIPS 2023). A measure that likes it rewards damage.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from forgetflow.store.receipt import Receipt
from forgetflow.training.work import OnStep
from forgetflow.unlearning.further import affected_jobs, train_affected
from forgetflow.unlearning.protocol import Access, Family, Guarantee, Job, View


class Ascent:
    """Approximate; touches the forget set only."""

    name: ClassVar[str] = "ascent"
    guarantee: ClassVar[Guarantee] = Guarantee.APPROXIMATE
    needs: ClassVar[frozenset[Access]] = frozenset({Access.FORGET, Access.LABELS})
    rebuilds: ClassVar[Literal["affected", "all"] | None] = None
    families: ClassVar[frozenset[Family]] = frozenset({"network"})

    def jobs(self, view: View) -> list[Job]:
        """Change the affected constituents, carry the others over, drop emptied shards."""
        settings = view.settings.unlearn.ascent.model_dump(mode="json")
        return affected_jobs(view, self.name, view.forget_digest, settings)

    def run(self, view: View, job: Job, on_step: OnStep | None = None) -> Receipt:
        """Ascend with one constituent."""
        return self.run_many([(view, job)], on_step)[0]

    def run_many(
        self, work: Sequence[tuple[View, Job]], on_step: OnStep | None = None
    ) -> list[Receipt]:
        """Ascend with constituents together."""
        settings = work[0][0].settings.unlearn.ascent
        return train_affected(
            work,
            lambda view, shard: [view.forget(shard)],
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            sign=-1,
            on_step=on_step,
        )
