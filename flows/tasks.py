"""Prefect tasks: cached by our content keys, returning small JSON receipts, never tensors.

A cached result counts only if its bytes are in the store: callers ask `submit`, which refreshes
the cache for every key that the store cannot verify.
"""

from collections.abc import Collection, Sequence
from typing import Any

from prefect import task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.futures import PrefectFuture, as_completed

from flows import inputs
from flows.devices import device_slot
from flows.progress import progress_bars
from flows.steps import made, roughly, step
from forgetflow.config.project import Project
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.store.receipt import Receipt
from forgetflow.training.trainer import train_chain
from forgetflow.unlearning.plan import rebuild_seconds
from forgetflow.unlearning.protocol import Job, UnlearningMethod, jobs_of
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import Deletion
from forgetflow.unlearning.view import View

CachedByKey = CacheKeyFnPolicy(cache_key_fn=lambda _, arguments: str(arguments["key"]))

CACHED: dict[str, Any] = {
    "cache_policy": CachedByKey,
    "persist_result": True,
    "result_serializer": "json",
    "tags": ["gpu"],
}


@task(name="train shard", task_run_name="train shard {shard}", **CACHED)
def train_shard(shard: int, key: str) -> dict[str, Any]:
    """Train one constituent of the original model."""
    project = Project.find()
    space = inputs.workspace(project)
    chain = space.chain(shard, space.everything)
    _expect(chain.key, key)
    with device_slot(project):
        receipt, _ = train_chain(space.store, chain, space.recipe)
    return to_json(receipt)


@task(name="prepare", task_run_name="{preparation} {batch} shard {shard}", **CACHED)
def prepare_shard(
    batch: str, method: str, preparation: str, shard: int, key: str
) -> dict[str, Any]:
    """Make what a method presupposes of one constituent of the batch's parent."""
    project = Project.find()
    chosen = method_named(method)
    view = inputs.deletion(project, batch).view(chosen)
    wanted = next(one for one in chosen.prepares if one.name == preparation)
    _expect(wanted.key(view, shard), key)
    with device_slot(project):
        receipt = wanted.prepare(view, shard)
    return to_json(receipt)


@task(name="unlearn shard", task_run_name="{method} {batch} shard {shard}", **CACHED)
def unlearn_shard(
    batch: str, method: str, shard: int, key: str, seed_offset: int
) -> dict[str, Any]:
    """Make one constituent of an unlearned model, or of an oracle (another seed)."""
    project = Project.find()
    chosen = method_named(method)
    view = inputs.deletion(project, batch, seed_offset).view(chosen)
    job = chosen.job(view, shard)
    _expect(job.key if job else "nothing", key)
    if job is None:
        raise RuntimeError(f"{method} has no job for shard {shard}")
    with device_slot(project):
        receipt = chosen.run(view, job)
    return to_json(receipt)


def train_all(project: Project) -> dict[int, Receipt]:
    """Train every constituent of the original model as tasks; returns receipts by shard."""
    space = inputs.workspace(project)
    chains = [space.chain(s, space.everything) for s in space.occupied(space.everything)]
    futures = [
        train_shard.with_options(
            refresh_cache=not all(space.store.verify(key) for key in chain.keys)
        ).submit(shard=chain.shard, key=chain.key)
        for chain in chains
    ]
    return collect("training", futures, len(chains))


def unlearn_all(
    project: Project, batch: str, method: str, seed_offset: int = 0
) -> dict[int, Receipt]:
    """Run every job of a deletion as a task, preparations first; returns receipts by shard."""
    chosen = method_named(method)
    deletion = inputs.deletion(project, batch, seed_offset)
    view = deletion.view(chosen)
    jobs = jobs_of(chosen, view)
    missing = {job.shard for job in jobs if not _is_stored(view.store.verify, job)}
    what = f"oracle of {batch}" if seed_offset else f"unlearn {batch}"
    what += f": {method}, {len(missing)} of {len(jobs)} constituents"
    with step(
        project,
        f"unlearn {method}",
        what,
        _forecast(project, deletion, chosen, missing),
        counts=True,
    ):
        made(len(missing))
        _prepare_all(batch, chosen, view, [job for job in jobs if job.fresh])
        futures = [
            unlearn_shard.with_options(refresh_cache=job.shard in missing).submit(
                batch=batch, method=method, shard=job.shard, key=job.key, seed_offset=seed_offset
            )
            for job in jobs
        ]
        return collect("oracle" if seed_offset else method, futures, len(jobs))


def _forecast(
    project: Project, deletion: Deletion, method: UnlearningMethod, missing: Collection[int]
) -> str:
    """Say how long it takes to make what is missing; nothing where only the last time can tell."""
    if not missing:
        return "all in the store already"
    estimate = rebuild_seconds(deletion, method, missing, inputs.workspace(project))
    return "" if estimate is None else f"{roughly(estimate)} of training"


def _prepare_all(batch: str, method: UnlearningMethod, view: View, jobs: Sequence[Job]) -> None:
    """Make what the method presupposes of the constituents it edits, where it is not there."""
    for number, preparation in enumerate(method.prepares):
        futures = [
            prepare_shard.with_options(refresh_cache=True).submit(
                batch=batch,
                method=method.name,
                preparation=preparation.name,
                shard=job.shard,
                key=job.prepared[number],
            )
            for job in jobs
            if not view.store.verify(job.prepared[number])
        ]
        collect(preparation.name, futures, len(futures))


def collect(
    what: str, futures: Sequence[PrefectFuture[dict[str, Any]]], total: int
) -> dict[int, Receipt]:
    """Wait for constituents with a progress bar and return their receipts by shard."""
    receipts = {}
    with progress_bars() as progress:
        bar = progress.add_task(what, total=total)
        for future in as_completed(list(futures)):
            receipt = from_json(Receipt, future.result())
            receipts[int(receipt.facts["shard"])] = receipt
            progress.advance(bar)
    return dict(sorted(receipts.items()))


def _is_stored(verify: Any, job: Job) -> bool:
    return all(verify(key) for key in (job.key, *job.fresh))


def _expect(found: str, key: str) -> None:
    if found != key:
        raise RuntimeError(
            f"asked for state {key[:12]} but the data here makes {found[:12]}: "
            "the project changed while the flow was running"
        )
