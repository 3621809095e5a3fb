"""The one deterministic trainer: full builds, deletions and pools run the same lines.

    engines in steps     lockstep, a state after each slice, recovery points inside a slice
    engine closed form   one call a slice (`closed_form`), a state after each

A state is the network (buffers included), the optimizer's memory and the step count; all of it
is in the checkpoint, so continuing from a file and never having stopped give the same bits.
"""

import time
from collections.abc import Sequence
from typing import Any

from forgetflow.store.receipt import Receipt
from forgetflow.store.store import Store
from forgetflow.training.chain import Chain
from forgetflow.training.gaps import Gap, gaps_of
from forgetflow.training.learners import Resident
from forgetflow.training.lockstep import BURST, evenly, longest_first, run
from forgetflow.training.memory import fitting_cache, fitting_gpu
from forgetflow.training.recipe import Engine, Recipe
from forgetflow.training.registry import extend, learners, prepare
from forgetflow.training.saver import Saver, put_state
from forgetflow.training.work import OnStep, Work, samples_of


def train_chain(
    store: Store, chain: Chain, recipe: Recipe, on_step: OnStep | None = None
) -> tuple[Receipt, Work]:
    """Make sure that every state of one chain is in the store; see `train_chains`.

    Returns:
        The receipt of the finished constituent, and the work done by this call.
    """
    return train_chains(store, [(chain, recipe)], on_step)[0]


def train_chains(
    store: Store,
    tasks: Sequence[tuple[Chain, Recipe]],
    on_step: OnStep | None = None,
) -> list[tuple[Receipt, Work]]:
    """Make sure that every state of every chain is in the store, training only what is missing.

    A state counts as present if its bytes match its receipt; a lost or damaged one is trained
    again from the state before it. Killed at any moment, a second call continues. Chains are
    trained together where the engine can; the bytes are those of each trained alone.

    Args:
        store: where states are kept. One that keeps finished states only gets no others.
        tasks: chains and their recipes, which may differ in the seed only.
        on_step: called after every step; meant for one chain.

    Returns:
        For each chain, the receipt of the finished constituent and the work done by this call.

    Raises:
        ValueError: a recipe of pools, and a store that is not a pool's.
    """
    if any(not r.independent for _, r in tasks) and not store.keeps_only_finished:
        raise ValueError(
            "bits depend on who trains together, so exactness cannot be promised: this recipe is "
            "for pools, which train in a store that keeps finished states only"
        )
    works = [Work() for _ in tasks]
    gaps = [
        gap for task, work in zip(tasks, works, strict=True) for gap in gaps_of(store, task, work)
    ]
    gaps.sort(key=lambda gap: -gap.steps)
    if gaps and gaps[0].recipe.engine == "closed form":
        for gap in gaps:
            _fit(store, gap, on_step)
    else:
        for group in _groups(gaps):
            _train_together(store, group, on_step)
    receipts = [store.receipt(chain.key) for chain, _ in tasks]
    gone = [c.key for (c, _), receipt in zip(tasks, receipts, strict=True) if receipt is None]
    if gone:  # all have just been verified or written
        raise RuntimeError(f"state {gone[0][:12]} vanished while it was being built")
    return [(r, work) for r, work in zip(receipts, works, strict=True) if r is not None]


def _fit(store: Store, gap: Gap, on_step: OnStep | None) -> None:
    """Make the states of a gap whose engine takes no steps; on a slice's end, one is reported."""
    chain, recipe, work = gap.chain, gap.recipe, gap.work
    counts = samples_of(recipe, [len(part) for part in chain.slices])
    finished_only = store.keeps_only_finished
    prepare(recipe)
    state = None if finished_only or not gap.first else store.require(chain.keys[gap.first - 1])
    for number in range(gap.first, gap.last + 1):
        started = time.perf_counter()
        state = extend(recipe, chain.shard, state, chain.slices[: number + 1])
        facts: dict[str, Any] = {
            "steps": 0,
            "samples": counts[number],
            "seconds": time.perf_counter() - started,
        }
        work.count(number, facts)
        if finished_only:
            facts = work.totals()
        if number + 1 == len(chain.keys) or not finished_only:
            put_state(store, chain, number, state, facts, recipe)
        if on_step:
            on_step(number, 0)


def _groups(gaps: Sequence[Gap]) -> list[Sequence[Gap]]:
    """Cut gaps, longest first, into groups that train together."""
    return evenly(gaps, together(gaps[0].recipe)) if gaps else []


def together(recipe: Recipe, engine: Engine | None = None) -> int:
    """Return how many learners train in lockstep.

    As many as a core's cache holds. One on a GPU, where nobody promises that a product's bits do
    not depend on how many others are in the batch; if that is all right, as many as its memory
    holds.

    Args:
        recipe: how they train.
        engine: what computes their steps; none: the recipe's.
    """
    if (engine or recipe.engine) == "sequential":
        return 1
    if recipe.device.type != "cpu":
        return fitting_gpu(recipe) if not recipe.independent else 1
    return fitting_cache(recipe)


def _train_together(store: Store, gaps: Sequence[Gap], on_step: OnStep | None) -> None:
    recipe = gaps[0].recipe
    parts = [part for gap in gaps for part in gap.chain.slices[: gap.last + 1]]
    data = Resident.of(parts, recipe)
    tracks = [gap.track(data) for gap in gaps]
    order = longest_first(tracks)
    gaps, tracks = [gaps[i] for i in order], [tracks[i] for i in order]
    group = learners(recipe, [(gap.recipe.seed, gap.chain.shard) for gap in gaps])
    saver = Saver(store, group, data, gaps, tracks, on_step)
    every_step = on_step is not None or recipe.train.checkpoint_seconds == 0 or saver.logs
    run(
        group,
        data,
        tracks,
        begin=saver.begin,
        end=saver.end,
        after=saver.after,
        burst=1 if every_step else BURST,
    )
