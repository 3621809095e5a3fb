"""Part e: ResNet-9 on images, as the product trains it.

    as it is     engine `sequential`: float32, deterministic, channels last
    switches     the same engine with one switch of torch changed; bytes compared twice
    bfloat16     `train.precision: bfloat16`, twice

All records stay on the device. Rate 0.1, no augmentation.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.utils.deterministic

from benchmarks.gpu_data import (
    Bench,
    Data,
    Trained,
    accuracy,
    tf32,
    train,
)
from benchmarks.gpu_sheet import Sheet
from forgetflow.training.recipe import Recipe

EPOCHS = 24
GOAL_IMAGES, GOAL_SECONDS = 30_000, 10.0
PATIENCE = 75.0
"""Seconds that the product's 24 epochs may be expected to take; else fewer are trained."""


def measure(bench: Bench, sheet: Sheet) -> None:
    """Time the product in both precisions, and its switches."""
    data = bench.images
    recipe = bench.recipe(
        data,
        {"architecture": "resnet9", "normalize": "standard"},
        epochs=bench.size(EPOCHS, 1),
        batch_size=bench.size(512, 12),
        learning_rate=0.1,
        weight_decay=5e-4,
    )
    sheet.attempt("e as it is", partial(_product, bench, sheet, data, recipe))
    sheet.attempt("e switches", partial(_switches, bench, sheet, data, recipe))
    sheet.attempt("e bfloat16", partial(_half, bench, sheet, data, recipe))


# The product ------------------------------------------------------------------------------


def _product(bench: Bench, sheet: Sheet, data: Data, recipe: Recipe) -> None:
    """Train one epoch to see how long it takes, then all of them."""
    one = _epochs(recipe, 1)
    train(bench, [one], data.first(4 * recipe.train.batch_size).samples)  # loads the kernels
    brief = train(bench, [one], data.samples)
    epochs = int(recipe.train.epochs)
    if brief.seconds * epochs > PATIENCE:
        epochs = max(1, int(PATIENCE / brief.seconds))
    done = train(bench, [_epochs(recipe, epochs)], data.samples)
    right = accuracy(recipe, done.weights[0], data.test)
    line = f"resnet9, {len(data.train)} {data.name}: sequential, float32, deterministic"
    figure = f"{done.seconds:.2f} s for {epochs} epochs, {done.seconds / epochs:.3f} s each"
    n = f"1 run, {len(data.test)} tested"
    sheet.add("e", line, f"{figure}, accuracy {right:.4f}", n)


def _switches(bench: Bench, sheet: Sheet, data: Data, recipe: Recipe) -> None:
    """Time an epoch with one switch changed, twice, and compare the bytes of the two."""
    one = _epochs(recipe, 1)
    plain = train(bench, [one], data.samples)
    switches: dict[str, AbstractContextManager[Any]] = {
        "memory not filled": memory_not_filled(),
        "TF32": tf32(),
    }
    for name, context in switches.items():
        sheet.attempt(f"e {name}", partial(_switch, bench, sheet, data, one, plain, name, context))


def _switch(
    bench: Bench,
    sheet: Sheet,
    data: Data,
    one: Recipe,
    plain: Trained,
    name: str,
    context: AbstractContextManager[Any],
) -> None:
    with context:
        train(bench, [one], data.first(4 * one.train.batch_size).samples)
        runs = [train(bench, [one], data.samples) for _ in range(2)]
    digests = {run.receipts[0].sha256 for run in runs}
    same = "twice the same bytes" if len(digests) == 1 else "two runs differ"
    moved = "no others than" if plain.receipts[0].sha256 in digests else "others than"
    seconds = min(run.seconds for run in runs)
    line = f"resnet9, {len(data.train)} {data.name}: sequential, {name} (experiment)"
    figure = f"{seconds:.3f} s an epoch against {plain.seconds:.3f}; {same}, {moved} without"
    sheet.add("e", line, figure, "best of 2 epochs")


def _half(bench: Bench, sheet: Sheet, data: Data, recipe: Recipe) -> None:
    """Train to the end in bfloat16, twice, and compare the bytes."""
    lower = replace(recipe, train=recipe.train.model_copy(update={"precision": "bfloat16"}))
    train(bench, [_epochs(lower, 1)], data.first(4 * lower.train.batch_size).samples)
    runs = [train(bench, [lower], data.samples) for _ in range(2)]
    seconds = min(run.seconds for run in runs)
    right = accuracy(lower, runs[0].weights[0], data.test)
    line = f"resnet9, {len(data.train)} {data.name}: sequential, bfloat16, deterministic"
    figure = f"{seconds:.2f} s for {lower.train.epochs:g} epochs, accuracy {right:.4f}"
    _against_goal(sheet, line, figure, seconds, len(data.train), lower)
    equal = len({run.receipts[0].sha256 for run in runs}) == 1
    sheet.promise("e", f"{line}: twice the same bytes", str(equal), "2 runs", equal)


def _epochs(recipe: Recipe, epochs: int) -> Recipe:
    return replace(recipe, train=recipe.train.model_copy(update={"epochs": float(epochs)}))


@contextmanager
def memory_not_filled() -> Iterator[None]:
    """Leave new memory as it is: deterministic torch fills it, lest anybody read it unwritten."""
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = True


def _against_goal(
    sheet: Sheet, line: str, figure: str, seconds: float, images: int, recipe: Recipe
) -> None:
    """Add a row; the goal is judged where there are at least as many images as it names."""
    if images < GOAL_IMAGES or recipe.train.epochs < EPOCHS:
        sheet.add("e", line, figure, "1 run")
    else:
        scaled = seconds * GOAL_IMAGES / images
        sheet.goal("e", f"{line}, goal {GOAL_SECONDS:g} s", figure, "1 run", scaled < GOAL_SECONDS)
