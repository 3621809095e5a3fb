"""Part d: how many members of a pool a GPU trains in a second, beside the loop everyone writes.

A pool is what an audit asks for: members of one procedure on the same records, one per seed. The
loop has a DataLoader, autograd, torch's optimizer and torch's defaults (no determinism). A seed
starts from the same weights in every way of training; the order of batches differs from the
loop's.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean, stdev
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.gpu_data import (
    Bench,
    Data,
    accuracy,
    as_pool,
    defaults_of_torch,
    tf32,
    train,
)
from benchmarks.gpu_sheet import Sheet
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import untrained
from forgetflow.training.trainer import together

PATIENCE = 15.0
"""Seconds that a pool may be expected to take; larger ones are left out and named."""

JUDGED = 32
"""Members whose accuracy is measured, at most."""

WARM = 512
"""Members of the few steps before a pool is timed, at most."""

Batches = Callable[[Tensor, Tensor, int], Iterable[tuple[Tensor, Tensor]]]


@dataclass(frozen=True, eq=False)
class Task:
    """What members learn.

    Attributes:
        data: the records of all of them.
        recipe: how a product's constituent is trained.
        loop: members of the loops and of one after another.
        pools: members of the pools, rising.
        goal: how many times as many members a second as the DataLoader loop; None: no goal.
    """

    data: Data
    recipe: Recipe
    loop: int
    pools: Sequence[int]
    goal: float | None = None

    @property
    def name(self) -> str:
        """Architecture, records and length of training."""
        train = self.recipe.train
        return (
            f"{self.recipe.model.architecture}, {len(self.data.train)} {self.data.name}, "
            f"{train.epochs:g} epochs, batch {train.batch_size}"
        )


@dataclass(frozen=True)
class Timed:
    """Members trained in one way.

    Attributes:
        members: how many.
        seconds: what they took.
        accuracies: test accuracy of the first of them.
    """

    members: int
    seconds: float
    accuracies: Sequence[float]

    @property
    def rate(self) -> float:
        """Members a second."""
        return self.members / self.seconds

    def shown(self, base: "Timed") -> str:
        """Return the rate, its ratio to another, and mean and deviation of the accuracies."""
        spread = stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0
        return (
            f"{self.rate:.2f} members/s, {self.rate / base.rate:.1f} x, "
            f"accuracy {mean(self.accuracies):.4f} ± {spread:.4f}"
        )


def measure(bench: Bench, sheet: Sheet) -> None:
    """Time all ways of training the three tasks."""
    mlp = {"epochs": bench.size(20, 2), "batch_size": 64, "learning_rate": 0.05}
    lenet = mlp | {"epochs": bench.size(4, 1)}
    resnet9 = mlp | {"epochs": bench.size(2, 1), "batch_size": bench.size(64, 12)}
    digits, images = bench.digits.first(718), bench.few.first(1000)
    for architecture, data, settings, loop, pools, goal in (
        ("mlp", digits, mlp, 16, (4, 8) if bench.toy else (64, 512, 2048), 100.0),
        ("lenet", images, lenet, 16, (4,) if bench.toy else (16, 128, 512), None),
        ("resnet9", images, resnet9, 4, (2,) if bench.toy else (4, 16, 64), None),
    ):
        recipe = bench.recipe(data, {"architecture": architecture}, **settings)
        task = Task(data, recipe, 1 if bench.toy else loop, pools, goal)
        sheet.attempt(f"d {architecture}", partial(_compare, bench, sheet, task))


def _compare(bench: Bench, sheet: Sheet, task: Task) -> None:
    base, n = _loop(bench, task, loaded), f"{task.loop} members"
    sheet.add("d", f"{task.name}: DataLoader loop", base.shown(base), n)
    sheet.add("d", f"{task.name}: in-memory loop", _loop(bench, task, indexed).shown(base), n)
    plain = replace(task.recipe, engine="sequential")
    for recipe in [plain] if task.recipe.engine == "sequential" else [plain, task.recipe]:
        line = f"{task.name}: {recipe.engine}, one after another"
        sheet.add("d", line, _engine(bench, task, recipe, task.loop).shown(base), n)
    pooled, made = as_pool(task.recipe), [base]
    fit = together(pooled)
    sheet.add("d", f"{task.name}: {pooled.engine}, learners that fit", f"{fit}", "an estimate")
    for members in task.pools:
        line = f"{task.name}: {pooled.engine}, pool of {members}"
        last = made[-1]
        if len(made) > 1 and members / last.rate > PATIENCE:
            sheet.add("d", line, f"left out: more than {PATIENCE:g} s expected", "none")
            continue
        sheet.attempt(f"d {line}", partial(_pool, bench, sheet, task, pooled, members, made))
    if len(made) == 1:
        return
    _judge(bench, sheet, task, made)
    again = partial(_lower, bench, sheet, task, made, "TF32", tf32())
    sheet.attempt(f"d {task.name}, TF32", again)


def _pool(
    bench: Bench, sheet: Sheet, task: Task, pooled: Recipe, members: int, made: list[Timed]
) -> None:
    """Time a pool and add it to those that are made, the loop first."""
    cuda = bench.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    made.append(_engine(bench, task, pooled, members))
    figure = made[-1].shown(made[0])
    if cuda:
        figure += f", {torch.cuda.max_memory_allocated() / 2**20 / members:.1f} MiB a member"
    line = f"{task.name}: {pooled.engine}, pool of {members}"
    sheet.add("d", line, figure, f"{members} members")


def _judge(bench: Bench, sheet: Sheet, task: Task, made: Sequence[Timed]) -> None:
    """State the goal, and whether pool and loop could be of one procedure by their accuracies."""
    base, *pools = made
    if task.goal is not None:
        ratio = max(pool.rate for pool in pools) / base.rate
        line = f"{task.name}: {task.goal:g} x the DataLoader loop"
        sheet.goal("d", line, f"{ratio:.1f} x", "the best pool", ratio >= task.goal)
    if bench.toy:  # a few steps say nothing about accuracy
        return
    pool, loop = pools[-1].accuracies, base.accuracies
    error = stdev(pool) * (1 / len(pool) + 1 / len(loop)) ** 0.5
    gap = mean(pool) - mean(loop)
    sheet.promise(
        "d",
        f"{task.name}: mean accuracy of the largest pool less that of the loop",
        f"{gap:+.4f}, standard error {error:.4f} by the spread of the pool",
        f"{len(pool)} and {len(loop)} members",
        abs(gap) <= max(4 * error, 0.01),
    )


def _lower(
    bench: Bench,
    sheet: Sheet,
    task: Task,
    made: Sequence[Timed],
    what: str,
    context: AbstractContextManager[Any],
) -> None:
    """Time the largest pool again in lower precision: an experiment, no part of the product."""
    pooled, members = as_pool(task.recipe), made[-1].members
    with context:
        found = _engine(bench, task, pooled, members)
    line = f"{task.name}: {pooled.engine}, pool of {members}, {what} (experiment)"
    sheet.add("d", line, found.shown(made[0]), f"{members} members")


# Ways to train ----------------------------------------------------------------------------


def _engine(bench: Bench, task: Task, recipe: Recipe, members: int) -> Timed:
    """Train members by the product's trainer, after a step that counts for nothing."""
    recipes = [replace(recipe, seed=seed) for seed in range(members)]
    share = recipe.train.batch_size / len(task.data.train)
    step = recipe.train.model_copy(update={"epochs": share})
    warm = [replace(one, train=step) for one in recipes[:WARM]]
    train(bench, warm, task.data.samples)
    done = train(bench, recipes, task.data.samples)
    return Timed(members, done.seconds, _accuracies(task, done.weights[:JUDGED]))


