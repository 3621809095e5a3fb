"""Part e: ResNet-9 on images, first as the product trains it, then as fast as it gets.

    as it is          engine `sequential`: float32, deterministic, channels last
    switches          the same engine with one switch of torch changed; bytes compared twice
    experiment        `Loop` below: bfloat16, kernels chosen by trial, CUDA graphs, the compiler.
                      No part of the product: nothing is keyed, stored or promised.

All records stay on the device. One recipe for all but the last way (rate 0.1, no augmentation), so
that accuracies compare; the last one adds what published recipes for this network have: a
triangular rate that peaks in epoch 5, shifts of 2 pixels, mirror images, label smoothing 0.1 (the
FFCV example and the datamodels' CIFAR-10 recipe).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch
import torch.utils.deterministic
from torch import Tensor, nn

from benchmarks.gpu_data import (
    Bench,
    Data,
    Trained,
    accuracy,
    bfloat16,
    defaults_of_torch,
    tf32,
    train,
)
from benchmarks.gpu_sheet import Sheet
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import untrained

EPOCHS = 24
GOAL_IMAGES, GOAL_SECONDS = 30_000, 10.0
PATIENCE = 75.0
"""Seconds that the product's 24 epochs may be expected to take; else fewer are trained."""

PEAK_RATE, PEAK_EPOCH, SMOOTHING, SHIFT = 0.5, 5, 0.1, 2
"""Of the published recipes."""

Mode = Literal["plain", "graph", "compiled", "compiled graph"]


def measure(bench: Bench, sheet: Sheet) -> None:
    """Time the product, its switches and the experimental loop."""
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
    modes: tuple[Mode, ...] = ("plain", "graph", "compiled", "compiled graph")
    if bench.device.type == "cpu":
        print("    on a CPU there are no graphs to capture: those ways are left out")
        modes = ("plain", "compiled")
    took: dict[Mode, float] = {}
    for mode in modes:
        check = partial(_experiment, bench, sheet, recipe, mode, took)
        sheet.attempt(f"e experiment, {mode}", check)
    best = min(took, key=lambda mode: took[mode], default=modes[0])
    published = partial(_experiment, bench, sheet, recipe, best, {}, published=True)
    sheet.attempt("e experiment, published recipe", published)


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
        "bfloat16 autocast": bfloat16(bench.device),
    }
    for name, context in switches.items():
        sheet.attempt(f"e {name}", partial(_switch, bench, sheet, data, one, plain, name, context))
    sheet.attempt("e bfloat16 to the end", partial(_low, bench, sheet, data, recipe))


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


def _low(bench: Bench, sheet: Sheet, data: Data, recipe: Recipe) -> None:
    """Train to the end with the product's engine under bfloat16 autocast."""
    with bfloat16(bench.device), memory_not_filled():
        done = train(bench, [recipe], data.samples)
    right = accuracy(recipe, done.weights[0], data.test)
    line = f"resnet9, {len(data.train)} {data.name}: sequential, bfloat16, deterministic"
    figure = f"{done.seconds:.2f} s for {recipe.train.epochs:g} epochs, accuracy {right:.4f}"
    _against_goal(sheet, f"{line} (experiment)", figure, done.seconds, len(data.train), recipe)


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


# The experiment ---------------------------------------------------------------------------


def _experiment(
    bench: Bench,
    sheet: Sheet,
    recipe: Recipe,
    mode: Mode,
    took: dict[Mode, float],
    *,
    published: bool = False,
) -> None:
    """Train to the end in one mode, and note the seconds in `took`."""
    data, epochs = bench.images, int(recipe.train.epochs)
    with defaults_of_torch():
        torch.backends.cudnn.benchmark = True
        torch.manual_seed(0)
        started = perf_counter()
        loop = Loop(bench, recipe, data, mode, published=published)
        loop.prepare()
        bench.wait()
        prepared = perf_counter() - started
        started = perf_counter()
        loop.run(epochs)
        bench.wait()
        took[mode] = seconds = perf_counter() - started
        right = loop.accuracy(data)
    kind = ", published recipe" if published else ""
    line = f"resnet9, {len(data.train)} {data.name}: bfloat16, {mode}{kind} (experiment)"
    figure = (
        f"{seconds:.2f} s for {epochs} epochs, accuracy {right:.4f}; {prepared:.0f} s before that"
    )
    _against_goal(sheet, line, figure, seconds, len(data.train), recipe)


def _against_goal(
    sheet: Sheet, line: str, figure: str, seconds: float, images: int, recipe: Recipe
) -> None:
    """Add a row; the goal is judged where there are at least as many images as it names."""
    if images < GOAL_IMAGES or recipe.train.epochs < EPOCHS:
        sheet.add("e", line, figure, "1 run")
    else:
        scaled = seconds * GOAL_IMAGES / images
        sheet.goal("e", f"{line}, goal {GOAL_SECONDS:g} s", figure, "1 run", scaled < GOAL_SECONDS)


