"""DaRE: take records out of a forest's statistics and regrow only what they decided.

Brophy and Lowd, "Machine Unlearning for Random Forests" (ICML 2021) promise the distribution of a
forest grown without the records. Here every draw is a function of (seed, tree, node, feature,
threshold) and thresholds come from outside, so the promise is the bytes: the result has the
content key, and the weights, of a build from the retain set (`forgetflow.forest`).
"""

import time
from typing import TYPE_CHECKING, ClassVar, Literal

from forgetflow.errors import VerdictError
from forgetflow.models.forest import compiled, tensors_of
from forgetflow.store.receipt import Receipt
from forgetflow.training.chain import Samples
from forgetflow.training.closed_form import PREFIX, rows_of
from forgetflow.training.promise import Guarantee
from forgetflow.training.work import OnStep, peak_memory
from forgetflow.unlearning.preparation import Preparation
from forgetflow.unlearning.protocol import Effort, Family, Job, carried_over
from forgetflow.unlearning.view import Access, View

if TYPE_CHECKING:
    from forgetflow.forest import Forest


class Dare:
    """Exact; reads the records of the affected shards to find their way down the trees."""

    name: ClassVar[str] = "dare"
    guarantee: ClassVar[Guarantee] = Guarantee.EXACT
    needs: ClassVar[frozenset[Access]] = frozenset({Access.RETAIN, Access.FORGET, Access.LABELS})
    rebuilds: ClassVar[Literal["affected", "all"] | None] = None
    families: ClassVar[frozenset[Family]] = frozenset({"forest"})
    prepares: ClassVar[tuple[Preparation, ...]] = ()

    def refuses(self, view: View) -> str | None:  # noqa: ARG002
        """Refuse no deletion."""
        return None

    def job(self, view: View, shard: int) -> Job | None:
        """Change the forest of an affected shard; a shard without records loses its forest."""
        if shard not in view.occupied:
            return None
        key = view.keys_after(shard)[-1]
        member = view.parent.constituent(shard)
        changed = member is None or member.key != key
        return Job(shard, key, (key,) if changed else ())

    def run(self, view: View, job: Job, on_step: OnStep | None = None) -> Receipt:
        """Delete the forget set from one forest; the state it makes is that of a build.

        Raises:
            VerdictError: the parent's forest is not one of retain and forget set together.
        """
        if not job.fresh:
            return carried_over(view, job)
        if stored := view.store.verify(job.key):
            return stored
        retain, forest, work = self._deleted(view, job)
        names = [view.store.put_members(part.digests) for part in retain]
        if on_step:
            on_step(0, 0)
        return view.store.put(
            job.key,
            tensors_of(forest, PREFIX),
            kind="state",
            learned_from=names,
            facts={
                "shard": job.shard,
                "slice": 0,
                "steps": 0,
                "samples": work.samples,
                "seconds": work.seconds,
                "peak_memory_bytes": peak_memory(view.recipe.device),
            },
        )

    def foretell(self, view: View, job: Job) -> Effort:
        """Delete from a copy of the forest in memory, and say what it took.

        Raises:
            VerdictError: as `run`.
        """
        return self._deleted(view, job)[2] if job.fresh else Effort(0, 0.0)

    def _deleted(self, view: View, job: Job) -> "tuple[list[Samples], Forest, Effort]":
        """Return the records left in a shard, its forest without the others, and the work."""
        member = view.parent.constituent(job.shard)
        if member is None or member.key != view.keys_before(job.shard)[-1]:
            raise VerdictError(
                f"shard {job.shard} of {view.parent.generation} is no forest of the records that "
                "were there before this batch: use sisa or retrain"
            )
        retain, forget = view.retain(job.shard), view.forget(job.shard)
        library = compiled()
        started = time.perf_counter()
        state = {
            name.removeprefix(PREFIX): tensor.numpy()
            for name, tensor in view.store.require(member.key).items()
        }
        forest = library.Forest.from_state(state, rows_of([*retain, forget]))
        change = forest.delete(forget.digests)
        settings = view.recipe.model.forest
        found_by = round(len(forget) * settings.trees * settings.share)
        work = Effort(change.rows_regrown + found_by, time.perf_counter() - started)
        return retain, forest, work
