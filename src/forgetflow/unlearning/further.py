"""What methods share that train the affected constituents of the parent a little further."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from forgetflow.errors import VerdictError
from forgetflow.keys.code import code_digest
from forgetflow.keys.digests import digest_of
from forgetflow.store.receipt import Receipt
from forgetflow.training.chain import Samples
from forgetflow.training.ensemble import Constituent
from forgetflow.training.further import Start, train_further
from forgetflow.training.sequential import weights_of
from forgetflow.training.work import OnStep, peak_memory
from forgetflow.unlearning.methods.none import carried_over
from forgetflow.unlearning.protocol import Job, View


def affected_jobs(
    view: View, method: str, data: Callable[[int], str], settings: Mapping[str, Any]
) -> list[Job]:
    """Return jobs that change the affected constituents, carry others over, drop emptied shards.

    Args:
        view: the deletion.
        method: name of the method, which is also its file's.
        data: digest of the records that the method learns from, by shard.
        settings: the method's own block.
    """
    jobs = []
    for member in view.parent.constituents:
        if member.shard not in view.occupied:
            continue
        if member.shard not in view.affected:
            jobs.append(Job(member.shard, member.key, ()))
            continue
        key = digest_of(
            {
                "method": method,
                "parent": member.key,
                "data": data(member.shard),
                "settings": settings,
                "recipe": view.recipe.digest,
                "code": code_digest(f"forgetflow.unlearning.methods.{method}"),
            }
        )
        jobs.append(Job(member.shard, key, (key,)))
    return jobs


def train_affected(
    work: Sequence[tuple[View, Job]],
    parts: Callable[[View, int], Sequence[Samples]],
    *,
    epochs: float,
    learning_rate: float,
    sign: int = 1,
    on_step: OnStep | None = None,
) -> list[Receipt]:
    """Carry out jobs of `affected_jobs`, of one deletion under one or several seeds.

    Args:
        work: views and jobs; recipes may differ in the seed only.
        parts: the records that a constituent learns from, by view and shard.
        epochs: passes over them.
        learning_rate: step size.
        sign: 1 to descend the loss, -1 to ascend it.
        on_step: called after every step; meant for one job.

    Raises:
        VerdictError: training diverged.
    """
    receipts = [_ready(view, job) for view, job in work]
    open_work = [pair for pair, receipt in zip(work, receipts, strict=True) if receipt is None]
    if open_work:
        recipe = open_work[0][0].recipe
        train = recipe.train.model_copy(update={"learning_rate": learning_rate})
        recipe = replace(recipe, train=train)
        starts = [_start(view, job, parts(view, job.shard)) for view, job in open_work]
        results = iter(train_further(recipe, starts, epochs, sign, on_step))
    made = iter(open_work)
    finished = []
    for receipt in receipts:
        if receipt is not None:
            finished.append(receipt)
            continue
        (view, job), result = next(made), next(results)
        if not all(bool(t.isfinite().all()) for t in result.state.values()):
            raise VerdictError(
                f"training shard {job.shard} of {view.batch} diverged: "
                "lower the method's learning_rate or epochs in params.yaml"
            )
        names = [view.store.put_members(part.digests) for part in parts(view, job.shard)]
        finished.append(
            view.store.put(
                job.key,
                result.state,
                kind="unlearned",
                learned_from=(*_member(view, job).learned_from, *names),
                facts={
                    "shard": job.shard,
                    "steps": result.steps,
                    "samples": result.samples,
                    "seconds": result.seconds,
                    "peak_memory_bytes": peak_memory(recipe.device),
                },
            )
        )
    return finished


def _ready(view: View, job: Job) -> Receipt | None:
    return view.store.verify(job.key) if job.fresh else carried_over(view, job)


def _member(view: View, job: Job) -> Constituent:
    member = view.parent.constituent(job.shard)
    if member is None:
        raise RuntimeError(f"the parent has no constituent for shard {job.shard}")
    return member


def _start(view: View, job: Job, parts: Sequence[Samples]) -> Start:
    weights = weights_of(view.store.require(_member(view, job).key))
    return Start(view.recipe.seed, job.shard, weights, parts)
