"""Content keys of one constituent: a digest chain over its slices.

    recipe ── k0 ──► k1 = H(k0, slice 1's records) ──► k2 = H(k1, slice 2's records) ──► ...

Key r names the state after slice r and depends on everything that made it: settings, seed, code,
numeric environment and the records of slices 1 to r. Deleting a record of slice r leaves keys
before r as they were (cache hits) and changes key r and all after it (to be trained). There is
no other logic of retraining.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from forgetflow.config import ModelSettings, Settings, TrainSettings
from forgetflow.errors import InputError
from forgetflow.keys import Digests, code_digest, digest_of, set_digest
from forgetflow.models.forest import grid_of
from forgetflow.training import environment

if TYPE_CHECKING:  # numba takes a second to load
    from forgetflow.forest import Grid

Engine = Literal["sequential", "stacked", "vmap", "closed form"]
ENGINE_CODE: dict[Engine, str] = {
    "sequential": "training/sequential.py",
    "stacked": "training/stacked.py",
    "vmap": "training/vmapped.py",
    "closed form": "training/closed_form.py",
}

CODE = (
    "keys.py",
    "models/__init__.py",
    "models/normalize.py",
    "records/schema.py",
    "training/chain.py",
    "training/environment.py",
    "training/learners.py",
    "training/legs.py",
    "training/lockstep.py",
    "training/optimizer.py",
    "training/saver.py",
    "training/schedule.py",
    "training/sequential.py",
    "training/trainer.py",
    "training/work.py",
)
"""Source files whose behaviour reaches the bytes of a checkpoint, besides the architecture's
and the engine's."""

STACKABLE = ("mlp", "logistic")
"""Architectures that the engine `stacked` can train (`stacked.stackable` of their networks)."""

