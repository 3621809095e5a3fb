"""How the members of a pool come about: keys first, then what is missing, a group at a time.

Every member is a whole procedure under a seed of its own: built from records, or unlearned by one
more deletion from the member of the same number of another procedure. Content keys are derived
without computing; only members whose key is not in the store are made, all their constituents
together.

Shapes: M members, N records.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgetflow.keys.code import code_digest
from forgetflow.keys.digests import digest_of
from forgetflow.pools.member import learned_from_of, member_key, put_member, read_member
from forgetflow.pools.pool import Pool
from forgetflow.requests.batches import ORIGINAL
from forgetflow.store.memory import MemoryStore
from forgetflow.store.store import Store
from forgetflow.training.abilities import votes
from forgetflow.training.card import Constituent, ModelCard
from forgetflow.training.chain import Chain, Samples
from forgetflow.training.closed_form import largest_state
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import untrained
from forgetflow.training.trainer import train_chains
from forgetflow.training.work import PARTS
from forgetflow.training.workspace import Mask, Workspace
from forgetflow.unlearning.protocol import Job, RunsMany, UnlearningMethod, jobs_of, refuse
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
class Procedure:
    """How the members of one pool come about.

    Attributes:
        space: records, placement, settings and the store of members.
        seeds: one per member.
        start: records that members are built from, bool (N,), or (M, N) with a row for each; or
            the procedure from whose members these start.
        step: what is forgotten of them; None where members are built.

    Raises:
        ValueError: there is a step and nothing to start from, or masks are not one per member.
    """

    space: Workspace
    seeds: Sequence[int]
    start: "NDArray[np.bool_] | Procedure"
    step: Step | None = None

    def __post_init__(self) -> None:
        built = not isinstance(self.start, Procedure)
        if built is not (self.step is None):
            raise ValueError("members are built from records, or unlearned from other members")
        masks = self.start if isinstance(self.start, np.ndarray) else None
        if masks is not None and masks.ndim == 2 and len(masks) != len(self.seeds):
            raise ValueError(f"{len(masks)} masks for {len(self.seeds)} members")

    @property
    def parent(self) -> "Procedure | None":
        """The procedure from whose members these start."""
        return self.start if isinstance(self.start, Procedure) else None

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
        if self.step is not None:
            return [{job.shard: job.key for job in jobs} for jobs in self._jobs]
        return [
            {shard: space.chain_keys(shard, keep)[-1] for shard in space.occupied(keep)}
            for space, keep in zip(
                self._spaces, map(self._keep, range(len(self.seeds))), strict=True
            )
        ]

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
        counted = votes(space.settings, space.assignment.shards)
        return Pool(space.recipe, self.store, self.keys, space.settings.aggregation, counted)

    def missing(self) -> list[int]:
        """Return the members that are not in the store."""
        return [m for m, key in enumerate(self.keys) if not self.store.verify(key)]

    def groups(self) -> list[list[int]]:
        """Return the missing members in groups that are made together."""
        missing, size = self.missing(), self._group_size()
        return [missing[start : start + size] for start in range(0, len(missing), size)]

    def train(
        self, members: Sequence[int] | None = None, on_member: OnMember | None = None
    ) -> None:
        """Make the missing members, or those of `members` that are missing, parents first."""
        wanted = set(range(len(self.keys))) if members is None else set(members)
        if self.parent:
            self.parent.train(sorted(wanted & set(self.missing())))
        for group in self.groups():
            chosen = [m for m in group if m in wanted]
            if chosen:
                self._make(chosen, on_member)

    def _make(self, members: Sequence[int], on_member: OnMember | None) -> None:
        memory = MemoryStore()
        if self.parent is None:
            train_chains(memory, [task for m in members for task in self._chains(m)])
        else:
            self._unlearn(members, memory, self.parent)
        for m in members:
            made = self.constituents[m]
            put_member(self.store, memory, self.keys[m], made, self._cost(m, memory))
            if on_member:
                on_member()

    def _unlearn(self, members: Sequence[int], memory: MemoryStore, parent: "Procedure") -> None:
        for m in members:
            weights = read_member(self.store, parent.keys[m])
            sets = learned_from_of(self.store.receipt(parent.keys[m]))
            for shard, key in parent.constituents[m].items():
                state = {f"model.{name}": tensor for name, tensor in weights[shard].items()}
                facts = {"shard": shard}
                memory.put(key, state, kind="member", learned_from=sets[shard], facts=facts)
        work = [
            (view, job)
            for m in members
            for view in [self._running(m, memory, parent)]
            for job in self._jobs[m]
        ]
        method = self._step.method
        if isinstance(method, RunsMany):
            method.run_many(work)
        else:
            for view, job in work:
                method.run(view, job)

    def _running(self, member: int, memory: MemoryStore, parent: "Procedure") -> View:
        """Return the view with which a member's jobs are run: their results go to `memory`."""
        view = self._views[member]
        sets = learned_from_of(self.store.receipt(parent.keys[member]))
        parents = tuple(replace(c, learned_from=sets[c.shard]) for c in view.parent.constituents)
        return replace(
            view,
            parent=replace(view.parent, constituents=parents),
            _workspace=replace(self._spaces[member], store=memory),
        )

    def _chains(self, member: int) -> list[tuple[Chain, Recipe]]:
        recipe = self._spaces[member].recipe
        parts = self._common if self._common is not None else self._slices(self._keep(member))
        return [(Chain(shard, slices, recipe.digest), recipe) for shard, slices in parts.items()]

    @cached_property
    def _common(self) -> dict[int, list[Samples]] | None:
        """Records by shard and slice, one copy where all members have the same."""
        shared = isinstance(self.start, np.ndarray) and self.start.ndim == 1
        return self._slices(self._keep(0)) if shared else None

    def _slices(self, keep: Mask) -> dict[int, list[Samples]]:
        return {shard: self.space.slices(shard, keep) for shard in self.space.occupied(keep)}

    def _cost(self, member: int, memory: MemoryStore) -> dict[str, float]:
        """Return what a member costs where the states between slices are kept.

        A pool keeps finished constituents only and trains affected shards from the start; the
        deletion it stands for starts again at the first slice that lost a record. What a method
        prepared is told apart: it serves every later deletion.
        """
        if self.step is None:
            made = [(key, 0) for key in self.constituents[member].values()]
            prepared: list[str] = []
        else:
            fresh = [job for job in self._jobs[member] if job.fresh]
            made = [(job.key, len(job.fresh)) for job in fresh]
            prepared = [key for job in fresh for key in job.prepared]
        total = {"seconds": 0.0, "samples": 0.0, "steps": 0.0}
        for key, count in made:
            facts = _facts(memory, key)
            parts = facts.get(PARTS)
            for part in parts[-count:] if parts and count else [facts]:
                for name in total:
                    total[name] += part[name]
        for name in ("seconds", "samples"):
            total[f"prepared_{name}"] = sum(_facts(memory, key)[name] for key in prepared)
        total["prepared_bytes"] = float(sum(_size(memory, key) for key in prepared))
        return total

    @property
    def _step(self) -> Step:
        if self.step is None:
            raise RuntimeError("members that are built have no step")
        return self.step

    def _keep(self, member: int) -> Mask:
        """Records that a member is built from."""
        if not isinstance(self.start, np.ndarray):
            raise TypeError("members that are unlearned are not built from records")
        return self.start if self.start.ndim == 1 else self.start[member]

    @cached_property
    def _spaces(self) -> list[Workspace]:
        space = self.space
        space = replace(space, recipe=space.recipe.for_pools())
        return [space.with_seed(seed) for seed in self.seeds]

    @cached_property
    def _views(self) -> list[View]:
        if self.parent is None:
            raise RuntimeError("members that are built have no views")
        step = self._step
        views = [
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
        for view in views[:1]:
            refuse(step.method, view)
        return views

    @cached_property
    def _jobs(self) -> list[list[Job]]:
        return [jobs_of(self._step.method, view) for view in self._views] if self.step else []

    def _group_size(self) -> int:
        """Return how many members fit into `GROUP_BYTES`: states, and records where copied."""
        shards = max((len(made) for made in self.constituents), default=1)
        recipe, each = self.space.recipe, self.space.records.inputs[:1].nbytes
        if isinstance(self.start, np.ndarray):
            learned, copied = int(self.start.sum(axis=-1).max()), 0
            if self.start.ndim == 2:  # every member has records of its own
                copied = learned
        else:  # a method gets copies of the records of the shards it changes
            step = self._step
            affected = self.space.occupied(step.forget)
            learned = int((step.retain | step.forget).sum())
            copied = int(np.isin(self.space.assignment.shard, affected).sum())
        if recipe.engine == "closed form":
            state = largest_state(recipe, -(-learned // max(shards, 1)))
        else:
            state = sum(p.nbytes for p in untrained(recipe, 0, 0).parameters()) * 3
        return max(1, min(GROUP, GROUP_BYTES // max(shards * state + copied * each, 1)))


def _facts(memory: MemoryStore, key: str) -> Mapping[str, Any]:
    receipt = memory.receipt(key)
    if receipt is None:
        raise RuntimeError(f"object {key[:12]} vanished while its pool was being made")
    return receipt.facts


def _size(memory: MemoryStore, key: str) -> int:
    receipt = memory.receipt(key)
    return receipt.size if receipt else 0


def _card(space: Workspace, constituents: dict[int, str], keep: Mask) -> ModelCard:
    """Describe a member to methods, which look at content keys only."""
    members = [
        Constituent(shard, key, "", int((space.assignment.shard[keep] == shard).sum()), ())
        for shard, key in constituents.items()
    ]
    return space.card(ORIGINAL, members, keep)
