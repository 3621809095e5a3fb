"""Control: publish the parent unchanged. Any measure that likes this method is no measure."""

from typing import ClassVar, Literal

from forgetflow.store.receipt import Receipt
from forgetflow.training.work import OnStep
from forgetflow.unlearning.protocol import ANY_FAMILY, Access, Family, Guarantee, Job, View


class NoUnlearning:
    """Approximate in name only; touches nothing."""

    name: ClassVar[str] = "none"
    guarantee: ClassVar[Guarantee] = Guarantee.APPROXIMATE
    needs: ClassVar[frozenset[Access]] = frozenset()
    rebuilds: ClassVar[Literal["affected", "all"] | None] = None
    families: ClassVar[frozenset[Family]] = ANY_FAMILY

    def jobs(self, view: View) -> list[Job]:
        """Carry every constituent of the parent over."""
        return [Job(member.shard, member.key, ()) for member in view.parent.constituents]

    def run(self, view: View, job: Job, on_step: OnStep | None = None) -> Receipt:  # noqa: ARG002
        """Find the parent's state."""
        return carried_over(view, job)


def carried_over(view: View, job: Job) -> Receipt:
    """Return the receipt of a parent's constituent that stays as it is."""
    view.store.require(job.key)
    receipt = view.store.receipt(job.key)
    if receipt is None:  # `require` has just read it
        raise RuntimeError(f"receipt of {job.key[:12]} vanished")
    return receipt
