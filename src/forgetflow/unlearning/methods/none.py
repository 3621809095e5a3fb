"""Control: publish the parent unchanged. Any measure that likes this method is no measure."""

from typing import ClassVar, Literal

from forgetflow.store.receipt import Receipt
from forgetflow.training.promise import Guarantee
from forgetflow.training.work import OnStep
from forgetflow.unlearning.preparation import Preparation
from forgetflow.unlearning.protocol import ANY_FAMILY, Family, Job, carried_over
from forgetflow.unlearning.view import Access, View


class NoUnlearning:
    """Approximate in name only; touches nothing."""

    name: ClassVar[str] = "none"
    guarantee: ClassVar[Guarantee] = Guarantee.APPROXIMATE
    needs: ClassVar[frozenset[Access]] = frozenset()
    rebuilds: ClassVar[Literal["affected", "all"] | None] = None
    families: ClassVar[frozenset[Family]] = ANY_FAMILY
    prepares: ClassVar[tuple[Preparation, ...]] = ()

    def refuses(self, view: View) -> str | None:  # noqa: ARG002
        """Refuse no deletion."""
        return None

    def job(self, view: View, shard: int) -> Job | None:
        """Carry the parent's constituent over."""
        member = view.parent.constituent(shard)
        return Job(shard, member.key, ()) if member else None

    def run(self, view: View, job: Job, on_step: OnStep | None = None) -> Receipt:  # noqa: ARG002
        """Find the parent's state."""
        return carried_over(view, job)
