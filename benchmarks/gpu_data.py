"""What the GPU benchmark learns from, and how it trains by the product's own lines.

digits   scikit-learn's 1,797 handwritten digits
images   CIFAR-10 from a folder: as many training batches as lie in it; without a folder,
         3 x 32 x 32 images drawn around ten centres
"""

import lzma
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetflow.config.data import DataSettings
from forgetflow.config.settings import Settings
from forgetflow.records.record_set import RecordSet, build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.records.sources.registry import import_records
from forgetflow.store.memory import MemoryStore
from forgetflow.store.receipt import Receipt
from forgetflow.training import environment
from forgetflow.training.chain import Chain, Samples
from forgetflow.training.recipe import Engine, Recipe
from forgetflow.training.sequential import untrained, weights_of
from forgetflow.training.trainer import train_chains

RECORD_BYTES = 1 + 3 * 32 * 32


@dataclass(frozen=True, eq=False)
class Data:
    """Records to learn from and to test on.

    Attributes:
        name: as printed.
        train, test: record sets of one schema.
    """

    name: str
    train: RecordSet
    test: RecordSet

    def first(self, count: int) -> "Data":
        """Return the same with at most so many training records."""
        return Data(self.name, self.train.take(np.arange(min(count, len(self.train)))), self.test)

    @cached_property
    def samples(self) -> Samples:
        """All training records as a learner sees them."""
        return Samples.of(self.train, np.arange(len(self.train)))


