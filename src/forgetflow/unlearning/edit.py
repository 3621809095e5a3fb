"""Methods as functions: what edits a trained constituent is written once, as a generator.

    def edit(case):                 one affected constituent
        ...                         look at what was declared, change `case.student`, or
        yield Fit(...)              have it trained, and go on afterwards

    METHOD = method("name", edit, settings=..., needs=...)

`method` makes the unlearning method of it: keys, carry-over of what is not affected, preparations,
cost, storage, resumption, and training of many seeds together are the same for all.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Literal

from forgetflow.errors import InputError, VerdictError
from forgetflow.keys.code import code_digest, module_of
from forgetflow.keys.digests import digest_of
from forgetflow.store.receipt import Receipt
from forgetflow.training.promise import Guarantee
from forgetflow.training.recipe import MODULES, Engine
from forgetflow.training.work import OnStep, peak_memory
from forgetflow.unlearning.case import Case, S
from forgetflow.unlearning.fit import Fit, carry_out
from forgetflow.unlearning.preparation import Preparation
from forgetflow.unlearning.protocol import Effort, Family, Job, carried_over
from forgetflow.unlearning.view import Access, View

Edit = Callable[[Case[S]], Iterator[Fit] | None]
"""Changes `case.student`, or yields how it is to be trained, or both."""


def nothing(view: View) -> str | None:  # noqa: ARG001
    """Refuse no deletion."""
    return None


def method(
    name: str,
    edit: Edit[S],
    *,
    settings: type[S],
    needs: frozenset[Access],
    prepares: tuple[Preparation, ...] = (),
    guarantee: Guarantee = Guarantee.APPROXIMATE,
    refuses: Callable[[View], str | None] = nothing,
    families: frozenset[Family] = frozenset({"network"}),
) -> "EditMethod[S]":
    """Return the unlearning method that edits every affected constituent.

    Args:
        name: what it is called everywhere; also of its block in `unlearn`.
        edit: the method itself.
        settings: type of that block.
        needs: the data it touches.
        prepares: what it presupposes of each constituent, besides its training.
        guarantee: what it promises.
        refuses: says why a deletion is not for it, or None.
        families: kinds of constituents it can treat.
    """
    return EditMethod(name, guarantee, needs, prepares, families, settings, edit, refuses)


@dataclass(frozen=True, eq=False)
class EditMethod(Generic[S]):
    """The one adapter from a function to `UnlearningMethod`; see `method`."""

    name: str
    guarantee: Guarantee
    needs: frozenset[Access]
    prepares: tuple[Preparation, ...]
    families: frozenset[Family]
    _settings: type[S]
    _edit: Edit[S]
    _refuses: Callable[[View], str | None]

    @property
    def rebuilds(self) -> Literal["affected", "all"] | None:
        """It rebuilds nothing."""
        return None

    def refuses(self, view: View) -> str | None:
        """Return why a deletion is not for this method, or None."""
        return self._refuses(view)

    def job(self, view: View, shard: int) -> Job | None:
        """Edit an affected constituent, carry another over, drop that of an emptied shard."""
        member = view.parent.constituent(shard)
        if member is None or shard not in view.occupied:
            return None
        if shard not in view.affected:
            return Job(shard, member.key, ())
        prepared = tuple(one.key(view, shard) for one in self.prepares)
        key = digest_of(
            {
                "method": self.name,
                "parent": member.key,
                "data": self._data(view, shard),
                "settings": self._block(view).model_dump(mode="json"),
                "recipe": view.recipe.digest,
                "prepared": prepared,
                "code": code_digest(module_of(self._edit), __name__, *_engines(view)),
            }
        )
        return Job(shard, key, (key,), prepared)

    def run(self, view: View, job: Job, on_step: OnStep | None = None) -> Receipt:
        """Edit one constituent, or find it in the store."""
        return self.run_many([(view, job)], on_step)[0]

    def run_many(
        self, work: Sequence[tuple[View, Job]], on_step: OnStep | None = None
    ) -> list[Receipt]:
        """Edit several constituents, of one deletion under one or several seeds.

        Raises:
            VerdictError: a constituent diverged.
        """
        found = [view.store.verify(j.key) if j.fresh else carried_over(view, j) for view, j in work]
        missing = [pair for pair, receipt in zip(work, found, strict=True) if receipt is None]
        for view, job in missing:
            for preparation in self.prepares:
                preparation.prepare(view, job.shard)
        edits = [_Running(self._case(view, job), self._edit) for view, job in missing]
        number = 0
        while fits := [(one.case, fit, one) for one in edits if (fit := one.advance())]:
            with _shared([one for *_, one in fits]):
                carry_out([(case, fit) for case, fit, _ in fits], number, on_step)
            number += 1
        made = iter([self._keep(*pair, one) for pair, one in zip(missing, edits, strict=True)])
        return [next(made) if receipt is None else receipt for receipt in found]

    def foretell(self, view: View, job: Job) -> Effort:
        """Return what `run` would take: the function is run, and nothing that it yields is.

        Raises:
            InputError: a preparation is not there yet, without which nobody can say.
        """
        if not job.fresh:
            return Effort(0, 0.0)
        for preparation, key in zip(self.prepares, job.prepared, strict=True):
            if not view.store.verify(key):
                raise InputError(
                    f"{self.name} presupposes '{preparation.name}' of shard {job.shard}, which is "
                    "made once, by the first deletion; what comes on top is known then"
                )
        running = _Running(self._case(view, job), self._edit)
        while fit := running.advance():
            running.case.meter.count(forward=fit.samples, backward=fit.samples)
        return Effort(running.case.meter.forward, None)

    def _block(self, view: View) -> S:
        block = getattr(view.settings.unlearn, self.name)
        if not isinstance(block, self._settings):
            raise TypeError(f"unlearn.{self.name} is no {self._settings.__name__}")
        return block

    def _data(self, view: View, shard: int) -> dict[str, Any]:
        """Return digests of what the method may look at; nothing else changes its result."""
        found: dict[str, Any] = {"needs": sorted(self.needs)}
        if Access.FORGET in self.needs or Access.TRAINING_LOG in self.needs:
            found["forget"] = view.forget_digest(shard)
        if Access.RETAIN in self.needs or Access.TRAINING_LOG in self.needs:
            found["retain"] = view.retain_digest(shard)
        if Access.CLASS_ID in self.needs:
            found["classes"] = view.forget_classes()
        if Access.HELD_OUT in self.needs:
            found["held out"] = view.held_out().digest
        return found

    def _case(self, view: View, job: Job) -> Case[S]:
        names = (one.name for one in self.prepares)
        prepared = dict(zip(names, job.prepared, strict=True))
        stem = digest_of([self.name, self._data(view, job.shard)])
        return Case(self._block(view), job.shard, view, stem, prepared)

    def _keep(self, view: View, job: Job, done: "_Running[S]") -> Receipt:
        """Store a finished student."""
        case, state = done.case, done.case.student.state_dict()
        if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
            raise VerdictError(
                f"training shard {job.shard} of {view.batch} diverged: "
                f"lower the method's learning_rate or epochs in params.yaml (unlearn.{self.name})"
            )
        names = []
        if Access.RETAIN in self.needs:
            names += [view.store.put_members(part) for part in view.retain_sets(job.shard)]
        if Access.FORGET in self.needs:
            names.append(view.store.put_members(view.forget_set(job.shard)))
        return view.store.put(
            job.key,
            {f"model.{name}": tensor for name, tensor in state.items()},
            kind="unlearned",
            learned_from=tuple(dict.fromkeys((*view.member(job.shard).learned_from, *names))),
            facts={
                "shard": job.shard,
                "steps": case.meter.steps,
                "samples": case.meter.forward,
                "forward_samples": case.meter.forward,
                "backward_samples": case.meter.backward,
                "seconds": done.seconds,
                "peak_memory_bytes": peak_memory(view.recipe.device),
            },
        )


@dataclass(eq=False)
class _Running(Generic[S]):
    """A method's function at work on one case."""

    case: Case[S]
    edit: Edit[S]
    seconds: float = 0.0
    _steps: Iterator[Fit] | None = field(default=None)
    _begun: bool = False

    def advance(self) -> Fit | None:
        """Go on to the next fit; None when there is none."""
        started = time.perf_counter()
        if not self._begun:
            self._steps, self._begun = self.edit(self.case), True
        fit = None if self._steps is None else next(self._steps, None)
        self.seconds += time.perf_counter() - started
        return fit


@contextmanager
def _shared(running: Sequence[_Running[Any]]) -> Iterator[None]:
    """Share the time that is spent among those who spend it together."""
    started = time.perf_counter()
    yield
    for one in running:
        one.seconds += (time.perf_counter() - started) / len(running)


def _engines(view: View) -> set[str]:
    """Return the modules that can carry a fit out, besides the recipe's own engine."""
    other: Engine = "vmap" if not view.recipe.independent else "sequential"
    return {MODULES[other]}
