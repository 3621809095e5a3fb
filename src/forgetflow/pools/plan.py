"""How the members of a pool come about: keys first, then what is missing, a group at a time.

Every member is a whole procedure under a seed of its own. Content keys are derived without
computing; only members whose key is not in the store are made, all their constituents together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from forgetflow.keys.code import code_digest
from forgetflow.keys.digests import digest_of
from forgetflow.pools.pool import Pool, learned_from_of, member_key, put_member, read_member
from forgetflow.requests.batches import ORIGINAL
from forgetflow.store.memory import MemoryStore
from forgetflow.store.store import Store
from forgetflow.training.abilities import voices
from forgetflow.training.card import Constituent, ModelCard
from forgetflow.training.chain import Chain, Samples
from forgetflow.training.closed_form import largest_state
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import untrained
from forgetflow.training.trainer import train_chains
from forgetflow.training.work import PARTS
from forgetflow.training.workspace import Mask, Workspace
from forgetflow.unlearning.protocol import Job, RunsMany, UnlearningMethod
from forgetflow.unlearning.view import View

GROUP = 16
"""Members made together: what a kill costs at most."""

GROUP_BYTES = 2**29
"""Checkpoints and copied records of one group held in memory at once, at most."""

OnMember = Callable[[], None]


@dataclass(frozen=True, eq=False)
class Step:
    """One deletion on the way from the original to the model under audit.

    Attributes:
        batch: its id.
        method: how it was, or is to be, forgotten.
        retain, forget: records left after it, and records it removes, bool (N,).
    """

    batch: str
    method: UnlearningMethod
    retain: Mask
    forget: Mask


@dataclass(frozen=True, eq=False)
class Plan:
    """How the members of one pool come about.

    Attributes:
        space: records, placement, settings and the store of members.
        way: `build` from `keep`, or `unlearn` by `step` from the members of `parent`.
        seeds: one per member.
        parent: pool it starts from.
        step: what is forgotten.
        keep: records to build from.
    """

    space: Workspace
    way: Literal["build", "unlearn"]
    seeds: Sequence[int]
    parent: "Plan | None" = None
    step: Step | None = None
    keep: Mask | None = None

    @cached_property
    def keys(self) -> list[str]:
        """Store key of every member."""
        if self.parent is None or self.step is None:
            return [member_key("build", made) for made in self.constituents]
        return [
            member_key(f"{self.step.method.name} {before}", made)
            for before, made in zip(self.parent.keys, self.constituents, strict=True)
        ]

    @cached_property
    def constituents(self) -> list[dict[int, str]]:
        """For every member, shard -> content key."""
        if self.way == "build":
            return [
                {shard: space.chain_keys(shard, self._keep)[-1] for shard in self._occupied}
                for space in self._spaces
            ]
        return [{job.shard: job.key for job in jobs} for jobs in self._jobs]

    @property
    def depth(self) -> int:
        """Number of pools that this one starts from, one after another."""
        return 1 + self.parent.depth if self.parent else 0

    @property
    def digest(self) -> str:
        """Digest of everything that decides the pool, and of the code that makes it."""
        return digest_of([self.keys, code_digest(__name__)])

    @property
    def store(self) -> Store:
        """Where members are kept."""
        return self.space.store

    def pool(self) -> Pool:
        """Return the finished pool."""
        space = self.space
        spoken = voices(space.settings, space.assignment.shards)
        return Pool(space.recipe, self.store, self.keys, space.settings.aggregation, spoken)

    def missing(self) -> list[int]:
        """Return the members that are not in the store."""
        return [m for m, key in enumerate(self.keys) if not self.store.verify(key)]

    def groups(self) -> list[list[int]]:
        """Return the missing members in groups that are made together."""
        missing, size = self.missing(), self._group_size()
        return [missing[start : start + size] for start in range(0, len(missing), size)]

    def grow(self, members: Sequence[int] | None = None, on_member: OnMember | None = None) -> None:
        """Make the missing members, or those of `members` that are missing, parents first."""
        wanted = set(range(len(self.keys))) if members is None else set(members)
        if self.parent:
            self.parent.grow(sorted(wanted & set(self.missing())))
        for group in self.groups():
            chosen = [m for m in group if m in wanted]
            if chosen:
                self._make(chosen, on_member)

    def _make(self, members: Sequence[int], on_member: OnMember | None) -> None:
        memory = MemoryStore()
        if self.way == "build":
            tasks = [task for m in members for task in self._chains(m)]
            train_chains(memory, tasks)
        else:
            self._unlearn(members, memory)
        for m in members:
            made = self.constituents[m]
            put_member(self.store, memory, self.keys[m], made, self._cost(m, memory))
            if on_member:
                on_member()

    def _unlearn(self, members: Sequence[int], memory: MemoryStore) -> None:
        if self.parent is None or self.step is None:
            raise RuntimeError("a pool that unlearns has a parent and a step")
        for m in members:
            weights = read_member(self.store, self.parent.keys[m])
            sets = self._parents_sets(m)
            for shard, key in self.parent.constituents[m].items():
                state = {f"model.{name}": tensor for name, tensor in weights[shard].items()}
                facts = {"shard": shard}
                memory.put(key, state, kind="member", learned_from=sets[shard], facts=facts)
        work = [
            (view, job)
            for m in members
            for view in [self._running(m, memory)]
            for job in self._jobs[m]
        ]
        method = self.step.method
        if isinstance(method, RunsMany):
            method.run_many(work)
        else:
            for view, job in work:
                method.run(view, job)

    def _running(self, member: int, memory: MemoryStore) -> View:
        """Return the view with which a member's jobs are run: their results go to `memory`."""
        view, sets = self._views[member], self._parents_sets(member)
        parents = tuple(replace(c, learned_from=sets[c.shard]) for c in view.parent.constituents)
        return replace(
            view,
            parent=replace(view.parent, constituents=parents),
            _workspace=replace(self._spaces[member], store=memory),
        )

    def _parents_sets(self, member: int) -> dict[int, tuple[str, ...]]:
        """Return shard -> record sets that the parent's constituent learned from."""
        if self.parent is None:
            raise RuntimeError("a pool that unlearns has a parent")
        return learned_from_of(self.store.receipt(self.parent.keys[member]))

    def _chains(self, member: int) -> list[tuple[Chain, Recipe]]:
        recipe = self._spaces[member].recipe
        return [(Chain(s, parts, recipe.digest), recipe) for s, parts in self._slices.items()]

    @cached_property
    def _slices(self) -> dict[int, list[Samples]]:
        """Records by shard and slice, one copy for all members."""
        return {shard: self.space.slices(shard, self._keep) for shard in self._occupied}

    def _cost(self, member: int, memory: MemoryStore) -> dict[str, float]:
        """Return what a member costs where the states between slices are kept.

        A pool keeps finished constituents only and trains affected shards from the start; the
        deletion it stands for starts again at the first slice that lost a record.
        """
        if self.way == "build":
            made = [(key, 0) for key in self.constituents[member].values()]
        else:
            made = [(job.key, len(job.fresh)) for job in self._jobs[member] if job.fresh]
        total = {"seconds": 0.0, "samples": 0.0, "steps": 0.0}
        for key, fresh in made:
            receipt = memory.receipt(key)
            if receipt is None:
                raise RuntimeError(f"constituent {key[:12]} vanished while its pool was being made")
            parts = receipt.facts.get(PARTS)
            for part in parts[-fresh:] if parts and fresh else [receipt.facts]:
                for name in total:
                    total[name] += part[name]
        return total

    @property
    def _keep(self) -> Mask:
        if self.keep is None:
            raise RuntimeError("a pool that is built has records to build from")
        return self.keep

    @property
    def _before(self) -> Mask:
        """Records that members learn from, or learned from before the last step."""
        return self.step.retain | self.step.forget if self.step else self._keep

    @cached_property
    def _occupied(self) -> list[int]:
        return self.space.occupied(self._keep)

    @cached_property
    def _spaces(self) -> list[Workspace]:
        space = self.space
        space = replace(space, recipe=space.recipe.for_pools())
        return [space.with_seed(seed) for seed in self.seeds]

    @cached_property
    def _views(self) -> list[View]:
        if self.parent is None or self.step is None:
            raise RuntimeError("a pool that unlearns has a parent and a step")
        step = self.step
        return [
            View(
                step.batch,
                _card(space, made, step.retain | step.forget),
                step.method.needs,
                space,
                step.retain,
                step.forget,
            )
            for space, made in zip(self._spaces, self.parent.constituents, strict=True)
        ]

    @cached_property
    def _jobs(self) -> list[list[Job]]:
        method = self.step.method if self.step else None
        return [method.jobs(view) for view in self._views] if method else []

    def _group_size(self) -> int:
        """Return how many members fit into `GROUP_BYTES`: states, and records where copied."""
        shards = len(self.constituents[0]) if self.constituents else 1
        recipe, keep = self.space.recipe, self._before
        if recipe.engine == "closed form":
            state = largest_state(recipe, -(-int(keep.sum()) // shards))
        else:
            state = sum(p.nbytes for p in untrained(recipe, 0, 0).parameters()) * 3
        data = 0
        if self.step:  # a method gets copies of the records of the shards it changes
            affected = np.isin(self.space.assignment.shard, self.space.occupied(self.step.forget))
            data = self.space.records.inputs[:1].nbytes * int(affected.sum())
        return max(1, min(GROUP, GROUP_BYTES // max(shards * state + data, 1)))


def _card(space: Workspace, constituents: dict[int, str], keep: Mask) -> ModelCard:
    """Describe a member to methods, which look at content keys only."""
    members = [
        Constituent(shard, key, "", int((space.assignment.shard[keep] == shard).sum()), ())
        for shard, key in constituents.items()
    ]
    return space.card(ORIGINAL, members, keep)