CLOSED_FORM = ("forest", "gaussian")
"""Architectures that are fitted without gradient steps: only the engine `closed form` can."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Records as a learner sees them.

    Attributes:
        inputs: float32 (N, *input_shape).
        targets: class indices int64 (N,), or None where the learner has no right to them.
        digests: uint8 (N, 32).
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.int64] | None
    digests: Digests

    def __len__(self) -> int:
        return len(self.digests)


@dataclass(frozen=True)
class Recipe:
    """Everything except records that makes a constituent what it is.

    Attributes:
        model: architecture settings.
        train: optimisation settings.
        input_shape: shape of one input.
        classes: number of classes C.
        seed: run seed.
        device: where to compute.
        engine: what computes: `sequential`, `stacked`, `closed form` or, in pools, `vmap`.
        company: whether a learner's bits may depend on who trains beside it, which is so in pools
            on a GPU only; what is promised to be exact needs `irrelevant`.
        grid: thresholds that a forest's splits are chosen from.

    Raises:
        ValueError: the engine `vmap` where company is to be irrelevant.
    """

    model: ModelSettings
    train: TrainSettings
    input_shape: tuple[int, ...]
    classes: int
    seed: int
    device: torch.device
    engine: Engine
    company: Literal["irrelevant", "matters"] = "irrelevant"
    grid: "Grid | None" = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.engine == "vmap" and self.company == "irrelevant":
            raise ValueError(
                "engine vmap is for pools: bits depend on company, so exactness cannot be promised"
            )

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        input_shape: tuple[int, ...],
        classes: int,
        root: Path = Path(),
    ) -> "Recipe":
        """Make the recipe that `params.yaml` describes; puts torch into deterministic mode.

        Args:
            settings: `params.yaml`.
            input_shape: shape of one input.
            classes: number of classes C.
            root: folder of the project, where relative paths start.

        Raises:
            InputError: the engine cannot train the architecture, or a file is missing.
        """
        grid = None
        if settings.model.family == "forest":
            grid = grid_of(settings.model.forest, prod(input_shape), root)
        return cls(
            settings.model,
            settings.train,
            input_shape,
            classes,
            settings.run.seed,
            environment.activate(settings.run.device),
            engine_for(settings),
            grid=grid,
        )

    def for_pools(self) -> "Recipe":
        """Return the recipe of pools, whose members only have to be draws of the same procedure.

        On a GPU they train together, at the price of bits that depend on company. On a CPU that
        gains nothing, `train.engine: sequential` forbids it, and only networks can: else the
        recipe is this one.
        """
        together = self.device.type != "cpu" and self.model.family == "network"
        if not together or self.train.engine == "sequential":
            return self
        engine: Engine = "stacked" if self.engine == "stacked" else "vmap"
        return replace(self, engine=engine, company="matters")

    def to_json(self) -> dict[str, Any]:
        """Return all ingredients, JSON-ready; how often recovery points are written is none."""
        special: dict[str, Any] = {}
        if self.company != "irrelevant":
            special["company"] = self.company
        if self.grid is not None:
            special["grid"] = digest_of([cuts.tolist() for cuts in self.grid.thresholds])
        architecture = self.model.architecture
        unused = None if self.engine == "closed form" else {"checkpoint_seconds", "engine"}
        code = [*CODE, f"models/{architecture}.py", ENGINE_CODE[self.engine]]
        if architecture == "forest":
            library = files("forgetflow") / "forest"
            code += [f"forest/{f.name}" for f in library.iterdir() if f.name.endswith(".py")]
        return special | {
            "model": self.model.relevant(),
            "train": self.train.model_dump(mode="json", exclude=unused) if unused else {},
            "engine": self.engine,
            "input_shape": list(self.input_shape),
            # A class that comes or goes is nothing to the one-class models of the others.
            "classes": 1 if self.model.family == "one-class" else self.classes,
            "seed": self.seed,
            "environment": environment.fingerprint(self.device),
            "code": code_digest(*code),
        }

    @cached_property
    def digest(self) -> str:
        """Digest of all ingredients."""
        return digest_of(self.to_json())


def engine_for(settings: Settings) -> Engine:
    """Return the engine that `train.engine` means; `auto` is the fastest by `benchmarks/pool.py`.

    Forests and densities have one way to be fitted, and `train.engine` is no business of theirs.

    Stacking wins for linear layers, even one network at a time. It loses for convolutions on a
    CPU, whose batched kernels are slower than one network after another. `vmap` is never meant: see
    `Recipe.for_pools`.

    Raises:
        InputError: the architecture cannot be stacked.
    """
    wanted, architecture = settings.train.engine, settings.model.architecture
    if wanted == "stacked" and architecture not in STACKABLE:
        raise InputError(
            f"train.engine: stacked trains {' and '.join(STACKABLE)}, not {architecture}; "
            "use auto or sequential"
        )
    if architecture in CLOSED_FORM:
        return "closed form"
    if wanted != "auto":
        return wanted
    return "stacked" if architecture in STACKABLE else "sequential"


@dataclass(frozen=True, eq=False)
class Chain:
    """The training of one constituent: R slices, one content key after each.

    Attributes:
        shard: number of the shard.
        slices: the records of each slice, in canonical order.
        recipe_digest: digest of everything else.
    """

    shard: int
    slices: Sequence[Samples]
    recipe_digest: str

    @cached_property
    def slice_digests(self) -> list[str]:
        """Digest of each slice's record set."""
        return [set_digest(part.digests) for part in self.slices]

    @cached_property
    def keys(self) -> list[str]:
        """Content key of the state after each slice."""
        return chain_keys(self.recipe_digest, self.shard, self.slice_digests)

    @property
    def key(self) -> str:
        """Content key of the finished constituent."""
        return self.keys[-1]

    @property
    def records(self) -> int:
        """Number of records the constituent learns from."""
        return sum(len(part) for part in self.slices)


def chain_keys(recipe_digest: str, shard: int, slice_digests: Sequence[str]) -> list[str]:
    """Return the content keys of a chain from digests alone."""
    key = digest_of(["chain", recipe_digest, shard, len(slice_digests)])
    keys = []
    for number, members in enumerate(slice_digests):
        key = digest_of(["slice", key, number, members])
        keys.append(key)
    return keys