class Loop:
    """Training of one network with everything on the device and nothing promised.

    Batches have one size: an epoch's last one is filled up from its first records.

    Args:
        bench: device and sizes.
        recipe: architecture, batch size, momentum, weight decay and rate.
        data: standardised here, per pixel, over the records it learns from.
        mode: how a step runs.
        published: whether to add what published recipes have.
    """

    def __init__(
        self, bench: Bench, recipe: Recipe, data: Data, mode: Mode, *, published: bool
    ) -> None:
        self.bench, self.recipe, self.mode, self.published = bench, recipe, mode, published
        body = untrained(recipe, recipe.seed, 0)[-1]  # type: ignore[index]
        self.network: nn.Module = body.to(bench.device, memory_format=torch.channels_last)
        inputs = torch.from_numpy(data.train.inputs).to(bench.device)
        self.mean, self.deviation = inputs.mean(dim=0), inputs.std(dim=0)
        self.images = self._standard(inputs)  # (N, H, W, C), bfloat16
        self.targets = torch.tensor(data.train.labels).to(bench.device)
        size = recipe.train.batch_size
        self.batch = self.images[:size].clone()
        self.wanted = self.targets[:size].clone()
        self.rate = torch.tensor(recipe.train.learning_rate, device=bench.device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=self.rate,
            momentum=recipe.train.momentum,
            weight_decay=recipe.train.weight_decay,
            fused=True,
        )
        self.loss: Any = self._loss
        if mode.startswith("compiled"):
            backend = "inductor" if bench.device.type == "cuda" else "aot_eager"
            self.loss = torch.compile(self._loss, backend=backend)
        self.step: Any = self._step

    def _standard(self, inputs: Tensor) -> Tensor:
        """Return inputs (N, C, H, W) less their mean in units of their deviation, channels last."""
        scaled = (inputs - self.mean) / self.deviation.clamp_min(1e-6)
        return scaled.to(torch.bfloat16).permute(0, 2, 3, 1).contiguous()

    def _loss(self, batch: Tensor, wanted: Tensor) -> Tensor:
        with bfloat16(self.bench.device):
            outputs = self.network(batch.permute(0, 3, 1, 2))
        smoothing = SMOOTHING if self.published else 0.0
        return nn.functional.cross_entropy(outputs.float(), wanted, label_smoothing=smoothing)

    def _step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.batch, self.wanted).backward()
        self.optimizer.step()

    def prepare(self) -> None:
        """Make steps that count for nothing, capture a graph of one, and start from the start."""
        first = [tensor.clone() for tensor in self.network.state_dict().values()]
        if self.bench.device.type == "cuda":
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(5):
                    self._step()
            torch.cuda.current_stream().wait_stream(side)
        else:
            self._step()
        if self.mode.endswith("graph"):
            # Gradients are None before the capture, so that a replay writes and does not add.
            self.optimizer.zero_grad(set_to_none=True)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.loss(self.batch, self.wanted).backward()
                self.optimizer.step()
            self.step = graph.replay
        with torch.no_grad():
            for tensor, before in zip(self.network.state_dict().values(), first, strict=True):
                tensor.copy_(before)
            for memory in self.optimizer.state.values():
                memory["momentum_buffer"].zero_()

    def run(self, epochs: int) -> None:
        """Train."""
        size, count = self.recipe.train.batch_size, len(self.images)
        steps = -(-count // size)
        for epoch in range(epochs):
            order = torch.randperm(count, device=self.bench.device)
            order = torch.cat([order, order[: steps * size - count]])
            for number, where in enumerate(order.split(size)):
                if self.published:
                    self.rate.fill_(triangle((epoch + number / steps), epochs))
                self.load(where)
                self.step()

    def load(self, where: Tensor) -> None:
        """Put the records at `where` into the batch, shifted and mirrored if wanted."""
        torch.index_select(self.targets, 0, where, out=self.wanted)
        if not self.published:
            torch.index_select(self.images, 0, where, out=self.batch)
            return
        count, height, width = len(where), *self.images.shape[1:3]
        device = where.device
        shift = torch.randint(-SHIFT, SHIFT + 1, (2, count, 1), device=device)
        mirrored = torch.rand(count, 1, device=device) < 0.5
        rows = torch.arange(height, device=device) + shift[0]  # (B, H)
        columns = torch.arange(width, device=device) + shift[1]  # (B, W)
        columns = torch.where(mirrored, width - 1 - columns, columns)
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
            :, None, :
        ]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        moved = self.images[where[:, None, None], rows[:, :, None], columns[:, None, :]]
        torch.mul(moved, inside[..., None], out=self.batch)

    @torch.no_grad()
    def accuracy(self, data: Data) -> float:
        """Return the share of test records whose class comes out first."""
        self.network.eval()
        right = 0
        labels = torch.tensor(data.test.labels)
        inputs = torch.from_numpy(data.test.inputs)
        for part, wanted in zip(inputs.split(500), labels.split(500), strict=True):
            batch = self._standard(part.to(self.bench.device)).permute(0, 3, 1, 2)
            with bfloat16(self.bench.device):
                found = self.network(batch).argmax(dim=1).cpu()
            right += int((found == wanted).sum())
        return right / len(labels)


def triangle(epoch: float, epochs: int) -> float:
    """Return the rate after so many epochs: up to the peak, then down to nothing."""
    peak = min(PEAK_EPOCH, epochs / 2)
    up, down = epoch / peak, (epochs - epoch) / (epochs - peak)
    return PEAK_RATE * float(np.clip(min(up, down), 0.0, 1.0))