def _loop(bench: Bench, task: Task, batches: Batches) -> Timed:
    """Train members one after another as people write it."""
    train, records = task.recipe.train, task.data.train
    where = bench.device if batches is indexed else "cpu"
    inputs = torch.from_numpy(records.inputs).to(where)
    targets = torch.tensor(records.labels).to(where)

    def fit(seed: int, epochs: int) -> nn.Module:
        torch.manual_seed(seed)
        network = untrained(task.recipe, seed, 0).to(bench.device)
        optimizer = torch.optim.SGD(
            network.parameters(), lr=train.learning_rate, momentum=train.momentum
        )
        for _ in range(epochs):
            for x, y in batches(inputs, targets, train.batch_size):
                optimizer.zero_grad()
                outputs = network(x.to(bench.device))
                nn.functional.cross_entropy(outputs, y.to(bench.device)).backward()
                optimizer.step()
        return network

    with defaults_of_torch():
        fit(0, 1)
        bench.wait()
        started = perf_counter()
        networks = [fit(seed, int(train.epochs)) for seed in range(task.loop)]
        bench.wait()
        seconds = perf_counter() - started
    weights = [network.cpu().state_dict() for network in networks]
    return Timed(task.loop, seconds, _accuracies(task, weights))


def loaded(inputs: Tensor, targets: Tensor, batch: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Return a DataLoader."""
    return DataLoader(TensorDataset(inputs, targets), batch_size=batch, shuffle=True)


def indexed(inputs: Tensor, targets: Tensor, batch: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Yield batches from where the records lie."""
    for where in torch.randperm(len(inputs), device=inputs.device).split(batch):
        yield inputs[where], targets[where]


def _accuracies(task: Task, weights: Iterable[dict[str, Tensor]]) -> list[float]:
    return [accuracy(task.recipe, one, task.data.test) for one in weights]
