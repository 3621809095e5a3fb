"""The one deterministic trainer: full builds and deletions run the same lines.

A state is the network (buffers included), the optimizer's memory and the step count; all of it
is in the checkpoint, so continuing from a file and never having stopped give the same bits.
"""

import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forgetflow.keys import Digests, canonical_order, digest_of, keyed_hash
from forgetflow.models import build
from forgetflow.models.normalize import Standardize
from forgetflow.store import Receipt, Store
from forgetflow.training.chain import Chain, Recipe, Samples
from forgetflow.training.optimizer import Optimizer
from forgetflow.training.schedule import Batches, samples_in, slice_steps

OnStep = Callable[[int, int], None]
"""Called after every optimizer step with (slice, step within the slice)."""


@dataclass
class Learner:
    """A network and its optimizer on one device."""

    recipe: Recipe
    network: nn.Module
    optimizer: Optimizer

    @classmethod
    def fresh(cls, recipe: Recipe, shard: int) -> "Learner":
        """Return the untrained learner of a shard; its seed comes from (run seed, shard)."""
        seed = keyed_hash(recipe.seed, "member", shard)
        network = build(recipe.model, recipe.input_shape, recipe.classes, seed)
        network.to(recipe.device)
        return cls(recipe, network, Optimizer(recipe.train, network.named_parameters()))

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that decides how training goes on."""
        tensors = {f"model.{name}": value for name, value in self.network.state_dict().items()}
        return tensors | {f"optimizer.{n}": value for n, value in self.optimizer.state().items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state()`."""
        self.network.load_state_dict(weights_of(tensors))
        self.optimizer.load({n.removeprefix("optimizer."): t for n, t in tensors.items()})

    def step(self, inputs: Tensor, targets: Tensor, rows: NDArray[np.intp]) -> None:
        """Make one optimizer step on the mean cross-entropy of the records at `rows`."""
        where = torch.from_numpy(rows).to(self.recipe.device)
        logits = self.network(inputs.index_select(0, where))
        nn.functional.cross_entropy(logits, targets.index_select(0, where)).backward()
        self.optimizer.step()


def weights_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network part of a state, under the network's own names."""
    return {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}


@dataclass
class Work:
    """What a piece of training cost, apart from what a cache saved."""

    samples: int = 0
    steps: int = 0
    seconds: float = 0.0
    slices: list[int] = field(default_factory=list)


def train_chain(
    store: Store, chain: Chain, recipe: Recipe, on_step: OnStep | None = None
) -> tuple[Receipt, Work]:
    """Make sure that every state of `chain` is in the store, training only what is missing.

    A state counts as present if its bytes match its receipt; a lost or damaged one is trained
    again from the state before it. Killed at any moment, a second call continues.

    Returns:
        The receipt of the finished constituent, and the work done by this call.
    """
    work = Work()
    learner: Learner | None = None
    plan = slice_steps(
        [len(part) for part in chain.slices], recipe.train.epochs, recipe.train.batch_size
    )
    for part in chain.slices:  # also of finished states: a lost index is made good
        store.put_members(part.digests)
    for number, key in enumerate(chain.keys):
        if store.verify(key):
            # There is one if a kill came between writing the state and removing it.
            store.remove(_progress_key(key))
            learner = None
            continue
        if learner is None:
            learner = Learner.fresh(recipe, chain.shard)
            if number:
                learner.load(store.require(chain.keys[number - 1]))
        _train_slice(store, chain, number, learner, plan, work, on_step)
    receipt = store.receipt(chain.key)
    if receipt is None:  # the loop above has just verified or written it
        raise RuntimeError(f"state {chain.key[:12]} vanished while it was being built")
    return receipt, work


def _train_slice(
    store: Store,
    chain: Chain,
    number: int,
    learner: Learner,
    plan: Sequence[int],
    work: Work,
    on_step: OnStep | None,
) -> None:
    recipe, train = learner.recipe, learner.recipe.train
    key, steps = chain.keys[number], plan[number]
    progress_key = _progress_key(key)
    learned_from = chain.slice_digests[: number + 1]
    digests, inputs, targets = gather(chain.slices[: number + 1], recipe.device)
    batches = Batches(digests, train.batch_size, recipe.seed, (chain.shard, number))

    first, spent = 0, 0.0
    progress = store.verify(progress_key)
    if progress:
        learner.load(store.require(progress_key))
        first, spent = progress.facts["steps"], progress.facts["seconds"]
    elif len(chain.slices[number]) and not any(len(part) for part in chain.slices[:number]):
        _fit_normalisation(learner.network, inputs)

    started = saved = time.perf_counter()
    samples = 0
    for step, rows in enumerate(batches.iterate(first, steps), start=first):
        learner.step(inputs, targets, rows)
        samples += len(rows)
        if time.perf_counter() - saved >= train.checkpoint_seconds and step + 1 < steps:
            seconds = spent + time.perf_counter() - started
            store.put(
                progress_key,
                learner.state(),
                kind="progress",
                learned_from=learned_from,
                facts={"steps": step + 1, "seconds": seconds},
            )
            saved = time.perf_counter()
        if on_step:
            on_step(number, step)
    seconds = time.perf_counter() - started
    store.put(
        key,
        learner.state(),
        kind="state",
        learned_from=learned_from,
        facts={
            "shard": chain.shard,
            "slice": number,
            "steps": steps,
            "samples": samples_in(len(digests), train.batch_size, steps),
            "seconds": spent + seconds,
            "peak_memory_bytes": peak_memory(recipe.device),
        },
    )
    store.remove(progress_key)
    work.samples += samples
    work.steps += steps - first
    work.seconds += seconds
    work.slices.append(number)


def _progress_key(key: str) -> str:
    """Return the key of the recovery point inside the slice that ends in state `key`."""
    return digest_of(["progress", key])


def peak_memory(device: torch.device) -> int:
    """Return the peak memory so far in bytes: of the GPU's allocator, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def gather(parts: Sequence[Samples], device: torch.device) -> tuple[Digests, Tensor, Tensor]:
    """Return digests, inputs and targets of all parts together, in canonical order, on `device`.

    Raises:
        ValueError: a part comes without targets.
    """
    digests = np.concatenate([part.digests for part in parts])
    order = canonical_order(digests)
    inputs = np.concatenate([part.inputs for part in parts])[order]
    targets = np.concatenate([_known_targets(part) for part in parts])[order]
    return (
        digests[order],
        torch.from_numpy(inputs).to(device),
        torch.from_numpy(targets).to(device),
    )


def _known_targets(part: Samples) -> NDArray[np.int64]:
    if part.targets is None:
        raise ValueError("training needs targets")
    return part.targets


def _fit_normalisation(network: nn.Module, inputs: Tensor) -> None:
    for module in network.modules():
        if isinstance(module, Standardize):
            module.fit(inputs)
