"""What an unlearning method is, and what every one of them declares.

A method declares its guarantee and exactly which data it may touch. The runner hands it a `View`
that holds only that; asking for anything else raises `AccessError`. Half the published
"data-free" methods peek at real data somewhere; here they cannot.

    records ─► Workspace ─► View(needs) ─► method.jobs ─► one Job per constituent
                                              │                   │ method.run (cached by key)
                                           key = f(parent, data digests, settings, code)

Methods that build again (`sisa`, `retrain`, `dare`) implement this protocol themselves; whatever
edits a trained constituent is a function, of which `unlearning.edit.method` makes a method.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from forgetflow.config.settings import Settings
from forgetflow.errors import InputError
from forgetflow.store.receipt import Receipt
from forgetflow.training.promise import Guarantee, Promise, promise_of
from forgetflow.training.work import OnStep
from forgetflow.unlearning.preparation import Preparation
from forgetflow.unlearning.view import Access, View

Family = Literal["network", "forest", "one-class"]
"""Kinds of constituents (`ModelSettings.family`)."""

ANY_FAMILY: frozenset[Family] = frozenset({"network", "forest", "one-class"})


@dataclass(frozen=True)
class Job:
    """One constituent to be made.

    Attributes:
        shard: whose constituent.
        key: content key of the result.
        fresh: keys of the stored states that exist because of this deletion; their receipts
            are its cost. Empty when the parent's constituent is carried over.
        prepared: keys of what has to be prepared before, see `unlearning.preparation`.
    """

    shard: int
    key: str
    fresh: tuple[str, ...]
    prepared: tuple[str, ...] = ()


class UnlearningMethod(Protocol):
    """One file, one registry line, one params block, one test."""

    @property
    def name(self) -> str:
        """What it is called everywhere."""

    @property
    def guarantee(self) -> Guarantee:
        """What it promises."""

    @property
    def needs(self) -> frozenset[Access]:
        """The data it touches."""

    @property
    def rebuilds(self) -> Literal["affected", "all"] | None:
        """Which shards it trains again from saved or initial states; None if it rebuilds nothing.

        What rebuilds has a cost that can be foretold from the records alone.
        """

    @property
    def families(self) -> frozenset[Family]:
        """The kinds of constituents it can treat."""

    @property
    def prepares(self) -> tuple[Preparation, ...]:
        """What it presupposes of each constituent it edits, besides its training."""

    def refuses(self, view: View) -> str | None:
        """Return why this deletion is not for this method, a sentence; None where it is.

        Asked before anything is sealed, planned or run. It may look at digests and counts only.
        """

    def job(self, view: View, shard: int) -> Job | None:
        """Return what is to be made of a shard, without computing anything.

        None where the new model has no constituent for it.
        """

    def run(self, view: View, job: Job, on_step: OnStep | None = None) -> Receipt:
        """Make one constituent, or find it in the store, and return its receipt."""


def jobs_of(method: UnlearningMethod, view: View) -> list[Job]:
    """Return the constituents of the new model, by shard, without computing anything."""
    shards = {member.shard for member in view.parent.constituents} | set(view.occupied)
    jobs = (method.job(view, shard) for shard in sorted(shards))
    return [job for job in jobs if job is not None]


def guarantee_of(method: UnlearningMethod, settings: Settings) -> Guarantee:
    """Return what a method promises in this project.

    A frozen selection was chosen with the help of records that are gone by now: whoever learns
    from it promises nothing exact.
    """
    frozen = settings.partition.selection.frozen
    return Guarantee.APPROXIMATE if frozen else method.guarantee


@runtime_checkable
class Certifies(Protocol):
    """Optional: a method whose promise has a budget, of which a deletion spends some."""

    def promise(self, view: View, receipts: Sequence[Receipt]) -> Promise:
        """Return the promise of the generation that these constituents make up."""


def promised(method: UnlearningMethod, view: View, receipts: Sequence[Receipt]) -> Promise:
    """Return the promise of a generation."""
    if isinstance(method, Certifies):
        return method.promise(view, receipts)
    return promise_of(guarantee_of(method, view.settings))


def refuse(method: UnlearningMethod, view: View) -> None:
    """Check that a deletion is one for this method.

    Raises:
        InputError: it is not; the message says why.
    """
    if why := method.refuses(view):
        raise InputError(f"method '{method.name}' cannot serve {view.batch}: {why}")


@runtime_checkable
class RunsMany(Protocol):
    """Optional: a method that makes constituents of several seeds faster together than apart.

    The bytes must be those of `run`, one job after another.
    """

    def run_many(
        self, work: Sequence[tuple[View, Job]], on_step: OnStep | None = None
    ) -> list[Receipt]:
        """Make constituents, or find them in their stores, and return their receipts."""


@dataclass(frozen=True)
class Effort:
    """What making one constituent takes.

    Attributes:
        samples: records passed through training, in the unit of the recipe's engine.
        seconds: wall seconds; None where nobody measured.
    """

    samples: int
    seconds: float | None


@runtime_checkable
class Foretells(Protocol):
    """Optional: a method that rebuilds nothing and can yet say what a job will take."""

    def foretell(self, view: View, job: Job) -> Effort:
        """Return what `run` would take, writing nothing; computes as much as it needs to.

        Raises:
            InputError: it cannot be said yet; the message says why.
        """


def carried_over(view: View, job: Job) -> Receipt:
    """Return the receipt of a parent's constituent that stays as it is."""
    view.store.require(job.key)
    receipt = view.store.receipt(job.key)
    if receipt is None:  # `require` has just read it
        raise RuntimeError(f"receipt of {job.key[:12]} vanished")
    return receipt