@dataclass(frozen=True, eq=False)
class Bench:
    """What all parts share.

    Attributes:
        device: where the product computes.
        toy: whether sizes are tiny: does it run at all?
        folder: of the CIFAR-10 batches, if there is one.
    """

    device: torch.device
    toy: bool
    folder: Path | None

    @cached_property
    def digits(self) -> Data:
        """The digits."""
        imported = import_records(DataSettings(source="digits"))
        data = Data("digits", imported.train, imported.test)
        return data.first(48) if self.toy else data

    @cached_property
    def images(self) -> Data:
        """CIFAR-10 as far as it lies in the folder, or images drawn around centres."""
        return self._images(None) if not self.toy else self.few

    @cached_property
    def few(self) -> Data:
        """At most 2,000 of the images, 1,000 to test on."""
        return self._images((24, 10) if self.toy else (2000, 1000))

    def _images(self, most: tuple[int, int] | None) -> Data:
        if self.folder is None:
            return drawn(*(most or (3000, 1000)), side=self.size(32, 16))
        return cifar10(self.folder, most)

    def size(self, full: int, toy: int) -> int:
        """Return the first of two sizes, or the second in a toy run."""
        return toy if self.toy else full

    def recipe(self, data: Data, model: dict[str, Any], **train: Any) -> Recipe:
        """Return the recipe of these settings; puts torch into deterministic mode."""
        blocks = {"model": model, "train": train, "run": {"device": self.device.type}}
        schema = data.train.schema
        return Recipe.from_settings(
            Settings.model_validate(blocks), schema.input_shape, len(schema.class_names)
        )

    def wait(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


@dataclass(frozen=True, eq=False)
class Trained:
    """Members that were trained.

    Attributes:
        weights: of each.
        receipts: of each.
        seconds: wall time of all together, the states' way to memory included.
    """

    weights: Sequence[dict[str, Tensor]]
    receipts: Sequence[Receipt]
    seconds: float


def train(bench: Bench, recipes: Sequence[Recipe], samples: Samples) -> Trained:
    """Train one chain of one slice per recipe with the product's trainer, states in memory."""
    store = MemoryStore()
    bench.wait()
    started = time.perf_counter()
    chains = [Chain(0, [samples], recipe.digest) for recipe in recipes]
    done = train_chains(store, list(zip(chains, recipes, strict=True)))
    bench.wait()
    seconds = time.perf_counter() - started
    weights = [weights_of(store.require(chain.key)) for chain in chains]
    return Trained(weights, [receipt for receipt, _ in done], seconds)


def probabilities(
    recipe: Recipe, weights: dict[str, Tensor], records: RecordSet
) -> NDArray[np.float32]:
    """Return what a network of these weights predicts, (N, C), computed where it was trained."""
    network = untrained(recipe, 0, 0)
    network.load_state_dict(weights)
    network.to(recipe.device).eval()
    with torch.inference_mode():
        parts = [
            network(part.to(recipe.device)).softmax(dim=1).cpu()
            for part in torch.from_numpy(records.inputs).split(500)
        ]
    return torch.cat(parts).numpy()


def accuracy(recipe: Recipe, weights: dict[str, Tensor], records: RecordSet) -> float:
    """Return the share of records whose class comes out first."""
    return float((probabilities(recipe, weights, records).argmax(axis=1) == records.labels).mean())


def as_pool(recipe: Recipe) -> Recipe:
    """Return what `Recipe.for_pools` gives on a GPU; on a CPU too, where toys exercise it."""
    engine: Engine = "stacked" if recipe.engine == "stacked" else "vmap"
    return replace(recipe, engine=engine, independent=False)


@contextmanager
def tf32() -> Iterator[None]:
    """Compute products and convolutions of float32 in TF32, the matrix units' float32 mode."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


@contextmanager
def defaults_of_torch() -> Iterator[None]:
    """Compute as torch does when nobody asks for determinism, then as the product does again.

    Still with one thread: beside a GPU more have nothing to do, and on a busy machine they stand
    in each other's way.
    """
    torch.set_deterministic_debug_mode("default")
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        environment.activate("auto")


# Images -----------------------------------------------------------------------------------


def cifar10(folder: Path, most: tuple[int, int] | None = None) -> Data:
    """Read the training batches and the test batch that lie in a folder, plain or .xz.

    Without a test batch, the last tenth of the training images is held out.

    Args:
        folder: `data_batch_*.bin` and `test_batch.bin` in the official binary layout.
        most: records to learn from and to test on, at most, from the first batch; None: all.
    """
    batches = sorted(folder.glob("data_batch_?.bin*"))
    if not batches:
        raise SystemExit(f"{folder} holds no data_batch_*.bin or .bin.xz")
    train = np.concatenate([_read(path) for path in (batches[:1] if most else batches)])
    tests = sorted(folder.glob("test_batch.bin*"))
    cut = len(train) if tests else len(train) * 9 // 10
    test = _read(tests[0]) if tests else train[cut:]
    train = train[:cut]
    if most:
        train, test = train[: most[0]], test[: most[1]]
    name = "CIFAR-10" if tests else "CIFAR-10 (a tenth held out)"
    return Data(name, _records("image", train), _records("test", test))


def _read(path: Path) -> NDArray[np.uint8]:
    raw = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    return np.frombuffer(raw, np.uint8).reshape(-1, RECORD_BYTES)


def drawn(train: int, test: int, side: int) -> Data:
    """Return square images of `side` pixels around ten centres, to learn from and to test on."""
    rng = np.random.default_rng(0)
    centres = rng.normal(128, 20, size=(10, 3 * side**2))
    labels = np.arange(train + test) % 10
    pixels = centres[labels] + rng.normal(0, 60, size=(len(labels), 3 * side**2))
    rows = np.column_stack([labels, pixels.clip(0, 255)]).astype(np.uint8)
    return Data("drawn images", _records("image", rows[:train]), _records("test", rows[train:]))


def _records(prefix: str, rows: NDArray[np.uint8]) -> RecordSet:
    """Return the record set of rows of one label byte and the bytes of three square planes."""
    side = math.isqrt(rows.shape[1] // 3)
    names = [f"{prefix}-{number:05d}" for number in range(len(rows))]
    return build_record_set(
        RecordSchema(tuple("0123456789"), TensorFeatures((3, side, side), "uint8")),
        record_ids=names,
        subject_ids=names,
        labels=rows[:, 0],
        features=rows[:, 1:].reshape(-1, 3, side, side),
        where=prefix,
    )
