"""Control: train the affected constituents a little further on what is left.

Catastrophic forgetting is hoped for, nothing is promised; on random forget sets it barely moves
(Golatkar et al. 2020 and later use it as the weak baseline). Optimizer memory starts empty: it
is made of gradients of the forgotten records.
"""

import time
from dataclasses import replace
from math import ceil
from typing import ClassVar, Literal

from forgetflow.keys import code_digest, digest_of
from forgetflow.store import Receipt
from forgetflow.training.schedule import Batches, samples_in
from forgetflow.training.trainer import Learner, OnStep, gather, peak_memory, weights_of
from forgetflow.unlearning.none import carried_over
from forgetflow.unlearning.protocol import Access, Guarantee, Job, View


class Finetune:
    """Approximate; touches the retain set of the affected shards."""

    name: ClassVar[str] = "finetune"
    guarantee: ClassVar[Guarantee] = Guarantee.APPROXIMATE
    needs: ClassVar[frozenset[Access]] = frozenset({Access.RETAIN, Access.LABELS})
    rebuilds: ClassVar[Literal["affected", "all"] | None] = None

    def jobs(self, view: View) -> list[Job]:
        """Fine-tune the affected constituents, carry the others over, drop emptied shards."""
        jobs = []
        for member in view.parent.constituents:
            if member.shard not in view.occupied:
                continue
            if member.shard not in view.affected:
                jobs.append(Job(member.shard, member.key, ()))
                continue
            key = digest_of(
                {
                    "method": self.name,
                    "parent": member.key,
                    "retain": view.retain_digest(member.shard),
                    "settings": view.settings.unlearn.finetune.model_dump(mode="json"),
                    "recipe": view.recipe.digest,
                    "code": code_digest("unlearning/finetune.py"),
                }
            )
            jobs.append(Job(member.shard, key, (key,)))
        return jobs

    def run(self, view: View, job: Job, on_step: OnStep | None = None) -> Receipt:
        """Fine-tune one constituent."""
        if not job.fresh:
            return carried_over(view, job)
        done = view.store.verify(job.key)
        if done:
            return done
        member = view.parent.constituent(job.shard)
        if member is None:
            raise RuntimeError(f"the parent has no constituent for shard {job.shard}")

        settings = view.settings.unlearn.finetune
        train = view.recipe.train.model_copy(update={"learning_rate": settings.learning_rate})
        recipe = replace(view.recipe, train=train)
        learner = Learner.fresh(recipe, job.shard)
        learner.network.load_state_dict(weights_of(view.store.require(member.key)))

        parts = view.retain(job.shard)
        digests, inputs, targets = gather(parts, recipe.device)
        batches = Batches(digests, train.batch_size, recipe.seed, (job.shard, -1))
        steps = ceil(settings.epochs * batches.steps_per_epoch())

        started = time.perf_counter()
        for step, rows in enumerate(batches.iterate(0, steps)):
            learner.step(inputs, targets, rows)
            if on_step:
                on_step(-1, step)
        learned_from = [view.store.put_members(part.digests) for part in parts]
        return view.store.put(
            job.key,
            learner.state(),
            kind="unlearned",
            learned_from=(*member.learned_from, *learned_from),
            facts={
                "shard": job.shard,
                "steps": steps,
                "samples": samples_in(len(digests), train.batch_size, steps),
                "seconds": time.perf_counter() - started,
                "peak_memory_bytes": peak_memory(recipe.device),
            },
        )
